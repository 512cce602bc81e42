package main

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"handout/agent"
)

// seedAddr is where a neighbour may be: HOST, HOST:PORT or an IP address.
type seedAddr struct{ text string }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *seedAddr) UnmarshalText(b []byte) error {
	s.text = string(b)
	if _, err := netip.ParseAddr(s.text); err == nil {
		return nil
	}
	host, port, err := net.SplitHostPort(s.text)
	if err != nil && !strings.Contains(s.text, ":") {
		host, port, err = s.text, strconv.Itoa(agent.DefaultPeerPort), nil
	}
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || n == 0 || host == "" || strings.ContainsAny(host, " /@") {
		return fmt.Errorf("%q is not HOST or HOST:PORT", b)
	}
	return nil
}

// interval is a duration of at least a second, written 90s, 10m or 7d.
type interval struct{ time.Duration }

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *interval) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if days, ok := strings.CutSuffix(string(b), "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < time.Second {
		return fmt.Errorf("%q is not a duration of a second or more, such as 90s, 10m or 7d", b)
	}
	i.Duration = d
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (i interval) MarshalText() ([]byte, error) {
	const day = 24 * time.Hour
	if i.Duration > 0 && i.Duration%day == 0 {
		return fmt.Appendf(nil, "%dd", i.Duration/day), nil
	}
	return []byte(i.String()), nil
}

// age is a duration that may be 0.
type age struct{ interval }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *age) UnmarshalText(b []byte) error {
	if string(b) == "0" {
		a.Duration = 0
		return nil
	}
	return a.interval.UnmarshalText(b)
}

// room is an amount of disk: bytes, or a share of the whole disk.
type room struct {
	bytes   int64
	percent int64
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *room) UnmarshalText(b []byte) error {
	if string(b) == "0" {
		*r = room{}
		return nil
	}
	if share, ok := strings.CutSuffix(string(b), "%"); ok {
		n, err := strconv.ParseInt(strings.TrimSpace(share), 10, 64)
		if err != nil || n < 0 || n > 100 {
			return fmt.Errorf("%q is no share of a disk; write it like 10%%", b)
		}
		*r = room{percent: n}
		return nil
	}
	var size byteSize
	if size.Set(string(b)) != nil {
		return fmt.Errorf("%q is no size; write it like 200GB, 64GiB or 10%%", b)
	}
	*r = room{bytes: int64(size)}
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (r room) MarshalText() ([]byte, error) {
	if r.percent > 0 {
		return fmt.Appendf(nil, "%d%%", r.percent), nil
	}
	return strconv.AppendInt(nil, r.bytes, 10), nil
}

// of is r in bytes, on a disk of so many.
func (r room) of(disk int64) int64 { return r.bytes + max(disk, 0)/100*r.percent }

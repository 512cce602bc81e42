package main

import (
	"fmt"
	"strconv"
	"strings"
)

// speed is a limit in bytes per second as people write it: 20MB/s, 512KiB/s, 100Mbit/s; none or 0 is no limit.
type speed int64

var speedUnits = []struct {
	suffix  string
	perUnit float64
}{
	{"kbit/s", 1e3 / 8}, {"Mbit/s", 1e6 / 8}, {"Gbit/s", 1e9 / 8},
	{"KiB/s", 1 << 10}, {"MiB/s", 1 << 20}, {"GiB/s", 1 << 30},
	{"kB/s", 1e3}, {"KB/s", 1e3}, {"MB/s", 1e6}, {"GB/s", 1e9}, {"B/s", 1},
}

// leastSpeed and mostSpeed are what makes sense: below, a piece takes too long for a lease; above, no disk follows.
const (
	leastSpeed = 10_000
	mostSpeed  = 1e12
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *speed) UnmarshalText(b []byte) error {
	text := string(b)
	if text == "none" || text == "0" {
		*s = 0
		return nil
	}
	for _, u := range speedUnits {
		digits, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil {
			break
		}
		if n *= u.perUnit; !(n >= leastSpeed && n <= mostSpeed) {
			return fmt.Errorf("%q is not between 10kB/s and 1000GB/s; none is no limit", text)
		}
		*s = speed(n)
		return nil
	}
	return fmt.Errorf("%q is no rate; write it like 20MB/s, 512KiB/s or 100Mbit/s, or none", text)
}

// MarshalText implements encoding.TextMarshaler.
func (s speed) MarshalText() ([]byte, error) {
	if s == 0 {
		return []byte("none"), nil
	}
	return fmt.Appendf(nil, "%dB/s", int64(s)), nil
}

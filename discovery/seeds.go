package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	// DefaultPort is the TCP port agents listen on unless told otherwise: a seed without a port means this one.
	DefaultPort = 4747

	resolveTimeout = 5 * time.Second
	maxPerName     = 64 // addresses one seed's name may stand for
)

// seed is a place to try that an admin named.
type seed struct {
	host string // a name or an address
	port uint16
}

func parseSeeds(list []string) ([]seed, error) {
	var seeds []seed
	for _, s := range list {
		parsed, err := parseSeed(s)
		if err != nil {
			return nil, err
		}
		seeds = append(seeds, parsed)
	}
	return seeds, nil
}

// parseSeed reads HOST, HOST:PORT, an IPv6 address, or [ADDRESS]:PORT.
func parseSeed(s string) (seed, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return seed{a.String(), DefaultPort}, nil
	}
	full := s
	if !strings.Contains(s, ":") || strings.HasSuffix(s, "]") {
		full += ":" + strconv.Itoa(DefaultPort)
	}
	host, port, err := net.SplitHostPort(full)
	if err != nil {
		return seed{}, fmt.Errorf("seed %q is not HOST or HOST:PORT: %w", s, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" || strings.ContainsAny(host, " /@") {
		return seed{}, fmt.Errorf("seed %q is not HOST or HOST:PORT", s)
	}
	return seed{host, uint16(n)}, nil
}

// resolveSeeds looks all seeds up each time it is woken, side by side, and reports what they stand for. It ends with ctx.
func resolveSeeds(ctx context.Context, seeds []seed, wake <-chan struct{}, heard chan<- sighting, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		}
		done := make(chan struct{})
		for _, s := range seeds {
			go func() {
				defer func() { done <- struct{}{} }()
				addrs, err := s.resolve(ctx)
				if err != nil {
					log.Debug("resolve seed", "host", s.host, "err", err)
					return
				}
				select {
				case heard <- sighting{addrs: addrs}:
				case <-ctx.Done():
				}
			}()
		}
		for range seeds {
			<-done
		}
	}
}

// ResolveSeed is what an admin's HOST or HOST:PORT stands for.
func ResolveSeed(ctx context.Context, text string) ([]netip.AddrPort, error) {
	s, err := parseSeed(text)
	if err != nil {
		return nil, err
	}
	return s.resolve(ctx)
}

func (s seed) resolve(ctx context.Context) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s.host)
	if err != nil {
		return nil, fmt.Errorf("resolve seed %s: %w", s.host, err)
	}
	var addrs []netip.AddrPort
	for _, ip := range ips[:min(len(ips), maxPerName)] {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), s.port))
	}
	return addrs, nil
}

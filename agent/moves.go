package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"handout/discovery/networks"
	"handout/sources"
)

// moves is what has to follow when an address changes, this machine's or a neighbour's.
type moves struct {
	nets                *networks.Networks
	neighbours, origins networks.Conns
	seen                atomic.Int64 // changes of this machine's networks
}

// follow acts on changes of this machine's networks until ctx ends, and tells of each once it has.
func (m *moves) follow(ctx context.Context, tell func()) {
	changes, stop := m.nets.Changes()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
		}
		gone := func(local, _ netip.Addr) bool { return local.IsValid() && !m.nets.Now().IsMine(local) }
		m.neighbours.Cut(gone)
		m.origins.Cut(gone)
		m.seen.Add(1)
		tell()
	}
}

// moved ends the connections to a neighbour that is no longer there.
func (m *moves) moved(from netip.Addr) {
	m.neighbours.Cut(func(_, remote netip.Addr) bool { return remote == from })
}

// fit has connections to an origin fitted as f does, and kept in mind.
func (m *moves) fit(f func(net.Conn) net.Conn) func(net.Conn) net.Conn {
	return func(c net.Conn) net.Conn { return m.origins.Hold(f(c)) }
}

// dial has other connections to an origin opened as by does, and kept in mind.
func (m *moves) dial(by func(ctx context.Context, network, addr string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := by(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return m.origins.Hold(c), nil
	}
}

// offline reports whether this machine has no network at all, for now.
func (m *moves) offline() bool { return len(m.nets.Now().Used) == 0 }

// resolveTime is what the name service may take.
const resolveTime = 10 * time.Second

// locate tells the networks where origins are: their cards count before others. A name that can't be resolved yet is tried
// again when the network changes, until ctx ends.
func (m *moves) locate(ctx context.Context, urls []string) {
	changes, stop := m.nets.Changes()
	defer stop()
	hosts := map[string]bool{}
	for _, u := range urls {
		if h := hostOf(u); h != "" {
			hosts[h] = true
		}
	}
	for len(hosts) > 0 {
		for h := range hosts {
			look, cancel := context.WithTimeout(ctx, resolveTime)
			addrs, err := net.DefaultResolver.LookupNetIP(look, "ip", h)
			cancel()
			if err == nil {
				delete(hosts, h)
				m.nets.Origin(addrs...)
			}
		}
		if len(hosts) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changes:
		}
	}
}

// hostOf is the server an origin's URL, or a UNC path, names; "": it names none.
func hostOf(location string) string {
	if unc, ok := strings.CutPrefix(location, `\\`); ok {
		host, _, _ := strings.Cut(unc, `\`)
		return host
	}
	if !strings.Contains(location, "://") {
		return ""
	}
	u, err := url.Parse(location)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Windows' own numbers: those that syscall has for Windows never come.
const (
	wsaeaddrnotavail = syscall.Errno(10049)
	wsaenetdown      = syscall.Errno(10050)
	wsaenetunreach   = syscall.Errno(10051)
	wsaehostunreach  = syscall.Errno(10065)
)

// isNoNetwork reports whether an error says that the way there is missing, as it is while a machine starts: no address yet, a
// switch that does not forward yet, no answer from the name service.
func isNoNetwork(err error) bool {
	for _, e := range []error{
		syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL,
		wsaenetunreach, wsaehostunreach, wsaenetdown, wsaeaddrnotavail, sources.ErrNoAnswer,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsTemporary || dns.IsTimeout
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial" && op.Timeout()
}

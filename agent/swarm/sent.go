package swarm

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"handout/agent/plan"
)

// sent is what goes out by each open connection: the engine, which counts it too, can't be asked by who holds its lock.
type sent struct {
	mu sync.Mutex
	by map[netip.AddrPort]*outflow // by the other end
}

type outflow struct {
	mu   sync.Mutex
	rate plan.Meter
}

// lately is in bytes per second; what is so little is no pieces, only talk.
func (o *outflow) lately(now time.Time) float64 {
	if o == nil {
		return 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if rate := o.rate.PerSecond(now); rate >= interopBlock/4 {
		return rate
	}
	return 0
}

// count counts what goes out by a connection, until it is closed.
func (s *sent) count(c net.Conn) net.Conn {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return c
	}
	k := &counted{Conn: c, of: s, at: tcp.AddrPort(), out: &outflow{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[netip.AddrPort]*outflow{}
	}
	s.by[k.at] = k.out
	return k
}

// to is what goes out to that end; nil: nothing is known of it.
func (s *sent) to(at netip.AddrPort) *outflow {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[at]
}

type counted struct {
	net.Conn
	of  *sent
	at  netip.AddrPort
	out *outflow
}

// Write implements net.Conn.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out.mu.Lock()
	c.out.rate.Add(time.Now(), int64(n))
	c.out.mu.Unlock()
	return n, err
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.of.mu.Lock()
	if c.of.by[c.at] == c.out {
		delete(c.of.by, c.at)
	}
	c.of.mu.Unlock()
	return c.Conn.Close()
}

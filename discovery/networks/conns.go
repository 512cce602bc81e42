package networks

import (
	"net"
	"net/netip"
	"sync"
)

// Conns are connections that end with the address they were made from. The system keeps them: it would send for a quarter of
// an hour from an address that this machine has lost, and hear nothing. The zero value is ready, and safe for concurrent use.
type Conns struct {
	mu   sync.Mutex
	open map[*heldConn]struct{}
}

// Hold keeps a connection in mind until it is closed. What it returns is to be used in its place.
func (c *Conns) Hold(conn net.Conn) net.Conn {
	h := &heldConn{Conn: conn, of: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[*heldConn]struct{}{}
	}
	c.open[h] = struct{}{}
	return h
}

// Cut closes the connections that which picks by the addresses of their ends, and returns how many.
func (c *Conns) Cut(which func(local, remote netip.Addr) bool) int {
	c.mu.Lock()
	var some []*heldConn
	for h := range c.open {
		if which(addrOf(h.LocalAddr()), addrOf(h.RemoteAddr())) {
			some = append(some, h)
		}
	}
	c.mu.Unlock()
	for _, h := range some {
		h.Close()
	}
	return len(some)
}

func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

type heldConn struct {
	net.Conn
	of *Conns
}

// Close implements net.Conn.
func (h *heldConn) Close() error {
	h.of.mu.Lock()
	delete(h.of.open, h)
	h.of.mu.Unlock()
	return h.Conn.Close()
}

package swarm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/anacrolix/torrent/iplist"
)

// blocked tells the engine whom not to speak to: everybody who is not admitted. It is asked for dialled and for accepted
// connections alike; who is shunned, of which these are not the same, the listener and Introduce ask.
type blocked struct{ admit func(netip.Addr) bool }

// Lookup implements the engine's block list.
func (b blocked) Lookup(ip net.IP) (iplist.Range, bool) {
	addr, ok := netip.AddrFromSlice(ip)
	if ok && b.admit(unpacked(addr)) {
		return iplist.Range{}, false
	}
	return iplist.Range{Description: "not of this site"}, true
}

// NumRanges implements the engine's block list.
func (b blocked) NumRanges() int { return 1 }

// conns remembers accepted connections, so that Close leaves none open that the engine has not taken over yet, and no host
// opens as many as it likes.
type conns struct {
	mu     sync.Mutex
	open   map[*conn]struct{}
	from   map[netip.Addr]int
	rush   rush
	closed bool
}

const (
	maxConns = 2048
	// maxConnsOfOneHost is more than a neighbour needs, which has one for each package that both have. Agents that share
	// this machine are not one host.
	maxConnsOfOneHost = 128
)

func (c *conns) add(k *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.open) >= maxConns || c.from[k.from] >= maxConnsOfOneHost && !k.from.IsLoopback() ||
		!c.rush.allows(time.Now(), k.from) {
		return false
	}
	if c.open == nil {
		c.open, c.from = map[*conn]struct{}{}, map[netip.Addr]int{}
	}
	c.open[k] = struct{}{}
	c.from[k.from]++
	return true
}

func (c *conns) remove(k *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.open[k]; !ok {
		return
	}
	delete(c.open, k)
	if c.from[k.from]--; c.from[k.from] == 0 {
		delete(c.from, k.from)
	}
}

func (c *conns) closeAll() {
	c.mu.Lock()
	c.closed = true
	open := c.open
	c.open = nil
	c.mu.Unlock()
	for k := range open {
		k.Conn.Close()
	}
}

type conn struct {
	net.Conn
	from netip.Addr
	of   *conns
	once sync.Once
}

func (c *conn) Close() error {
	c.once.Do(func() { c.of.remove(c) })
	return c.Conn.Close()
}

// SetDeadline implements net.Conn. The engine panics where it fails; that the connection is closed it learns from the next read.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.Conn.SetDeadline(t); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// listener hands the engine the connections that may be neighbours'; a stranger's is closed before a byte is read.
type listener struct {
	net.Listener
	admit func(netip.Addr) bool
	trust *trust
	conns *conns
	sent  *sent
	pace  pace
}

func (l listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr, ok := c.RemoteAddr().(*net.TCPAddr)
		if !ok {
			c.Close()
			continue
		}
		from := unpacked(packed(addr.AddrPort().Addr()))
		if !l.admit(from) || l.trust.shuns(time.Now(), endOf(netip.AddrPortFrom(from, uint16(addr.Port)), true)) {
			c.Close()
			continue
		}
		k := &conn{Conn: packedConn(fitSmall(c)), from: from, of: l.conns}
		if !l.conns.add(k) {
			c.Close()
			continue
		}
		return l.pace.hold(l.sent.count(k)), nil
	}
}

// dialTimeout is generous for a LAN; a machine that drops packets silently must not hold a dial for long.
const dialTimeout = 3 * time.Second

// dialer makes the connections to neighbours.
type dialer struct {
	sent *sent
	pace pace
}

func (dialer) DialerNetwork() string { return "tcp" }

func (d dialer) Dial(ctx context.Context, addr string) (net.Conn, error) {
	if at, err := netip.ParseAddrPort(addr); err == nil {
		addr = netip.AddrPortFrom(unpacked(at.Addr()), at.Port()).String()
	}
	c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return d.pace.hold(d.sent.count(packedConn(fitSmall(c)))), nil
}

// pace is what connections wait for; nil: nothing.
type pace struct {
	receive, send func(ctx context.Context, n int) error
	keep          func(net.Conn) net.Conn // of connections, until they are closed; nil: nobody does
}

// hold holds a connection to the pace. What it has received it hands on only when it may have come, so that the kernel's
// buffer fills and the neighbour slows down.
func (p pace) hold(c net.Conn) net.Conn {
	if p.keep != nil {
		c = p.keep(c)
	}
	if p.receive == nil || p.send == nil {
		return c
	}
	open, end := context.WithCancelCause(context.Background())
	return &paced{Conn: c, pace: p, open: open, end: func() { end(net.ErrClosed) }}
}

type paced struct {
	net.Conn
	pace pace
	open context.Context // until Close
	end  func()
}

// Read implements net.Conn.
func (c *paced) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if waited := c.pace.receive(c.open, n); waited != nil && err == nil {
		err = waited
	}
	return n, err
}

// Write implements net.Conn.
func (c *paced) Write(p []byte) (int, error) {
	if err := c.pace.send(c.open, len(p)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *paced) Close() error {
	c.end()
	return c.Conn.Close()
}

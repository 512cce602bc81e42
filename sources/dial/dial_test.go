package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	a1, a2 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	v1, v2 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	ula    = netip.MustParseAddr("fd00::1")

	errRefused = errors.New("connection refused")
	errNoRoute = errors.New("network is unreachable")
)

// network is where some addresses answer, after a while, some refuse, and the others swallow everything.
type network struct {
	answers map[netip.Addr]time.Duration
	refuses map[netip.Addr]error
	names   map[string][]netip.Addr // by ip4 and ip6; a missing one: no such name
	delays  map[string]time.Duration

	mu    sync.Mutex
	tried []netip.Addr
	open  int
}

type conn struct {
	net.Conn
	n  *network
	at netip.AddrPort
}

func (c conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.at) }

func (c conn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.n.open--
	return nil
}

func (n *network) dialer() *Dialer {
	return &Dialer{lookup: func(ctx context.Context, family, host string) ([]netip.Addr, error) {
		select {
		case <-time.After(n.delays[family]):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if addrs, ok := n.names[family]; ok {
			return addrs, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}, dial: func(ctx context.Context, _ string, to netip.AddrPort) (net.Conn, error) {
		n.mu.Lock()
		n.tried = append(n.tried, to.Addr())
		n.mu.Unlock()
		if err := n.refuses[to.Addr()]; err != nil {
			return nil, err
		}
		after, ok := n.answers[to.Addr()]
		if !ok {
			after = time.Hour
		}
		select {
		case <-time.After(after):
			n.mu.Lock()
			defer n.mu.Unlock()
			n.open++
			return conn{n: n, at: to}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

// TestDeadAddresses: what is dead costs a quarter of a second, once.
func TestDeadAddresses(t *testing.T) {
	const rtt = 10 * time.Millisecond
	good := func(addrs ...netip.Addr) map[netip.Addr]time.Duration {
		m := map[netip.Addr]time.Duration{}
		for _, a := range addrs {
			m[a] = rtt
		}
		return m
	}
	names := func(v6, v4 []netip.Addr) map[string][]netip.Addr {
		m := map[string][]netip.Addr{}
		if v6 != nil {
			m["ip6"] = v6
		}
		if v4 != nil {
			m["ip4"] = v4
		}
		return m
	}
	type addrs = []netip.Addr
	for _, c := range []struct {
		name          string
		net           *network
		first, second time.Duration // how long a dial takes
		tried         addrs         // by the first
		fails         string
	}{
		{name: "all well", net: &network{names: names(addrs{v1}, addrs{a1}), answers: good(v1, a1)}, first: rtt, second: rtt, tried: addrs{v1}},
		{name: "IPv4 alone", net: &network{names: names(nil, addrs{a1}), answers: good(a1)}, first: rtt, second: rtt, tried: addrs{a1}},
		{name: "dead AAAA", net: &network{names: names(addrs{v1}, addrs{a1}), answers: good(a1)}, first: nextAfter + rtt, second: rtt, tried: addrs{v1, a1}},
		{name: "two dead AAAA", net: &network{names: names(addrs{v1, v2}, addrs{a1}), answers: good(a1)}, first: nextAfter + rtt, second: rtt, tried: addrs{v1, a1}},
		{name: "dead AAAA and A", net: &network{names: names(addrs{v1}, addrs{a1, a2}), answers: good(a2)}, first: 2*nextAfter + rtt, second: rtt, tried: addrs{v1, a1, a2}},
		{name: "first A dead", net: &network{names: names(nil, addrs{a1, a2}), answers: good(a2)}, first: nextAfter + rtt, second: rtt, tried: addrs{a1, a2}},
		{name: "dead A, good AAAA", net: &network{names: names(addrs{v1}, addrs{a1}), answers: good(v1)}, first: rtt, second: rtt, tried: addrs{v1}},
		{name: "no route for IPv6", net: &network{names: names(addrs{v1, v2}, addrs{a1}), answers: good(a1),
			refuses: map[netip.Addr]error{v1: errNoRoute, v2: errNoRoute}}, first: rtt, second: rtt, tried: addrs{v1, a1}},
		{name: "AAAA refuses", net: &network{names: names(addrs{v1}, addrs{a1}), answers: good(a1),
			refuses: map[netip.Addr]error{v1: errRefused}}, first: rtt, second: rtt, tried: addrs{v1, a1}},
		{name: "name server silent about AAAA", net: &network{names: names(addrs{v1}, addrs{a1}), answers: good(v1, a1),
			delays: map[string]time.Duration{"ip6": 20 * time.Second}}, first: lateFamily + rtt, second: rtt, tried: addrs{a1}},
		{name: "name server slow about A, AAAA dead", net: &network{names: names(addrs{v1}, addrs{a1}), answers: good(a1),
			delays: map[string]time.Duration{"ip4": time.Second}}, first: time.Second + rtt, second: time.Second + rtt, tried: addrs{v1, a1}},
		{name: "ULA comes after IPv4", net: &network{names: names(addrs{ula}, addrs{a1}), answers: good(a1)}, first: rtt, second: rtt, tried: addrs{a1}},
		{name: "slow AAAA wins when nothing else is", net: &network{names: names(addrs{v1}, addrs{a1}),
			answers: map[netip.Addr]time.Duration{v1: time.Second}}, first: time.Second, second: time.Second, tried: addrs{v1, a1}},
		{name: "all refuse", net: &network{names: names(addrs{v1}, addrs{a1}),
			refuses: map[netip.Addr]error{v1: errNoRoute, a1: errRefused}}, fails: "connection refused", tried: addrs{v1, a1}},
		{name: "no such name", net: &network{}, fails: "no such host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := c.net.dialer()
				for n, want := range []time.Duration{c.first, c.second} {
					begun := time.Now()
					conn, err := d.Context(t.Context(), "tcp", "files.example:80")
					if took := time.Since(begun); took != want {
						t.Errorf("dial %d took %v, want %v", n+1, took, want)
					}
					if c.fails != "" {
						if err == nil || !strings.Contains(err.Error(), c.fails) {
							t.Errorf("error %v, want %q", err, c.fails)
						}
					} else if err != nil {
						t.Fatal(err)
					}
					if n == 0 && !slices.Equal(c.net.tried, c.tried) {
						t.Errorf("tried %v, want %v", c.net.tried, c.tried)
					}
					if conn != nil {
						conn.Close()
					}
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if c.net.open != 0 {
					t.Errorf("%d connections are left open", c.net.open)
				}
			})
		})
	}
}

// What worked may die, or the name may lead elsewhere: nothing is remembered for longer than it is true.
func TestRememberedAddressDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network{names: map[string][]netip.Addr{"ip4": {a1, a2}}, answers: map[netip.Addr]time.Duration{a1: 0}}
		d := n.dialer()
		dial := func(want time.Duration) {
			t.Helper()
			begun := time.Now()
			c, err := d.Context(t.Context(), "tcp", "files.example:80")
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			if took := time.Since(begun); took != want {
				t.Errorf("took %v, want %v", took, want)
			}
		}
		dial(0)
		n.answers = map[netip.Addr]time.Duration{a2: 0}
		dial(knownAfter)
		dial(0)
		n.names["ip4"] = []netip.Addr{a1}
		n.answers = map[netip.Addr]time.Duration{a1: 0}
		dial(0)
	})
}

func TestDialIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("why")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, why)
		defer cancel()
		n := network{names: map[string][]netip.Addr{"ip4": {a1}}}
		if _, err := n.dialer().Context(ctx, "tcp", "files.example:80"); err != why {
			t.Error(err)
		}
	})
}

// The system's own resolver and sockets.
func TestRealName(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var d Dialer
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"localhost", "127.0.0.1", "localhost"} { // localhost has ::1 too, which refuses
		c, err := d.Context(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if got := d.recall("localhost:" + port); got != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("remembers %v", got)
	}
}

// Package dial connects to servers whose names have several addresses, of which some may lead nowhere: an AAAA record of
// a network that is only half set up, a server that was taken down (Happy Eyeballs, RFC 8305).
package dial

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// nextAfter is how long an address has to answer before the next one is tried beside it (RFC 8305 section 5).
	nextAfter = 250 * time.Millisecond
	// knownAfter is the same for the address that worked before. It is longer: two attempts may become two connections for
	// a moment, and origins count theirs.
	knownAfter = time.Second
	// lateFamily is how long the addresses of the other family are waited for once those of one are known (section 3).
	lateFamily = 50 * time.Millisecond
	// maxAddresses bounds how many addresses of a name are tried in one family.
	maxAddresses = 8
	// maxNames bounds how many servers are remembered.
	maxNames = 256
)

// Dialer dials by name and remembers which of a server's addresses answered. All that read from one server share one, so
// that a dead address costs its delay once. The zero value is ready; its methods may be called concurrently.
type Dialer struct {
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)          // nil: the system's
	dial   func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) // nil: the system's

	mu     sync.Mutex
	worked map[string]netip.Addr // by host and port
}

// Context dials as net.Dialer.DialContext does, network being tcp.
func (d *Dialer) Context(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil || network != "tcp" {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	number, err := net.DefaultResolver.LookupPort(ctx, network, port)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the attempts that are left, and the question that nobody answers
	r := &race{d: d, known: d.recall(address), port: uint16(number), host: host, tries: make(chan try), over: ctx.Done()}
	conn, err := r.run(ctx)
	d.note(address, conn)
	return conn, err
}

func (d *Dialer) recall(address string) netip.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.worked[address]
}

// note remembers who answered; conn nil: nobody did.
func (d *Dialer) note(address string, conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if conn == nil {
		delete(d.worked, address)
		return
	}
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return
	}
	if d.worked == nil || len(d.worked) >= maxNames {
		d.worked = map[string]netip.Addr{}
	}
	d.worked[address] = at.Addr().Unmap()
}

func (d *Dialer) ask(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if d.lookup != nil {
		return d.lookup(ctx, network, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, network, host)
}

func (d *Dialer) to(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if d.dial != nil {
		return d.dial(ctx, "tcp", to)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", to.String())
}

// race is one call: the name's addresses and the attempts at them.
type race struct {
	d     *Dialer
	host  string
	port  uint16
	known netip.Addr // worked before; invalid: none did

	left    [2][]netip.Addr // not tried yet: of IPv6, of IPv4
	asking  int             // families whose addresses are not known yet
	last    int             // the family tried last; 1 at first
	running int
	failed  []error
	tries   chan try
	over    <-chan struct{} // nobody takes tries any more
}

type try struct {
	conn net.Conn
	err  error
}

type answer struct {
	family int
	addrs  []netip.Addr
	err    error
}

func (r *race) run(ctx context.Context) (net.Conn, error) {
	answers := make(chan answer, 2)
	for family, network := range []string{"ip6", "ip4"} {
		go func() {
			addrs, err := r.d.ask(ctx, network, r.host)
			answers <- answer{family, addrs, err}
		}()
	}
	r.asking, r.last = 2, 1
	next := time.NewTimer(time.Hour)
	defer next.Stop()
	var unresolved error
	starved := false // the timer fired and there was no address to try
	for {
		select {
		case a := <-answers:
			r.asking--
			r.left[a.family] = r.sorted(a.addrs)
			unresolved = a.err
			switch {
			case r.running > 0 && !starved: // the timer runs
			case r.running > 0 || r.asking == 0:
				next.Reset(0)
			case len(a.addrs) > 0 && (a.family == 0 || a.addrs[0].Unmap() == r.known):
				next.Reset(0)
			case len(a.addrs) > 0:
				next.Reset(lateFamily)
			}
		case t := <-r.tries:
			r.running--
			if t.err == nil {
				return t.conn, nil
			}
			r.failed = append(r.failed, t.err)
			next.Reset(0)
		case <-next.C:
			to, ok := r.pick()
			if starved = !ok; ok {
				r.attempt(ctx, to)
				next.Reset(nextAfter)
				if to == r.known {
					next.Reset(knownAfter)
				}
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if r.running == 0 && r.asking == 0 && len(r.left[0])+len(r.left[1]) == 0 {
			return nil, r.failure(unresolved)
		}
	}
}

// sorted puts the address that worked before first, and bounds them. The resolver has sorted them by RFC 6724.
func (r *race) sorted(addrs []netip.Addr) (all []netip.Addr) {
	for _, a := range addrs {
		if a = a.Unmap(); a == r.known {
			all = append([]netip.Addr{a}, all...)
		} else {
			all = append(all, a)
		}
	}
	return all[:min(len(all), maxAddresses)]
}

// pick takes the next address to try: what worked before, then IPv6 and IPv4 in turn.
func (r *race) pick() (netip.Addr, bool) {
	family := 1 - r.last
	switch {
	case first(r.left[r.last]) == r.known && r.known.IsValid():
		family = r.last
	case first(r.left[family]) == r.known && r.known.IsValid():
	case r.last == 1 && r.running == 0 && len(r.failed) == 0 && isLesser(first(r.left[0])) && len(r.left[1]) > 0:
		family = 1
	case len(r.left[family]) == 0:
		family = r.last
	}
	if len(r.left[family]) == 0 {
		return netip.Addr{}, false
	}
	to := r.left[family][0]
	r.left[family] = r.left[family][1:]
	r.last = family
	return to, true
}

func first(addrs []netip.Addr) netip.Addr {
	if len(addrs) == 0 {
		return netip.Addr{}
	}
	return addrs[0]
}

// isLesser: IPv4 comes before these (RFC 6724 section 2.1: ULA, 6to4, Teredo).
func isLesser(a netip.Addr) bool {
	for _, s := range []string{"fc00::/7", "2002::/16", "2001::/32"} {
		if netip.MustParsePrefix(s).Contains(a) {
			return true
		}
	}
	return false
}

func (r *race) attempt(ctx context.Context, to netip.Addr) {
	r.running++
	go func() {
		conn, err := r.d.to(ctx, netip.AddrPortFrom(to, r.port))
		select {
		case r.tries <- try{conn, err}:
		case <-r.over:
			if err == nil {
				conn.Close()
			}
		}
	}()
}

// failure is why no address answered.
func (r *race) failure(unresolved error) error {
	switch n := len(r.failed); {
	case n > 1:
		return fmt.Errorf("%s: none of %d addresses answers: %w; %w", r.host, n, r.failed[0], r.failed[n-1])
	case n == 1:
		return r.failed[0]
	case unresolved != nil:
		return unresolved
	}
	return &net.DNSError{Err: "no address", Name: r.host, IsNotFound: true}
}

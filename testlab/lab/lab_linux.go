package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	"github.com/vishvananda/netns"
)

// BitRate is a link's speed in bits per second, Ethernet headers included; 0 means as fast as the machine can.
type BitRate int64

// Mbit is a million bits per second.
const Mbit BitRate = 1_000_000

func (r BitRate) String() string {
	if r == 0 {
		return "unshaped"
	}
	return fmt.Sprintf("%g Mbit/s", float64(r)/float64(Mbit))
}

// Payload is what TCP can carry at this rate, in bytes per second: of the 1514 bytes of a full frame 1448 are payload, with
// the timestamps that Linux puts into each. A short download may be faster, by what a shaper has saved up; 0 if the rate is.
func (r BitRate) Payload() float64 { return float64(r) / 8 * 1448 / 1514 }

// Options say what a lab is to be like.
type Options struct {
	Hosts      int
	Rate       BitRate         // of each host's link, both ways
	OriginRate BitRate         // of the origin's link, both ways
	HostRates  map[int]BitRate // of these hosts, from 0, instead of Rate
	Far        int             // so many hosts, the last, are in a network of their own, behind the router
}

// Lab is a network that stands. Close it.
type Lab struct {
	Origin *Machine
	Hosts  []*Machine
	router *Machine
}

// network is one switch; the router has an address in each.
type network struct {
	bridge string
	prefix netip.Prefix
	router netip.Addr
}

var (
	near = network{"br0", netip.MustParsePrefix("10.78.0.0/16"), netip.MustParseAddr("10.78.255.254")}
	far  = network{"br1", netip.MustParsePrefix("10.79.0.0/16"), netip.MustParseAddr("10.79.255.254")}

	originAddress = netip.MustParseAddr("10.78.0.1")
)

// New builds a lab. errors.Is(err, ErrUnavailable) where this machine can't have one.
func New(o Options) (_ *Lab, err error) {
	if o.Hosts < 0 || o.Hosts > 250 {
		return nil, fmt.Errorf("a lab of %d hosts: 0 to 250 are possible", o.Hosts)
	}
	l := new(Lab)
	defer func() {
		if err == nil {
			return
		}
		l.Close()
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOENT) {
			err = fmt.Errorf("%w (%w)", ErrUnavailable, err)
		}
	}()
	router, ns, err := boot("router", near.router)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	l.router = router
	if err := router.Do(near.lay); err != nil {
		return nil, fmt.Errorf("lay the switch: %w", err)
	}
	if o.Far > 0 {
		if err := router.Do(func() error { return errors.Join(far.lay(), forward()) }); err != nil {
			return nil, fmt.Errorf("lay the switch behind the router: %w", err)
		}
	}
	if l.Origin, err = l.plugIn(ns, near, "origin", originAddress, o.OriginRate); err != nil {
		return nil, err
	}
	for i := 1; i <= o.Hosts; i++ {
		rate := o.Rate
		if own, ok := o.HostRates[i-1]; ok {
			rate = own
		}
		at := near
		if i > o.Hosts-o.Far {
			at = far
		}
		addr := at.prefix.Addr().As4()
		addr[2], addr[3] = 1, byte(i)
		h, err := l.plugIn(ns, at, fmt.Sprintf("h%d", i), netip.AddrFrom4(addr), rate)
		if err != nil {
			return nil, err
		}
		l.Hosts = append(l.Hosts, h)
	}
	return l, nil
}

// ForTest is New for a test: it skips where a lab can't be had, and the lab ends with the test.
func ForTest(t testing.TB, o Options) *Lab {
	t.Helper()
	l, err := New(o)
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Close ends every process of the lab and takes the network down.
func (l *Lab) Close() error {
	for _, m := range append([]*Machine{l.Origin, l.router}, l.Hosts...) {
		if m != nil {
			m.Close()
		}
	}
	return nil
}

// plugIn boots a machine and connects it to the switch of a network, whose namespace is given.
func (l *Lab) plugIn(switchNS netns.NsHandle, at network, name string, addr netip.Addr, rate BitRate) (*Machine, error) {
	m, ns, err := boot(name, addr)
	if err != nil {
		return nil, err
	}
	ns.Close()
	port := "to-" + name
	for _, step := range []struct {
		on *Machine
		do func() error
	}{
		{m, func() error { return at.wire(switchNS, port, addr, rate) }},
		{l.router, func() error { return at.plug(port, rate) }},
		{l.router, func() error { return awaitLink(port) }},
		{m, func() error { return awaitLink(device) }},
	} {
		if err := step.on.Do(step.do); err != nil {
			m.Close()
			return nil, fmt.Errorf("plug %s in: %w", name, err)
		}
	}
	return m, nil
}

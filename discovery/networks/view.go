package networks

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// View is this machine's networks at one moment. It doesn't change.
type View struct {
	Used []Card    // where neighbours may be, best first, each with the addresses to announce there
	Left []LeftOut // the other cards

	fence []netip.Prefix
	own   map[netip.Addr]bool // every address of this machine
	nets  []netip.Prefix      // its subnets
}

// newView judges the cards.
func newView(all []Card, fence []netip.Prefix, origins []netip.Addr) *View {
	v := &View{fence: fence, own: map[netip.Addr]bool{}}
	v.Used, v.Left = choose(all, fence, origins)
	for i := range all {
		c := &all[i]
		for _, p := range slices.Concat(c.Prefixes, c.Spare) {
			v.own[p.Addr()] = true
		}
		for _, p := range slices.Concat(c.Prefixes, c.Spare, c.OnLink) {
			if p = p.Masked(); isSubnet(p) && !slices.Contains(v.nets, p) {
				v.nets = append(v.nets, p)
			}
		}
	}
	return v
}

// isSubnet reports whether a prefix is so long that it may be a LAN: a VPN may claim half of the internet for its own subnet.
func isSubnet(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() >= 8
	}
	return p.Bits() >= 32 || p.Addr().IsLinkLocalUnicast()
}

// IsMine reports whether a is an address of this machine.
func (v *View) IsMine(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsLoopback() || v.own[a]
}

// Admits reports whether a neighbour may be at a: inside the fence; without one at an address that no router of the internet
// forwards, or in one of this machine's own subnets.
func (v *View) Admits(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if len(v.fence) > 0 {
		return within(a, v.fence)
	}
	return within(a, private) || within(a, v.nets)
}

// maxAdvertised bounds what others are told.
const maxAdvertised = 6

// Advertise is where others reach this machine, best first: the addresses that are announced on the cards in use. There is
// none while it has no address.
func (v *View) Advertise() (all []netip.Addr) {
	add := func(cards []Card, is func(netip.Addr) bool) {
		for _, c := range cards {
			for _, p := range c.Prefixes {
				if a := p.Addr(); is(a) && !slices.Contains(all, a) && len(all) < maxAdvertised {
					all = append(all, a)
				}
			}
		}
	}
	for i := range v.Used {
		add(v.Used[i:i+1], func(a netip.Addr) bool { return !a.IsLinkLocalUnicast() && a.Is4() })
		add(v.Used[i:i+1], func(a netip.Addr) bool { return !a.IsLinkLocalUnicast() && a.Is6() })
	}
	add(v.Used, netip.Addr.IsLinkLocalUnicast)
	return all
}

// Reach picks the address to reach a machine at that has these, its own best first; false: none will do. One in a subnet of
// a card in use is better than one behind a gateway. An address that this machine has too is somebody else's: tunnels and
// virtual machines give the same to many.
func (v *View) Reach(at []netip.Addr) (netip.Addr, bool) {
	routed := slices.ContainsFunc(v.Used, func(c Card) bool { return c.Gateway })
	best, cost := netip.Addr{}, 0
	for _, a := range at {
		a = a.Unmap().WithZone("")
		if a.IsUnspecified() || a.IsMulticast() || !v.Admits(a) {
			continue
		}
		near := v.holder(a)
		c := 0
		switch {
		case v.IsMine(a):
			c = 6
		case near != nil && isWide(a):
			c = 1
		case near != nil && !routed:
			c = 2
		case isWide(a):
			c = 3
		case near != nil:
			c = 4
		default:
			c = 5
		}
		if !best.IsValid() || c < cost {
			best, cost = a, c
		}
		if near != nil && a.Is6() && a.IsLinkLocalUnicast() && best == a {
			best = a.WithZone(near.Name)
		}
	}
	return best, best.IsValid()
}

// holder is the best card in use in whose subnet a lies, or nil.
func (v *View) holder(a netip.Addr) *Card {
	for i := range v.Used {
		if v.Used[i].Holds(a) {
			return &v.Used[i]
		}
	}
	return nil
}

// String names the cards in use, and those left out that somebody may have expected there.
func (v *View) String() string {
	var in, out []string
	for _, c := range v.Used {
		in = append(in, c.String())
	}
	for _, c := range v.Left {
		if c.Kind != Loop && c.Kind != Port && len(c.Prefixes) > 0 {
			out = append(out, c.Name+" "+c.Why)
		}
	}
	text := "no network card is in use"
	if len(in) > 0 {
		text = "on " + strings.Join(in, ", ")
	}
	if len(out) > 0 {
		text += "; not used: " + strings.Join(out, ", ")
	}
	return text
}

// String is a card and its addresses for people.
func (c Card) String() string {
	var addrs []string
	for _, p := range c.Prefixes {
		addrs = append(addrs, p.Addr().String())
	}
	return fmt.Sprintf("%s (%s)", c.Name, strings.Join(addrs, ", "))
}

// same reports whether two views say the same.
func (v *View) same(o *View) bool {
	return v != nil && o != nil && reflect.DeepEqual(v.Used, o.Used) && reflect.DeepEqual(v.Left, o.Left) &&
		reflect.DeepEqual(v.own, o.own) && slices.Equal(v.nets, o.nets)
}

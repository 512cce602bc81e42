package discovery

import (
	"net/netip"
	"slices"

	"handout/discovery/networks"
)

// What one sweep may bring. A LAN has a few hundred machines; whoever announces more than that is not one of them, and
// one machine that answers for many must not crowd out the rest.
const (
	maxFound     = 1024 // addresses altogether
	maxPerSubnet = 512  // per /24 of IPv4, /64 of IPv6
	maxPerSource = 16   // per sender: a few agents with a few addresses each
)

// sighting is what one packet, or one seed's name, said.
type sighting struct {
	source netip.Addr // who sent the packet; invalid: an admin named it, which is not bounded
	addrs  []netip.AddrPort
}

// table bounds what is heard between two sweeps.
type table struct {
	found    map[netip.AddrPort]bool // the value: as named by an admin
	bySubnet map[netip.Prefix]int
	bySource map[netip.Addr]int
}

// newTable begins a sweep.
func newTable() table {
	return table{make(map[netip.AddrPort]bool), make(map[netip.Prefix]int), make(map[netip.Addr]int)}
}

// admit reports whether a is new in this sweep and within bounds.
func (t table) admit(source netip.Addr, a netip.AddrPort) bool {
	named, told := t.found[a]
	if !source.IsValid() {
		t.found[a] = true
		return !named
	}
	if told {
		return false
	}
	subnet := subnetOf(a.Addr())
	if len(t.found) >= maxFound || t.bySubnet[subnet] >= maxPerSubnet || t.bySource[source] >= maxPerSource {
		return false
	}
	t.found[a] = false
	t.bySubnet[subnet]++
	t.bySource[source]++
	return true
}

func subnetOf(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // fails for no valid address: 24 and 64 bits are always there
	return p
}

// plausible turns an address somebody announced on card c into one to try, or says no: an agent is a neighbour, so its
// address lies inside the fence or, without one, in a subnet of the card that heard of it. An announcement can thereby not
// send a roomful of machines to a stranger's server.
func plausible(a netip.AddrPort, c *networks.Card, cidrs []netip.Prefix) (netip.AddrPort, bool) {
	addr := a.Addr().Unmap().WithZone("")
	if a.Port() == 0 || !addr.IsGlobalUnicast() && !addr.IsLinkLocalUnicast() {
		return netip.AddrPort{}, false
	}
	inside := func(n netip.Prefix) bool { return n.Contains(addr) }
	if len(cidrs) > 0 && !slices.ContainsFunc(cidrs, inside) || len(cidrs) == 0 && !c.IsNear(addr) {
		return netip.AddrPort{}, false
	}
	if addr.Is6() && addr.IsLinkLocalUnicast() {
		addr = addr.WithZone(c.Name)
	}
	return netip.AddrPortFrom(addr, a.Port()), true
}

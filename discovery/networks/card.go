package networks

import (
	"net"
	"net/netip"
	"slices"
)

// Card is a network interface of this machine.
type Card struct {
	net.Interface
	Kind     Kind
	Of       string         // the bridge or bond whose port it is; "" for any other kind than Port
	Prefixes []netip.Prefix // its addresses, each with the length of its subnet; link-local ones carry no zone
	Spare    []netip.Prefix // addresses that nobody should be told: deprecated ones, and temporary ones beside a lasting one
	OnLink   []netip.Prefix // what the system's routes say can be reached through it without a gateway, beside Prefixes
	Gateway  bool           // a default route leads through it
}

// Kind is what a card leads to, as far as the system tells.
type Kind uint8

// The kinds of cards. A card of which nothing else is known is a Wire.
const (
	Wire   Kind = iota // other machines: Ethernet, Wi-Fi, a VLAN, a bond, a bridge that has one of them as a port
	Loop               // this machine only
	Port               // a bridge or a bond, which has the addresses
	Inner              // this machine's own virtual machines or containers, and nobody else
	Blind              // a bridge or the like without a cable: most likely as Inner
	Tunnel             // a VPN
)

// isPointToPoint reports whether one machine is at the other end, so that there is nobody to ask by multicast.
func (c *Card) isPointToPoint() bool { return c.Flags&net.FlagPointToPoint != 0 }

// CanMulticast reports whether multicast DNS can be spoken on the card.
func (c *Card) CanMulticast() bool {
	return c.Flags&net.FlagMulticast != 0 && c.Flags&net.FlagLoopback == 0
}

// Holds reports whether a lies in one of the card's subnets, so that no gateway is needed to reach it.
func (c *Card) Holds(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return within(a, c.Prefixes) || within(a, c.OnLink)
}

// IsNear reports whether somebody at a may be on the card's link: in one of its subnets; or at a private address, if the
// card's own addresses have subnets of one address each, as some clouds and DHCPv6 servers give them.
func (c *Card) IsNear(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if c.Holds(a) {
		return true
	}
	known := false
	for _, p := range slices.Concat(c.Prefixes, c.OnLink) {
		known = known || p.Addr().Is4() == a.Is4() && !p.IsSingleIP() && !p.Addr().IsLinkLocalUnicast()
	}
	return !known && within(a, private)
}

// private are the addresses that no router of the internet forwards.
var private = prefixes(
	"127.0.0.0/8", "::1/128", // this machine
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
	"100.64.0.0/10",               // RFC 6598
	"169.254.0.0/16", "fe80::/10", // RFC 3927, RFC 4291
	"fc00::/7", // RFC 4193
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

func within(a netip.Addr, nets []netip.Prefix) bool {
	for _, n := range nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// isWide reports whether an address means the same machine on all links.
func isWide(a netip.Addr) bool { return a.IsGlobalUnicast() }

// wide are the addresses that mean the same machine on all links.
func wide(all []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(all), func(p netip.Prefix) bool { return !isWide(p.Addr()) })
}

// take sorts the addresses that are the card's. Nobody is told one that is about to go, nor one that is there for a day, as
// IPv6 has them, where the same subnet has one that stays.
func (c *Card) take(all []address) {
	lasting := func(a address) bool {
		return slices.ContainsFunc(all, func(b address) bool {
			return b.card == a.card && !b.temporary && !b.deprecated && b.Masked() == a.Masked()
		})
	}
	for _, a := range all {
		switch {
		case a.card != c.Index:
		case a.deprecated, a.temporary && lasting(a):
			c.Spare = append(c.Spare, a.Prefix)
		default:
			c.Prefixes = append(c.Prefixes, a.Prefix)
		}
	}
	if len(wide(c.Prefixes)) == 0 && len(wide(c.Spare)) > 0 { // a deprecated address is better than none
		c.Prefixes, c.Spare = append(c.Spare, c.Prefixes...), nil
	}
}

// address is one of a card's.
type address struct {
	netip.Prefix
	card                  int // its index
	deprecated, temporary bool
}

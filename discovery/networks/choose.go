package networks

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
)

// LeftOut is a card that is not used, and why.
type LeftOut struct {
	Card
	Why string // after "it": "is a VPN"
}

// maxCards bounds the sockets: a machine full of containers has hundreds of interfaces, all alike.
const maxCards = 16

// choose picks the cards that neighbours may be on, best first. All that lead to other machines are used, with a gateway or
// without: beside the card to the internet there may be one to a room that is imaged, and the default route may lead into a
// VPN. Where there is none of them, those that may be one after all are used. A site with a fence is nowhere but inside it.
// A card comes back with the addresses that it may announce only.
func choose(all []Card, fence []netip.Prefix, origins []netip.Addr) (used []Card, left []LeftOut) {
	var doubtful, tunnels []Card
	leave := func(c Card, why string) { left = append(left, LeftOut{c, why}) }
	for _, c := range all {
		whole := c
		c.Prefixes = announceable(c.Prefixes, fence)
		switch {
		case c.Flags&net.FlagUp == 0:
			leave(whole, "is switched off")
		case c.Flags&net.FlagRunning == 0:
			leave(whole, "has no cable or no signal")
		case c.Kind == Port:
			leave(whole, "is a port of "+c.Of+", which has the addresses")
		case len(whole.Prefixes) == 0:
			leave(whole, "has no address")
		case len(c.Prefixes) == 0 && len(fence) > 0:
			leave(whole, "has no address in the site's networks (site.cidrs, --cidr)")
		case len(c.Prefixes) == 0 || c.Kind == Loop && len(fence) == 0:
			leave(whole, "leads to this machine only")
		case len(fence) > 0:
			used = append(used, c)
		case c.isPointToPoint():
			tunnels = append(tunnels, c)
		case c.Kind == Inner:
			leave(whole, "leads to this machine's own virtual machines or containers only")
		case c.Kind == Tunnel, c.Kind == Blind && !slices.ContainsFunc(origins, c.Holds):
			doubtful = append(doubtful, c)
		default:
			used = append(used, c)
		}
	}
	if len(used) > 0 {
		for _, c := range append(doubtful, tunnels...) {
			leave(c, doubt(c))
		}
	} else if used = doubtful; len(used) > 0 {
		for _, c := range tunnels {
			leave(c, doubt(c))
		}
	} else {
		used = tunnels
	}
	slices.SortStableFunc(used, func(a, b Card) int {
		return cmp.Or(cmp.Compare(rank(a, origins), rank(b, origins)), cmp.Compare(a.Index, b.Index))
	})
	// Each container has a card here too, with nothing but a link-local address.
	if n := len(used); n > maxCards {
		for _, c := range used[maxCards:] {
			leave(c, "is one too many")
		}
		used = used[:maxCards]
	}
	return used, left
}

// doubt is why a card is left out where there are better ones.
func doubt(c Card) string {
	if c.Kind == Blind {
		return "is a bridge that no cable leads out of"
	}
	return "is a VPN"
}

// rank orders the cards that are used: where the origin is others fetch too, and a gateway or an address that somebody planned
// is a better sign than a link-local address.
func rank(c Card, origins []netip.Addr) int {
	switch {
	case slices.ContainsFunc(origins, c.Holds):
		return 0
	case c.Gateway && len(wide(c.Prefixes)) > 0:
		return 1
	case len(wide(c.Prefixes)) > 0:
		return 2
	default:
		return 3
	}
}

// announceable keeps the addresses neighbours can use: inside the fence if there is one; link-local ones only where there is
// nothing else, because they work on one link.
func announceable(addrs, fence []netip.Prefix) []netip.Prefix {
	var good, link []netip.Prefix
	for _, p := range addrs {
		switch a := p.Addr(); {
		case len(fence) > 0 && !within(a, fence):
		case a.IsLinkLocalUnicast():
			link = append(link, p)
		case isWide(a), a.IsLoopback() && len(fence) > 0:
			good = append(good, p)
		}
	}
	if len(good) == 0 {
		return link
	}
	return good
}

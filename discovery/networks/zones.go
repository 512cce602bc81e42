package networks

import (
	"net/netip"
	"slices"
)

// Zones are the cards in use on whose link a link-local address of IPv6 may be, best first: each leads to another machine with
// that address, or to none.
func (v *View) Zones(a netip.Addr) (names []string) {
	if !a.Is6() || !a.IsLinkLocalUnicast() {
		return nil
	}
	for _, c := range v.Used {
		if slices.ContainsFunc(c.Prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() }) {
			names = append(names, c.Name)
		}
	}
	return names
}

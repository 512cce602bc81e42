package discovery

import (
	"fmt"
	"net"
	"net/netip"
)

// Interface is a network interface as discovery sees it.
type Interface struct {
	net.Interface
	Prefixes []netip.Prefix // its addresses, each with the length of its subnet; link-local ones carry no zone
	Gateway  bool           // a default route leads through it
}

// maxInterfaces bounds the sockets: a machine full of containers has hundreds of interfaces, all alike.
const maxInterfaces = 16

// SystemInterfaces lists this machine's interfaces and which of them have a default route.
func SystemInterfaces() ([]Interface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	gateways, err := gatewayInterfaces()
	if err != nil {
		return nil, fmt.Errorf("list default routes: %w", err)
	}
	all := make([]Interface, 0, len(list))
	for _, ni := range list {
		i := Interface{Interface: ni, Gateway: gateways[ni.Index]}
		addrs, err := ni.Addrs()
		if err != nil {
			continue // gone since it was listed
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			addr, ok := netip.AddrFromSlice(n.IP)
			if !ok {
				continue
			}
			ones, _ := n.Mask.Size()
			i.Prefixes = append(i.Prefixes, netip.PrefixFrom(addr.Unmap(), ones))
		}
		all = append(all, i)
	}
	return all, nil
}

// choose picks the interfaces to speak on. Those with a default gateway are where the LAN is; the adapters of virtual
// machines, containers and VPNs have none. A closed lab has none either: then every real interface will do. A site with a
// fence is nowhere but inside it. An interface comes back with the addresses it may announce only.
func choose(all []Interface, cidrs []netip.Prefix) []Interface {
	var usable, routed []Interface
	for _, i := range all {
		const need = net.FlagUp | net.FlagRunning | net.FlagMulticast
		if i.Flags&need != need || i.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0 {
			continue
		}
		if i.Prefixes = announceable(i.Prefixes, cidrs); len(i.Prefixes) == 0 {
			continue
		}
		usable = append(usable, i)
		if i.Gateway {
			routed = append(routed, i)
		}
	}
	if len(routed) > 0 && len(cidrs) == 0 {
		usable = routed
	}
	return usable[:min(len(usable), maxInterfaces)]
}

// announceable keeps the addresses neighbours can use: inside the fence if there is one; link-local IPv6 only where there
// is nothing else, because it works on one link and needs a zone.
func announceable(addrs, cidrs []netip.Prefix) []netip.Prefix {
	var wide, link []netip.Prefix
	for _, p := range addrs {
		switch a := p.Addr(); {
		case len(cidrs) > 0 && !within(a, cidrs):
		case a.Is6() && a.IsLinkLocalUnicast():
			link = append(link, p)
		case a.IsGlobalUnicast() || a.IsLinkLocalUnicast():
			wide = append(wide, p)
		}
	}
	if len(wide) == 0 {
		return link
	}
	return wide
}

func within(a netip.Addr, nets []netip.Prefix) bool {
	for _, n := range nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

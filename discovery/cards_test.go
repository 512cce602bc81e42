package discovery

import (
	"net"
	"net/netip"

	"handout/discovery/networks"
)

// nic is a card that is up and can do multicast.
func nic(name string, gateway bool, addrs ...string) networks.Card {
	c := networks.Card{
		Interface: net.Interface{Name: name, Flags: net.FlagUp | net.FlagRunning | net.FlagBroadcast | net.FlagMulticast},
		Gateway:   gateway,
	}
	for _, a := range addrs {
		c.Prefixes = append(c.Prefixes, netip.MustParsePrefix(a))
	}
	return c
}

func notMine(netip.Addr) bool { return false }

package discovery

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

// nic is an interface that is up and can do multicast.
func nic(name string, gateway bool, addrs ...string) Interface {
	i := Interface{
		Interface: net.Interface{Name: name, Flags: net.FlagUp | net.FlagRunning | net.FlagBroadcast | net.FlagMulticast},
		Gateway:   gateway,
	}
	for _, a := range addrs {
		i.Prefixes = append(i.Prefixes, netip.MustParsePrefix(a))
	}
	return i
}

func (i Interface) with(f net.Flags) Interface    { i.Flags |= f; return i }
func (i Interface) without(f net.Flags) Interface { i.Flags &^= f; return i }

func TestChoose(t *testing.T) {
	site := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}
	lan := nic("eth0", true, "10.1.2.3/24")
	hyperV := nic("vEthernet", false, "172.20.0.1/20")
	lo := nic("lo", false, "127.0.0.1/8", "::1/128").with(net.FlagLoopback)

	for _, c := range []struct {
		what  string
		have  []Interface
		cidrs []netip.Prefix
		want  []string // name and addresses announced
	}{
		{"the LAN is where the gateway is, not where virtual machines are", []Interface{lo, lan, hyperV}, nil, []string{"eth0 10.1.2.3/24"}},
		{"cable and Wi-Fi both", []Interface{lan, nic("wlan0", true, "10.9.0.4/24")}, nil, []string{"eth0 10.1.2.3/24", "wlan0 10.9.0.4/24"}},
		{"a closed lab has no gateway", []Interface{lo, nic("eth0", false, "192.168.7.2/24"), hyperV}, nil,
			[]string{"eth0 192.168.7.2/24", "vEthernet 172.20.0.1/20"}},
		{"a machine by itself", []Interface{lo}, nil, nil},
		{"the fence beats the gateway", []Interface{nic("eth0", true, "192.168.0.2/24"), nic("eth1", false, "10.1.9.9/24")}, site,
			[]string{"eth1 10.1.9.9/24"}},
		{"inside the fence only the addresses inside", []Interface{nic("eth0", true, "192.168.0.2/24", "10.1.0.2/24", "fd00:1::2/64", "fe80::2/64")}, site,
			[]string{"eth0 10.1.0.2/24 fd00:1::2/64"}},
		{"a laptop away from the site is mute", []Interface{nic("wlan0", true, "192.168.178.20/24")}, site, nil},
		{"link-local IPv6 only for want of better", []Interface{nic("eth0", true, "fe80::2/64", "10.1.2.3/24")}, nil, []string{"eth0 10.1.2.3/24"}},
		{"a closed lab without any address plan", []Interface{nic("eth0", false, "fe80::2/64")}, nil, []string{"eth0 fe80::2/64"}},
		{"self-assigned IPv4", []Interface{nic("eth0", false, "169.254.3.4/16")}, nil, []string{"eth0 169.254.3.4/16"}},
		{"VPN tunnels are no LAN", []Interface{nic("tun0", true, "10.8.0.2/24").with(net.FlagPointToPoint), hyperV}, nil,
			[]string{"vEthernet 172.20.0.1/20"}},
		{"down, unplugged, without multicast, without address", []Interface{
			lan.without(net.FlagUp), lan.without(net.FlagRunning), lan.without(net.FlagMulticast), nic("eth3", true)}, nil, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			var got []string
			for _, i := range choose(c.have, c.cidrs) {
				line := i.Name
				for _, p := range i.Prefixes {
					line += " " + p.String()
				}
				got = append(got, line)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestChooseIsBounded(t *testing.T) {
	if n := len(choose(slices.Repeat([]Interface{nic("veth", false, "172.17.0.1/16")}, 300), nil)); n != maxInterfaces {
		t.Errorf("a host of 300 containers: %d interfaces chosen, want %d", n, maxInterfaces)
	}
}

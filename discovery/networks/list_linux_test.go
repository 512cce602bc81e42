package networks

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRoutes(t *testing.T) {
	const v4 = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0
wlan0	00000000	0101A8C0	0003	0	0	600	00000000	0	0	0
*	00000000	00000000	0200	0	0	0	00000000	0	0	0
eth0	0001A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
eth0	0000000A	0101A8C0	0003	0	0	100	000000FF	0	0	0
tun0	00000000	00000000	0001	0	0	0	00000080	0	0	0
short
`
	got, err := routes4(strings.NewReader(v4))
	if want := "eth0 0.0.0.0/0, wlan0 0.0.0.0/0, eth0 192.168.1.0/24, tun0 0.0.0.0/1"; err != nil || said(got) != want {
		t.Errorf("IPv4: got %v, %v, want %v", said(got), err, want)
	}
	const v6 = `20010db8000100000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
20010db8000100000000000000000005 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000003 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
`
	got, err = routes6(strings.NewReader(v6))
	if want := "eth0 2001:db8:1::/64, eth0 ::/0"; err != nil || said(got) != want {
		t.Errorf("IPv6: got %v, %v, want %v", said(got), err, want)
	}
}

func said(all []route) string {
	var texts []string
	for _, r := range all {
		texts = append(texts, r.card+" "+r.to.String())
	}
	return strings.Join(texts, ", ")
}

func TestLinuxKinds(t *testing.T) {
	l := func(index int, name, kind string) link {
		return link{Interface: net.Interface{Index: index, Name: name, Flags: net.FlagUp}, hardware: unix.ARPHRD_ETHER, kind: kind}
	}
	in := func(l link, master int, port string) link { l.master, l.port = master, port; return l }
	bare := func(l link) link { l.hardware = unix.ARPHRD_NONE; l.Flags |= net.FlagPointToPoint; return l }
	for _, c := range []struct {
		what    string
		card    link
		others  []link
		gateway bool
		want    string
	}{
		{"a cable", l(2, "enp3s0", ""), nil, false, "Wire"},
		{"Wi-Fi", l(2, "wlp2s0", ""), nil, true, "Wire"},
		{"what a container has", l(2, "eth0", "veth"), nil, true, "Wire"},
		{"a VLAN", l(2, "eno1.12", "vlan"), nil, false, "Wire"},
		{"a VLAN that is called like a VPN", l(2, "vpn12", "vlan"), nil, false, "Wire"},
		{"a bond", l(2, "bond0", "bond"), nil, false, "Wire"},
		{"a card of a bond", in(l(2, "eno1", ""), 3, "bond"), []link{l(3, "bond0", "bond")}, false, "Port of bond0"},
		{"a macvlan", l(2, "shim", "macvlan"), nil, false, "Wire"},
		{"Docker's", l(2, "docker0", "bridge"), nil, false, "Inner"},
		{"Docker's, with a container", l(2, "docker0", "bridge"), []link{in(l(5, "veth12", "veth"), 2, "bridge")}, false, "Inner"},
		{"of a network that a user of Docker made", l(2, "br-0123456789ab", "bridge"), nil, false, "Inner"},
		{"libvirt's, with a virtual machine", l(2, "virbr0", "bridge"), []link{in(l(5, "vnet0", "tun"), 2, "bridge")}, false, "Inner"},
		{"VirtualBox's", l(2, "vboxnet0", ""), nil, false, "Inner"},
		{"a dummy", l(2, "dummy0", "dummy"), nil, false, "Inner"},
		{"a hypervisor's bridge with its cable", l(2, "vmbr0", "bridge"), []link{in(l(3, "eno1", ""), 2, "bridge")}, true, "Wire"},
		{"the same in a room without a gateway", l(2, "vmbr0", "bridge"), []link{in(l(3, "eno1", ""), 2, "bridge"), in(l(4, "tap100i0", "tun"), 2, "bridge")}, false, "Wire"},
		{"a bridge over a bond", l(2, "br0", "bridge"), []link{in(l(3, "bond0", "bond"), 2, "bridge")}, false, "Wire"},
		{"a bridge over a VLAN", l(2, "br12", "bridge"), []link{in(l(3, "eno1.12", "vlan"), 2, "bridge")}, false, "Wire"},
		{"a bridge in a container", l(2, "br0", "bridge"), []link{in(l(3, "eth0", "veth"), 2, "bridge")}, true, "Wire"},
		{"a bridge of containers", l(2, "br0", "bridge"), []link{in(l(3, "c1", "veth"), 2, "bridge")}, false, "Blind"},
		{"a bridge with nothing", l(2, "br0", "bridge"), nil, true, "Blind"},
		{"a bridge with nothing that is called like a VPN", l(2, "tun0", "bridge"), nil, true, "Tunnel"},
		{"the cable of a bridge", in(l(3, "eno1", ""), 2, "bridge"), []link{l(2, "br0", "bridge")}, false, "Port of br0"},
		{"a card of a VRF has its own addresses", in(l(3, "eno1", ""), 2, "vrf"), []link{l(2, "blue", "vrf")}, true, "Wire"},
		{"the same where the kernel tells less", in(l(3, "eno1", ""), 2, ""), []link{l(2, "blue", "vrf")}, true, "Wire"},
		{"a card of Open vSwitch", in(l(3, "eno1", ""), 2, ""), []link{l(2, "ovs-system", "openvswitch")}, false, "Port of ovs-system"},
		{"OpenVPN over Ethernet", l(2, "tap0", "tun"), nil, true, "Tunnel"},
		{"OpenVPN", bare(l(2, "vpn", "tun")), nil, true, "Tunnel"},
		{"WireGuard", bare(l(2, "office", "wireguard")), nil, true, "Tunnel"},
		{"a container network's overlay", l(2, "flannel.1", "vxlan"), nil, false, "Inner"},
		{"the loopback", link{Interface: net.Interface{Index: 1, Name: "lo", Flags: net.FlagUp | net.FlagLoopback}, hardware: unix.ARPHRD_LOOPBACK}, nil, false, "Loop"},
	} {
		k, of := c.card.judge(append(c.others, c.card), c.gateway)
		got := [...]string{"Wire", "Loop", "Port", "Inner", "Blind", "Tunnel"}[k]
		if of != "" {
			got += " of " + of
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

func TestSystemCards(t *testing.T) {
	all, err := SystemCards()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Kind == Loop {
			if len(c.Prefixes) == 0 || !c.Prefixes[0].Addr().IsLoopback() || c.Index == 0 || c.Name == "" {
				t.Errorf("the loopback is %+v", c)
			}
			return
		}
	}
	t.Errorf("no loopback among %+v", all)
}

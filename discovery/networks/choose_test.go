package networks

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// nic is a card that is up and can do multicast.
func nic(name string, gateway bool, addrs ...string) Card {
	c := Card{
		Interface: net.Interface{Name: name, Flags: net.FlagUp | net.FlagRunning | net.FlagBroadcast | net.FlagMulticast},
		Gateway:   gateway,
		Prefixes:  prefixes(addrs...),
	}
	return c
}

func (c Card) with(f net.Flags) Card         { c.Flags |= f; return c }
func (c Card) without(f net.Flags) Card      { c.Flags &^= f; return c }
func (c Card) is(k Kind) Card                { c.Kind = k; return c }
func (c Card) port(of string) Card           { c.Kind, c.Of = Port, of; return c }
func (c Card) onLink(nets ...string) Card    { c.OnLink = prefixes(nets...); return c }
func (c Card) spare(addrs ...string) Card    { c.Spare = prefixes(addrs...); return c }
func addrs(texts ...string) (a []netip.Addr) { return addrsOf(texts) }

func addrsOf(texts []string) (all []netip.Addr) {
	for _, t := range texts {
		all = append(all, netip.MustParseAddr(t))
	}
	return all
}

func TestChoose(t *testing.T) {
	site := prefixes("10.1.0.0/16", "fd00:1::/32")
	lan := nic("eth0", true, "10.1.2.3/24")
	lo := nic("lo", false, "127.0.0.1/8", "::1/128").with(net.FlagLoopback).is(Loop)
	docker := nic("docker0", false, "172.17.0.1/16").is(Inner)
	blind := nic("br0", false, "192.168.56.1/24").is(Blind)
	tap := nic("tap0", true, "10.8.0.2/24").is(Tunnel)
	tun := nic("tun0", true, "10.8.0.2/24").with(net.FlagPointToPoint).is(Tunnel)

	for _, c := range []struct {
		what    string
		have    []Card
		fence   []netip.Prefix
		origins []string
		want    []string // name and addresses announced
		left    []string // name and reason
	}{
		{"the LAN is where the cables are, not where virtual machines are", []Card{lo, lan, docker, blind}, nil, nil,
			[]string{"eth0 10.1.2.3/24"}, []string{
				"lo leads to this machine only", "docker0 leads to this machine's own virtual machines or containers only",
				"br0 is a bridge that no cable leads out of"}},
		{"cable and Wi-Fi both", []Card{lan, nic("wlan0", true, "10.9.0.4/24")}, nil, nil, []string{"eth0 10.1.2.3/24", "wlan0 10.9.0.4/24"}, nil},
		{"a closed lab has no gateway, and virtual machines", []Card{lo, nic("eth0", false, "192.168.7.2/24"), docker}, nil, nil,
			[]string{"eth0 192.168.7.2/24"}, nil},
		{"a machine by itself", []Card{lo}, nil, nil, nil, nil},
		{"with virtual machines for company it is by itself too", []Card{lo, lan.without(net.FlagRunning), docker}, nil, nil, nil,
			[]string{"lo leads to this machine only", "eth0 has no cable or no signal",
				"docker0 leads to this machine's own virtual machines or containers only"}},
		{"public addresses", []Card{nic("eth0", true, "141.20.1.5/24")}, nil, nil, []string{"eth0 141.20.1.5/24"}, nil},
		{"global IPv6 only", []Card{nic("eth0", true, "2001:db8:1::5/64", "fe80::5/64")}, nil, nil, []string{"eth0 2001:db8:1::5/64"}, nil},
		{"a carrier's addresses (RFC 6598)", []Card{nic("eth0", true, "100.64.3.4/10")}, nil, nil, []string{"eth0 100.64.3.4/10"}, nil},
		{"a room without a gateway beside the campus", []Card{nic("eth0", true, "141.20.1.5/24"), nic("eth1", false, "192.168.50.5/24")}, nil, nil,
			[]string{"eth0 141.20.1.5/24", "eth1 192.168.50.5/24"}, nil},
		{"of these, where the origin is comes first", []Card{nic("eth0", true, "141.20.1.5/24"), nic("eth1", false, "192.168.50.5/24")}, nil,
			[]string{"192.168.50.1"}, []string{"eth1 192.168.50.5/24", "eth0 141.20.1.5/24"}, nil},
		{"a VPN like an Ethernet holds the default route", []Card{nic("eth0", false, "141.20.1.5/24"), tap}, nil, nil,
			[]string{"eth0 141.20.1.5/24"}, []string{"tap0 is a VPN"}},
		{"a tunnel holds the default route", []Card{nic("eth0", false, "10.77.7.5/24"), tun}, nil, nil,
			[]string{"eth0 10.77.7.5/24"}, []string{"tun0 is a VPN"}},
		{"a container whose only card is like a VPN's", []Card{lo, tap}, nil, nil, []string{"tap0 10.8.0.2/24"}, nil},
		{"a machine on a tunnel only is at least where it is", []Card{lo, tun}, nil, nil, []string{"tun0 10.8.0.2/24"}, nil},
		{"the origin lies behind a bridge that looks blind", []Card{lan, blind}, nil, []string{"192.168.56.9"},
			[]string{"br0 192.168.56.1/24", "eth0 10.1.2.3/24"}, nil},
		{"an origin in a container brings nobody near", []Card{lan, docker}, nil, []string{"172.17.0.5"}, []string{"eth0 10.1.2.3/24"}, nil},
		{"a hypervisor's bridge has the address, its cable none", []Card{nic("eno1", false, "fe80::1/64").port("vmbr0"), nic("vmbr0", true, "10.1.2.3/24")}, nil, nil,
			[]string{"vmbr0 10.1.2.3/24"}, []string{"eno1 is a port of vmbr0, which has the addresses"}},
		{"the fence beats the gateway", []Card{nic("eth0", true, "192.168.0.2/24"), nic("eth1", false, "10.1.9.9/24")}, site, nil,
			[]string{"eth1 10.1.9.9/24"}, []string{"eth0 has no address in the site's networks (site.cidrs, --cidr)"}},
		{"inside the fence only the addresses inside", []Card{nic("eth0", true, "192.168.0.2/24", "10.1.0.2/24", "fd00:1::2/64", "fe80::2/64")}, site, nil,
			[]string{"eth0 10.1.0.2/24 fd00:1::2/64"}, nil},
		{"the fence names a VPN", []Card{lan, tap}, prefixes("10.8.0.0/24"), nil, []string{"tap0 10.8.0.2/24"}, nil},
		{"the fence names the virtual machines", []Card{lan, docker}, prefixes("172.17.0.0/16"), nil, []string{"docker0 172.17.0.1/16"}, nil},
		{"a laptop away from the site is mute", []Card{nic("wlan0", true, "192.168.178.20/24")}, site, nil, nil, nil},
		{"link-local only for want of better", []Card{nic("eth0", true, "fe80::2/64", "169.254.9.9/16", "10.1.2.3/24")}, nil, nil, []string{"eth0 10.1.2.3/24"}, nil},
		{"a closed lab without any address plan", []Card{nic("eth0", false, "fe80::2/64")}, nil, nil, []string{"eth0 fe80::2/64"}, nil},
		{"self-assigned IPv4", []Card{nic("eth0", false, "169.254.3.4/16")}, nil, nil, []string{"eth0 169.254.3.4/16"}, nil},
		{"several addresses on a card", []Card{nic("eth0", true, "141.20.1.5/24", "192.168.1.5/24", "2001:db8:1::5/64")}, nil, nil,
			[]string{"eth0 141.20.1.5/24 192.168.1.5/24 2001:db8:1::5/64"}, nil},
		{"addresses without a subnet", []Card{nic("eth0", true, "10.132.0.7/32")}, nil, nil, []string{"eth0 10.132.0.7/32"}, nil},
		{"down, unplugged, without address", []Card{lan.without(net.FlagUp), lan.without(net.FlagRunning), nic("eth3", true)}, nil, nil,
			nil, []string{"eth0 is switched off", "eth0 has no cable or no signal", "eth3 has no address"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			var got, left []string
			used, out := choose(c.have, c.fence, addrsOf(c.origins))
			for _, i := range used {
				line := i.Name
				for _, p := range i.Prefixes {
					line += " " + p.String()
				}
				got = append(got, line)
			}
			for _, l := range out {
				left = append(left, l.Name+" "+l.Why)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("used are %q, want %q", got, c.want)
			}
			if c.left != nil && !slices.Equal(left, c.left) {
				t.Errorf("left out are %q, want %q", left, c.left)
			}
			if len(used)+len(out) != len(c.have) {
				t.Errorf("of %d cards %d are used and %d left out", len(c.have), len(used), len(out))
			}
		})
	}
}

func TestChooseIsBounded(t *testing.T) {
	many := append(slices.Repeat([]Card{nic("cali0", false, "fe80::1/64")}, 300), nic("eth0", true, "10.1.2.3/24"))
	used, left := choose(many, nil, nil)
	if len(used) != maxCards || used[0].Name != "eth0" || len(left) != len(many)-maxCards {
		t.Errorf("a host of 300 containers: %d cards, the first is %s; %d left out", len(used), used[0].Name, len(left))
	}
}

func TestAdvertise(t *testing.T) {
	docker := nic("docker0", false, "172.17.0.1/16").is(Inner)
	for _, c := range []struct {
		what    string
		have    []Card
		origins []string
		want    []string
	}{
		{"nothing yet", nil, nil, nil},
		{"never a container network's", []Card{docker, nic("eth0", true, "141.20.1.5/24")}, nil, []string{"141.20.1.5"}},
		{"IPv4 before IPv6", []Card{nic("eth0", true, "2001:db8::5/64", "10.1.2.3/24")}, nil, []string{"10.1.2.3", "2001:db8::5"}},
		{"where the origin is first", []Card{nic("eth0", true, "141.20.1.5/24"), nic("eth1", false, "192.168.50.5/24")}, []string{"192.168.50.1"},
			[]string{"192.168.50.5", "141.20.1.5"}},
		{"what works on one link last", []Card{nic("idrac", false, "169.254.0.2/16"), nic("eth0", true, "10.1.2.3/24")}, nil, []string{"10.1.2.3", "169.254.0.2"}},
		{"nobody is told of what is about to go", []Card{nic("eth0", true, "2001:db8::5/64").spare("2001:db8::77/64")}, nil, []string{"2001:db8::5"}},
		{"few", []Card{nic("eth0", true, "10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24", "10.0.0.4/24", "10.0.0.5/24", "10.0.0.6/24", "10.0.0.7/24")}, nil,
			[]string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"}},
	} {
		if got := newView(c.have, nil, addrsOf(c.origins)).Advertise(); !slices.Equal(got, addrsOf(c.want)) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func TestReach(t *testing.T) {
	two := newView([]Card{nic("eth0", true, "141.20.1.5/24"), nic("eth1", false, "192.168.50.5/24")}, nil, nil)
	room := newView([]Card{nic("eth0", false, "192.168.50.6/24"), nic("usb0", false, "169.254.0.2/16")}, nil, nil)
	campus := newView([]Card{nic("eth0", true, "141.20.9.5/16"), nic("usb0", false, "169.254.0.2/16")}, nil, nil)
	vagrant := newView([]Card{nic("eth0", true, "10.0.2.15/24"), nic("eth1", false, "192.168.56.11/24")}, nil, nil)
	bare := newView([]Card{nic("eth7", false, "fe80::7/64")}, nil, nil)
	for _, c := range []struct {
		what string
		from *View
		at   []netip.Addr
		want string
	}{
		{"the first in one of our subnets", two, addrs("10.9.9.9", "192.168.50.7", "141.20.1.7"), "192.168.50.7"},
		{"who is only in the imaged room takes that address", room, addrs("141.20.1.7", "192.168.50.7"), "192.168.50.7"},
		{"routed beats a card to the server's own controller", campus, addrs("10.3.0.7", "169.254.0.5"), "10.3.0.7"},
		{"without a gateway it does not", room, addrs("10.3.0.7", "169.254.0.5"), "169.254.0.5"},
		{"all virtual machines have the first", vagrant, addrs("10.0.2.15", "192.168.56.12"), "192.168.56.12"},
		{"another agent of this machine", vagrant, addrs("10.0.2.15"), "10.0.2.15"},
		{"not what is in no network of ours", two, addrs("8.8.8.8"), ""},
		{"nor nothing", two, addrs("0.0.0.0", "224.0.0.1"), ""},
		{"with a zone", bare, addrs("fe80::9"), "fe80::9%eth7"},
	} {
		got, ok := c.from.Reach(c.at)
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%s: %v, %v, want %q", c.what, got, ok, c.want)
		}
	}
}

func TestAdmits(t *testing.T) {
	here := newView([]Card{nic("eth0", true, "141.20.1.5/24"), nic("tun0", true, "100.99.1.1/1").is(Tunnel),
		nic("eth1", true, "2001:db8:1::5/128").onLink("2001:db8:1::/64")}, nil, nil)
	for _, s := range []string{"10.1.2.3", "192.168.9.9", "172.20.0.1", "169.254.1.1", "fe80::1", "fe80::1%eth0", "fd00::1", "127.0.0.1", "100.64.1.1",
		"141.20.1.9", "::ffff:141.20.1.9", "2001:db8:1::9"} {
		if !here.Admits(netip.MustParseAddr(s)) {
			t.Errorf("%s is not a neighbour", s)
		}
	}
	for _, s := range []string{"8.8.8.8", "172.32.0.1", "2001:4860::1", "141.20.2.9"} {
		if here.Admits(netip.MustParseAddr(s)) {
			t.Errorf("%s is a neighbour", s)
		}
	}
	fenced := newView([]Card{nic("eth0", true, "141.20.1.5/24")}, prefixes("10.1.0.0/16"), nil)
	for s, want := range map[string]bool{"10.1.2.3": true, "10.2.0.1": false, "141.20.1.9": false, "127.0.0.1": false} {
		if fenced.Admits(netip.MustParseAddr(s)) != want {
			t.Errorf("inside the fence, %s: %v", s, !want)
		}
	}
}

func TestIsNear(t *testing.T) {
	for _, c := range []struct {
		card Card
		addr string
		want bool
	}{
		{nic("eth0", true, "10.1.2.3/24"), "10.1.2.9", true},
		{nic("eth0", true, "10.1.2.3/24"), "10.1.3.9", false},
		{nic("eth0", true, "10.1.2.3/32"), "10.1.3.9", true},
		{nic("eth0", true, "10.1.2.3/32"), "8.8.8.8", false},
		{nic("eth0", true, "10.1.2.3/32").onLink("10.1.2.0/24"), "10.1.3.9", false},
		{nic("eth0", true, "2001:db8::3/128").onLink("2001:db8::/64"), "2001:db8::9", true},
	} {
		if got := c.card.IsNear(netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%v, %v: %s is near: %v", c.card.Prefixes, c.card.OnLink, c.addr, got)
		}
	}
}

func TestTake(t *testing.T) {
	in := func(s string, card int) address { return address{Prefix: netip.MustParsePrefix(s), card: card} }
	old, brief := in("2001:db8::1/64", 2), in("2001:db8::2/64", 2)
	old.deprecated, brief.temporary = true, true
	for _, c := range []struct {
		what        string
		have        []address
		told, spare string
	}{
		{"others' are not its own", []address{in("10.0.0.1/8", 1), in("10.0.0.2/8", 2)}, "[10.0.0.2/8]", "[]"},
		{"the lasting one is told", []address{old, brief, in("2001:db8::3/64", 2)}, "[2001:db8::3/64]", "[2001:db8::1/64 2001:db8::2/64]"},
		{"the temporary one if there is no other", []address{old, brief}, "[2001:db8::2/64]", "[2001:db8::1/64]"},
		{"the old one if there is no other", []address{old, in("fe80::3/64", 2)}, "[2001:db8::1/64 fe80::3/64]", "[]"},
	} {
		card := Card{Interface: net.Interface{Index: 2}}
		card.take(c.have)
		if got, spare := strings.Join(texts(card.Prefixes), " "), strings.Join(texts(card.Spare), " "); "["+got+"]" != c.told || "["+spare+"]" != c.spare {
			t.Errorf("%s: told [%s], spare [%s]", c.what, got, spare)
		}
	}
}

func texts(all []netip.Prefix) (out []string) {
	for _, p := range all {
		out = append(out, p.String())
	}
	return out
}

func TestWindowsKind(t *testing.T) {
	for _, c := range []struct {
		ifType      uint32
		description string
		gateway     bool
		want        Kind
	}{
		{6, "Intel(R) Ethernet Connection I219-LM", true, Wire},
		{71, "Intel(R) Wi-Fi 6 AX201 160MHz", true, Wire},
		{6, "Microsoft Hyper-V Network Adapter", false, Wire},
		{6, "Hyper-V Virtual Ethernet Adapter #2", true, Wire},
		{6, "Hyper-V Virtual Ethernet Adapter", false, Blind},
		{6, "VirtualBox Host-Only Ethernet Adapter", false, Inner},
		{6, "VMware Virtual Ethernet Adapter for VMnet8", false, Inner},
		{6, "Microsoft KM-TEST Loopback Adapter", false, Inner},
		{6, "TAP-Windows Adapter V9", true, Tunnel},
		{53, "WireGuard Tunnel", true, Tunnel},
		{6, "PANGP Virtual Ethernet Adapter", true, Tunnel},
		{6, "Cisco AnyConnect Secure Mobility Client Virtual Miniport Adapter for Windows x64", true, Tunnel},
		{23, "WAN Miniport (PPTP)", true, Tunnel},
		{24, "Software Loopback Interface 1", false, Loop},
	} {
		if got := windowsKind(c.ifType, c.description, c.gateway); got != c.want {
			t.Errorf("%s: %v, want %v", c.description, got, c.want)
		}
	}
}

// A view says what somebody who stands alone wants to know.
func TestViewIsReadable(t *testing.T) {
	v := newView([]Card{nic("lo", false, "127.0.0.1/8").is(Loop), nic("eth0", false, "10.7.7.5/24"), nic("tun0", true, "10.8.0.2/24").is(Tunnel)}, nil, nil)
	if got, want := v.String(), "on eth0 (10.7.7.5); not used: tun0 is a VPN"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := newView(nil, nil, nil).String(); got != "no network card is in use" {
		t.Errorf("got %q", got)
	}
}

func TestChanges(t *testing.T) {
	cards := []Card{nic("eth0", true, "10.1.2.3/24")}
	n := New(Options{List: func() ([]Card, error) { return cards, nil }})
	changes, stop := n.Changes()
	defer stop()
	if n.Now(); len(changes) != 1 {
		t.Fatal("the first look is no change")
	}
	<-changes
	if n.Look() || len(changes) != 0 {
		t.Error("nothing changed, and yet it did")
	}
	cards = []Card{nic("eth0", true, "10.1.2.77/24")}
	if !n.Look() || len(changes) != 1 || !n.Now().IsMine(netip.MustParseAddr("10.1.2.77")) || n.Now().IsMine(netip.MustParseAddr("10.1.2.3")) {
		t.Errorf("after another address: %v", n.Now())
	}
}

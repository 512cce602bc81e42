package discovery

import (
	"net/netip"
	"testing"
)

func TestPlausible(t *testing.T) {
	eth0 := nic("eth0", true, "192.168.1.2/24", "fd00::2/64", "fe80::2/64")
	fence := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	everything := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for _, c := range []struct {
		what  string
		addr  string
		cidrs []netip.Prefix
		want  string // empty: refused
	}{
		{"a neighbour", "192.168.1.9:4747", nil, "192.168.1.9:4747"},
		{"a neighbour by IPv6", "[fd00::9]:4747", nil, "[fd00::9]:4747"},
		{"link-local gets the zone of where it was heard", "[fe80::9]:4747", nil, "[fe80::9%eth0]:4747"},
		{"IPv4 dressed up as IPv6 is judged as IPv4", "[::ffff:192.168.1.9]:4747", nil, "192.168.1.9:4747"},
		{"and so is a stranger dressed up", "[::ffff:8.8.8.8]:4747", nil, ""},
		{"somebody else's server", "8.8.8.8:53", nil, ""},
		{"another subnet", "192.168.2.9:4747", nil, ""},
		{"another subnet inside the fence", "10.9.8.7:4747", fence, "10.9.8.7:4747"},
		{"the own subnet outside the fence", "192.168.1.9:4747", fence, ""},
		{"port 0", "192.168.1.9:0", nil, ""},
		{"loopback", "127.0.0.1:4747", everything, ""},
		{"loopback by IPv6", "[::1]:4747", everything, ""},
		{"nowhere", "0.0.0.0:4747", everything, ""},
		{"everybody", "255.255.255.255:4747", everything, ""},
		{"a group", "224.0.0.251:4747", everything, ""},
		{"a group by IPv6", "[ff02::fb]:4747", everything, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			got, ok := plausible(netip.MustParseAddrPort(c.addr), &eth0, c.cidrs)
			if ok != (c.want != "") || ok && got.String() != c.want {
				t.Errorf("%s: got %v, %v, want %q", c.addr, got, ok, c.want)
			}
		})
	}
}

// One machine answers for a whole subnet to crowd out the others, then many machines do.
func TestTableIsBounded(t *testing.T) {
	addr := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 4747)
	}
	sender := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }

	one := newTable()
	n := 0
	for i := range 10_000 {
		if one.admit(sender(0), addr(i)) {
			n++
		}
	}
	if n != maxPerSource {
		t.Errorf("one sender brought in %d addresses, want %d", n, maxPerSource)
	}
	if !one.admit(sender(1), addr(10_001)) {
		t.Error("a liar crowded out an honest machine")
	}

	many := newTable()
	n = 0
	for i := range 10_000 {
		if many.admit(sender(i), addr(i)) {
			n++
		}
	}
	if n != maxFound || len(many.found) != maxFound {
		t.Errorf("10,000 senders brought in %d addresses, want %d", n, maxFound)
	}
	if !many.admit(netip.Addr{}, netip.MustParseAddrPort("192.0.2.1:4747")) {
		t.Error("a full table kept out the admin's seed")
	}

	subnet := newTable()
	n = 0
	for port := range 2000 {
		if subnet.admit(sender(port), netip.AddrPortFrom(addr(1).Addr(), uint16(port+1))) {
			n++
		}
	}
	if n != maxPerSubnet {
		t.Errorf("one /24 has %d addresses, want %d", n, maxPerSubnet)
	}
}

func TestTableNamesAnAddressOnce(t *testing.T) {
	seen, a, from := newTable(), netip.MustParseAddrPort("10.0.0.1:4747"), netip.MustParseAddr("10.0.0.1")
	if !seen.admit(from, a) || seen.admit(from, a) {
		t.Error("want the first admitted and no repetition")
	}
	if !seen.admit(netip.Addr{}, a) || seen.admit(netip.Addr{}, a) || seen.admit(from, a) {
		t.Error("want what an admin named told as such, once")
	}
}

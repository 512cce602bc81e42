package swarm

import (
	"net/netip"
	"testing"
)

func TestZoneInsideAnAddress(t *testing.T) {
	for _, text := range []string{"10.0.0.1", "fd00::1", "fe80::1", "fe80::1%lo", "fe80::dead:beef%4711"} {
		a := netip.MustParseAddr(text)
		p := packed(a)
		if p.Zone() != "" {
			t.Errorf("%s is packed as %s", text, p)
		}
		if got := unpacked(p); got != a {
			t.Errorf("%s came back as %s", text, got)
		}
	}
	one, two := netip.MustParseAddr("fe80::1%4711"), netip.MustParseAddr("fe80::1%4712")
	if packed(one) == packed(two) {
		t.Error("the same address on two cards is one neighbour")
	}
	if gone := netip.MustParseAddr("fe80::1%nosuch"); packed(gone) != gone {
		t.Error("a card that is gone has an index")
	}
}

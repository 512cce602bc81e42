package swarm

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// some are n addresses, the first with number from.
func some(from, n int) (all []netip.AddrPort) {
	for i := range n {
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], 10<<24+uint32(from+i))
		all = append(all, netip.AddrPortFrom(netip.AddrFrom4(ip), 4747))
	}
	return all
}

// Dozens of machines were switched off a moment ago and are still on the list: the seed that the admin named is dialled in the
// first round all the same, and every living machine before a dead one is dialled again.
func TestTheDeadHoldUpNobody(t *testing.T) {
	for range 100 {
		var d dials
		const rounds, perRound = 9, neighbours - 1 // one place is the seed's
		named, dead, alive := some(0, 1), some(100, rounds*perRound-3), some(1000, 3)
		others := append(append([]netip.AddrPort{}, dead...), alive...)
		dialled := map[netip.AddrPort]int{}
		for round := range rounds {
			got := d.next(time.Time{}, named, others, nil, neighbours)
			if len(got) != neighbours {
				t.Fatalf("round %d: %d are dialled, want %d", round, len(got), neighbours)
			}
			for _, a := range got {
				dialled[a]++
			}
			if dialled[named[0]] != round+1 {
				t.Fatalf("round %d: the seed was dialled %d times", round, dialled[named[0]])
			}
		}
		for _, a := range others {
			if dialled[a] != 1 {
				t.Fatalf("%v was dialled %d times in as many rounds as it takes to dial all once", a, dialled[a])
			}
		}
	}
}

func TestWhomToDial(t *testing.T) {
	for _, c := range []struct {
		what             string
		named, others, n int
		want             int // of those named
		wantAll          int
	}{
		{"none known", 0, 0, 8, 0, 0},
		{"enough are here", 3, 9, 0, 0, 0},
		{"more than enough are here", 3, 9, -1, 0, 0},
		{"one place: for a seed", 3, 9, 1, 1, 1},
		{"seeds that are all off leave half the places", 20, 20, 8, 4, 8},
		{"few seeds", 2, 20, 8, 2, 8},
		{"seeds only", 20, 0, 8, 8, 8},
		{"few others", 20, 1, 8, 7, 8},
		{"no seeds", 0, 20, 8, 0, 8},
	} {
		var d dials
		named, others := some(0, c.named), some(100, c.others)
		got := d.next(time.Time{}, named, others, nil, c.n)
		n := 0
		for _, a := range got {
			if a.Addr().Less(some(100, 1)[0].Addr()) {
				n++
			}
		}
		if n != c.want || len(got) != c.wantAll {
			t.Errorf("%s: %d of %d are seeds, want %d of %d", c.what, n, len(got), c.want, c.wantAll)
		}
	}
	var d dials
	here := map[netip.AddrPort]bool{some(0, 1)[0]: true, some(100, 1)[0]: true}
	if got := d.next(time.Time{}, some(0, 1), some(100, 1), here, 8); len(got) != 0 {
		t.Errorf("dialled though they are here: %v", got)
	}
}

func TestHowManyToDial(t *testing.T) {
	all := some(0, 20)
	here := map[netip.AddrPort]bool{}
	var d dials
	now := time.Unix(1e9, 0)
	dial := func() (n int) {
		n = d.number(now, 8, here)
		d.next(now, nil, all, here, n)
		return n
	}
	if n := dial(); n != 4 {
		t.Errorf("%d are dialled at first, want half: the others dial too", n)
	}
	now = now.Add(pendingFor / 2)
	if n := d.number(now, 8, here); n != 4 {
		t.Errorf("%d more while nobody is here and four are being dialled, want 4", n)
	}
	for _, a := range d.latest {
		here[a] = true
	}
	if n := d.number(now, 8, here); n != 2 {
		t.Errorf("%d more when four are here, want 2", n)
	}
	clear(here)
	now = now.Add(pendingFor)
	if n := dial(); n != 8 {
		t.Errorf("%d when those who were dialled don't answer, want all 8", n)
	}
	for _, a := range some(100, 9) {
		here[a] = true
	}
	now = now.Add(pendingFor)
	if n := d.number(now, 8, here); n > 0 {
		t.Errorf("%d when enough are here", n)
	}
}

package plan

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func TestMakeRoom(t *testing.T) {
	at := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n}) }
	taker := func(n byte, sent float64) Connected {
		return Connected{Host: at(n), Age: time.Minute, Give: true, Sent: sent}
	}
	fresh := func(n byte) Connected { return Connected{Host: at(n), Age: time.Second, Give: true} }
	still := func(n byte) Connected { return Connected{Host: at(n), Age: time.Minute, Give: true} }
	seed := func(n byte) Connected { return Connected{Host: at(n), Age: time.Minute} }
	giver := func(n byte, gives float64) Connected {
		return Connected{Host: at(n), Age: time.Minute, Get: true, Gives: gives}
	}
	const stays = -1
	for name, c := range map[string]struct {
		newcomer netip.Addr
		all      []Connected
		goes     int
	}{
		"who comes again replaces itself":            {at(2), []Connected{still(1), taker(2, 5), taker(3, 1)}, 1},
		"and its worst connection":                   {at(2), []Connected{still(1), taker(2, 5), fresh(2)}, 2},
		"a host with several makes room for others":  {at(9), []Connected{taker(1, 1), taker(2, 9), fresh(2), still(3)}, 2},
		"nothing to share":                           {at(9), []Connected{taker(1, 1), seed(2), still(3)}, 1},
		"nothing was sent to it for a while":         {at(9), []Connected{taker(1, 1), giver(2, 0), still(3)}, 2},
		"whoever has just come may take something":   {at(9), []Connected{taker(1, 1), fresh(2), taker(3, 2)}, stays},
		"least was sent to it":                       {at(9), []Connected{taker(1, 3), giver(2, 0), taker(3, 2)}, 2},
		"it gave least":                              {at(9), []Connected{giver(1, 3), giver(2, 1), giver(3, 2)}, 1},
		"agents of this machine are not one machine": {netip.Addr{}, []Connected{{Give: true, Sent: 2}, {Give: true, Sent: 1}, {Give: true, Sent: 3}}, 1},
	} {
		got, ok := MakeRoom(c.newcomer, c.all, rand.IntN)
		if !ok {
			got = stays
		}
		if got != c.goes {
			t.Errorf("%s: %d goes, want %d", name, got, c.goes)
		}
	}
}

// Many come again and again, from one address and from many, to a seed with one honest neighbour: that one stays.
func TestChurnTakesNoPlaceFromWhoTakes(t *testing.T) {
	const places = 8
	r := rand.New(rand.NewPCG(1, 1))
	for _, hosts := range []int{1, 3, 8, 40} {
		honest := netip.AddrFrom4([4]byte{192, 0, 2, 250})
		begin := []time.Duration{0}
		all := []Connected{{Host: honest, Give: true, Sent: 1}}
		for at := time.Duration(0); at < time.Minute; at += 10 * time.Millisecond {
			for i := range all {
				all[i].Age = at - begin[i]
			}
			newcomer := netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(hosts))})
			if len(all) == places {
				goes, ok := MakeRoom(newcomer, all, r.IntN)
				if !ok {
					continue
				}
				all, begin = append(all[:goes], all[goes+1:]...), append(begin[:goes], begin[goes+1:]...)
			}
			all, begin = append(all, Connected{Host: newcomer, Give: true}), append(begin, at)
			if all[0].Host != honest {
				t.Fatalf("%d hosts: it had to go after %v", hosts, at)
			}
		}
	}
}

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// Whatever happens in a room, the plan's promises hold and the last machine comes close to the bound.
func TestRooms(t *testing.T) {
	tests := []struct {
		scenario string
		sizes    []int
		within   float64 // of T*
	}{
		{"together", []int{1, 2, 8, 30}, 1.06},
		{"slow-origin", []int{8}, 1.02},
		{"fast-origin", []int{8, 30}, 1.06},
		{"arrivals", []int{2, 8, 30}, 1.09},
		{"trickle", []int{8, 30}, 1.15},
		{"wifi-seed", []int{1, 8, 30}, 1.13},
		{"crash", []int{8, 30}, 1.19},
		{"stale", []int{8, 30, 300}, 1.12},
		{"two-sites", []int{16}, 1.10},
		{"heal", []int{8}, 1.25},
		{"heal", []int{30}, 1.30},
		{"loss", []int{8}, 1.25},
		{"mute", []int{8}, 1.50},
		{"deaf", []int{8}, 1.90},
		{"denying", []int{8}, 4.5},
	}
	for _, tt := range tests {
		for _, n := range tt.sizes {
			t.Run(fmt.Sprint(tt.scenario, n), func(t *testing.T) {
				t.Parallel()
				at := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == tt.scenario })
				p := defaults()
				p.machines = n
				r := scenarios[at].play(p)
				if r.err != nil {
					t.Error(r.err)
				}
				if r.last > tt.within {
					t.Errorf("T_last/T* %.3f, want %.3f at most", r.last, tt.within)
				}
			})
		}
	}
}

// One seed is one run: what is seen once can be looked at again.
func TestSameSeedSameRun(t *testing.T) {
	p := defaults()
	p.machines = 8
	for _, s := range scenarios {
		if s.name != "crash" && s.name != "stale" && s.name != "wifi" && s.name != "heal" {
			continue
		}
		a, b := s.play(p), s.play(p)
		if fmt.Sprint(a.err) != fmt.Sprint(b.err) {
			t.Errorf("%s: %v, then %v", s.name, a.err, b.err)
		}
		if a.err, b.err = nil, nil; a != b {
			t.Errorf("%s: %+v, then %+v", s.name, a, b)
		}
	}
}

// Max-min fair: no link carries more than it can, and every flow crosses a full link on which nobody has more than it.
func TestSharesAreFair(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		const links = 12
		n := newNetwork(links)
		for l := range links {
			n.setRoom(link(l), float64(random.IntN(100)))
		}
		m := &machine{}
		for range 1 + random.IntN(60) {
			f := &flow{over: [3]link{link(random.IntN(links)), none, none}, to: m}
			if o := link(random.IntN(links)); o != f.over[0] {
				f.over[1] = o
			}
			n.add(f)
		}
		n.share()
		sum, most := make([]float64, links), make([]float64, links)
		for _, f := range n.flows {
			for _, l := range f.over {
				if l != none {
					sum[l] += f.rate
					most[l] = max(most[l], f.rate)
				}
			}
		}
		for l := range links {
			if sum[l] > n.room[l]+1e-6 {
				t.Fatalf("link %d carries %.3f of %.3f", l, sum[l], n.room[l])
			}
		}
		for _, f := range n.flows {
			if !slices.ContainsFunc(f.over[:], func(l link) bool {
				return l != none && sum[l] > n.room[l]-1e-6 && f.rate > most[l]-1e-6
			}) {
				t.Fatalf("flow over %v could have more than %.3f", f.over, f.rate)
			}
		}
	}
}

// A breach that nobody notices makes the simulator worthless: here is one, with its moment and its machines.
func TestBreachIsNoticed(t *testing.T) {
	p := defaults()
	p.machines = 8
	w := newWorld(p)
	w.after(moment(5e9), func() {
		for _, m := range w.machines {
			for _, s := range m.streams {
				if !s.open {
					s.granted = w.now
					w.watch.opened(s)
				}
			}
		}
	})
	var b *breach
	if err := w.run(); !errors.As(err, &b) || b.promise != 1 || b.at != 5e9 || len(b.machines) < p.k {
		t.Errorf("got %v", err)
	}
}

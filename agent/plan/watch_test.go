package plan

import (
	"testing"
	"time"
)

// A stall is judged by rate: a machine that was fast and gets a trickle is slow from then on, and no longer once it flows.
func TestWatchKnowsAStall(t *testing.T) {
	var w Watch
	var v View
	now := noon
	look := func(seconds float64, fromOrigin, fromPeers int64) {
		for end := now.Add(time.Duration(seconds * float64(time.Second))); now.Before(end); {
			now = now.Add(100 * time.Millisecond)
			w.Look(now, &v, fromOrigin/10, fromPeers/10, fromOrigin > 0)
		}
	}
	look(5, 1_000_000, 1_000_000)
	if v.Slow != 0 || v.Halved != 0 || v.Age < 4*time.Second || v.Link < 1_900_000 || v.Link > 2_200_000 {
		t.Fatalf("while it flows: %+v", v)
	}
	look(14, 0, 20_000)
	if v.Slow < 10*time.Second || v.Halved < v.Slow {
		t.Errorf("after 14 s of a trickle: slow for %v, halved for %v", v.Slow, v.Halved)
	}
	look(4, 0, 2_000_000)
	if v.Slow != 0 || v.Halved != 0 {
		t.Errorf("it flows again: slow for %v, halved for %v", v.Slow, v.Halved)
	}
}

// The origin's trial counts only while a seed is there to be compared with, and a seed's own only in its first seconds.
func TestWatchTriesSeedsAndOrigin(t *testing.T) {
	var w Watch
	now := noon
	look := func(v View, n int, fromPeers int64, reading bool) View {
		for range n {
			now = now.Add(100 * time.Millisecond)
			w.Look(now, &v, 0, fromPeers, reading)
		}
		return v
	}
	if v := look(View{}, 20, 50_000, true); v.OriginUse != 0 || v.SeedsHere != 0 || v.Trial != 0 {
		t.Errorf("without a seed: %+v", v)
	}
	seeded := View{Neighbours: []Neighbour{{Complete: true}}}
	if v := look(seeded, 20, 50_000, false); v.Trial < 400_000 || v.OriginUse != 0 || v.SeedsHere < time.Second {
		t.Errorf("with a seed, the origin left alone: %+v", v)
	}
	if v := look(seeded, 20, 5_000_000, true); v.Trial > 600_000 || v.OriginUse < 1900*time.Millisecond {
		t.Errorf("later, beside the origin: %+v", v)
	}
	mute := View{Neighbours: []Neighbour{{Complete: true, Mute: true}}}
	if v := look(mute, 1, 0, false); v.SeedsHere != 0 || v.Trial != 0 {
		t.Errorf("the seed fell silent: %+v", v)
	}
}

// In a single second a seed may serve others only: what it gives is what it gave over some. It is not forgotten when the
// origin fills the link later, but with the seed.
func TestWatchRemembersWhatSeedsGave(t *testing.T) {
	var w Watch
	var v View
	now := noon
	look := func(seconds int, rate float64) {
		for range 10 * seconds {
			now = now.Add(100 * time.Millisecond)
			v.Neighbours = []Neighbour{{Complete: true, Rate: rate}, {Complete: true, Mute: true, Rate: 1e9}}
			w.Look(now, &v, 0, 0, false)
		}
	}
	if look(3, 0); v.SeedRate != 0 {
		t.Errorf("before a seed gave anything: %v", v.SeedRate)
	}
	for range 5 {
		look(1, 300)
		look(1, 0)
	}
	if v.SeedRate < 120 || v.SeedRate > 310 {
		t.Errorf("300 every other second: %v", v.SeedRate)
	}
	kept := v.SeedRate
	if look(20, 1); v.SeedRate != kept {
		t.Errorf("later, with the link full of other things: %v, want %v", v.SeedRate, kept)
	}
	v.Neighbours = nil
	if w.Look(now, &v, 0, 0, false); v.SeedRate != 0 {
		t.Errorf("without a seed: %v", v.SeedRate)
	}
}

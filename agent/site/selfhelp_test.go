package site

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"handout/agent/plan"
)

// crowdHelps plays machines that are all stalled and ask in vain, beside so many that only say that they starve. It returns
// when each first helped itself, how many did at a time at most, and on average from the second minute on.
func crowdHelps(n, liars, connections int) (first []time.Duration, most int, average float64) {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	all := make([]selfHelp, n)
	first = make([]time.Duration, n)
	for i := range all {
		all[i].random = r.Float64
		first[i] = -1
	}
	const step, until = 500 * time.Millisecond, 10 * time.Minute
	begin := time.Now()
	looks, sum := 0, 0
	for at := time.Duration(0); at < until; at += step {
		now, helping := begin.Add(at), 0
		for i := range all {
			h := &all[i]
			if at%time.Second == 0 {
				for k := range n + liars {
					if k != i {
						h.hears(now, host{is: plan.MemberID(rune(k))})
					}
				}
			}
			h.rest(now, connections)
			h.asks(now, pkg, true, false, connections)
			if h.on(now) {
				helping++
				if first[i] < 0 {
					first[i] = at
				}
			}
		}
		most = max(most, helping)
		if at >= time.Minute {
			looks++
			sum += helping
		}
	}
	return first, most, float64(sum) / float64(looks)
}

// However many claim to starve too, a machine that is stalled helps itself within half a minute. Many that are stalled
// do not come at once, and less and less often while it brings them nothing.
func TestStalledMachineHelpsItself(t *testing.T) {
	for _, c := range []struct {
		machines, liars int
		within          time.Duration
		most            int
		average         float64
	}{
		{1, 0, helpAfter + time.Second, 1, 1},
		{3, 0, helpAfter + 2*time.Second, 3, 1},
		{3, maxMembers - 3, helpAfter + helpSpread + time.Second, 3, 1},
		{60, 0, helpAfter + helpSpread + time.Second, 20, 2},
	} {
		first, most, average := crowdHelps(c.machines, c.liars, 4)
		for i, at := range first {
			if at < helpAfter || at > c.within {
				t.Errorf("%d machines and %d liars: machine %d helps itself after %v, want %v at most", c.machines, c.liars, i, at, c.within)
			}
		}
		if most > c.most || average > c.average {
			t.Errorf("%d machines and %d liars: %d help themselves at a time, %.1f on average, want %d and %.0f at most", c.machines, c.liars, most, average, c.most, c.average)
		}
		t.Logf("%d machines and %d liars: %d at a time at most, %.2f on average", c.machines, c.liars, most, average)
	}
}

// With stewards that can't be had machines help themselves so often that the site keeps to its number on average.
func TestLotsKeepToTheNumber(t *testing.T) {
	const n, k = 60, 4
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]selfHelp, n)
	sum, looks, begin := 0, 0, time.Now()
	for i := range all {
		all[i].random = r.Float64
	}
	for at := time.Duration(0); at < 10*time.Minute; at += 500 * time.Millisecond {
		lucky := 0
		for i := range all {
			if all[i].may(begin.Add(at), k) {
				lucky++
			}
			for o := range all {
				if o != i {
					all[o].hears(begin.Add(at), host{is: plan.MemberID(rune(i))})
				}
			}
		}
		if at < listenFirst && lucky > 0 {
			t.Errorf("%d drew lots before they had heard of each other", lucky)
		}
		looks++
		sum += lucky
	}
	if average := float64(sum) / float64(looks); average < k-0.5 || average > k+0.5 {
		t.Errorf("%.2f helped themselves on average, want %d", average, k)
	}
}

// ghost makes a member of a name at an address, as if the membership had told of it.
func (s *Site) ghost(name string, at netip.Addr) plan.MemberID {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := plan.MemberID(name)
	s.members[id] = &member{Member: Member{ID: id, Port: netip.AddrPortFrom(at, 4748)}}
	s.alive[id] = true
	return id
}

// A host that is a thousand members is one machine: its roll loses to that of three, and one of its stewards that does not
// serve is enough to pass it over.
func TestHostOfManyNames(t *testing.T) {
	s := newSite(t, Options{})
	ghosts := roll{Founder: "0", Version: 1 << 40}
	for i := range 1000 {
		ghosts.Order = append(ghosts.Order, s.ghost("ghost"+string(rune(i+0x4e00)), netip.MustParseAddr("192.0.2.66")))
	}
	honest := roll{Founder: "1", Version: 3, Order: []plan.MemberID{s.id}}
	for i := range 2 {
		honest.Order = append(honest.Order, s.ghost("honest"+string(rune('a'+i)), netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if honest.better(ghosts, s.hostsOn) || !ghosts.better(honest, s.hostsOn) {
		t.Errorf("a roll of %d machines is worth less than one of %d", s.hostsOn(honest), s.hostsOn(ghosts))
	}
	forged := ghosts
	forged.Founder = honest.Founder
	if honest.better(forged, s.hostsOn) {
		t.Error("a newer roll of the same founder is followed though it leaves out whoever is here")
	}
	forged.Order = append(forged.Order, honest.Order...) // then it is as good as any, and its first ones are found deaf
	if !honest.better(forged, s.hostsOn) {
		t.Error("a newer roll that has all on it is not followed")
	}
	s.roll, s.steward = forged, forged.Order[0]
	s.passed[s.steward] = passing{time.Now().Add(passOverFor), isDeaf}
	if who, _ := s.who(); who != honest.Order[0] {
		t.Errorf("%q is steward after one of its host was deaf", who)
	}
	if s.refuse() != 1 {
		t.Errorf("%d machines refuse", s.refuse())
	}
	s.roll, s.steward = honest, s.id
	delete(s.passed, ghosts.Order[0])
}

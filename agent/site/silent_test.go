package site

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"handout/agent/plan"
)

// losePower ends a machine without a word of farewell: its sockets are closed.
func (s *Site) losePower() {
	s.mu.Lock()
	s.closed = true
	close(s.done)
	s.mu.Unlock()
	s.list.Shutdown()
}

// cutOff ends a machine that nothing is heard from any more, not even that its ports are closed.
func (s *Site) cutOff(t *testing.T) {
	t.Helper()
	port := s.Port()
	s.losePower()
	at := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
}

// With the steward die those who would follow it, and all who hold leases. Nobody has to find them deaf one after the
// other, and nobody helps itself: reading resumes within a term and a second, and as many read as may. Where the machines of
// the dead refuse connections their leases have ended, and that is not waited for either.
func TestStewardDiesWithItsHeirs(t *testing.T) {
	t.Run("processes end", func(t *testing.T) {
		stewardDiesWithItsHeirs(t, func(s *Site) { s.losePower() }, plan.LeaseTerm)
	})
	t.Run("power is cut", func(t *testing.T) {
		stewardDiesWithItsHeirs(t, func(s *Site) { s.cutOff(t) }, plan.LeaseTerm+2*time.Second) // a second more, as the machine may be busy
	})
}

func stewardDiesWithItsHeirs(t *testing.T, kill func(*Site), within time.Duration) {
	const k, dead = 2, 4
	all := room(t, 8, Options{Connections: k})
	boss := stewardOf(all)
	boss.mu.Lock()
	order := slices.Clone(boss.roll.Order)
	boss.mu.Unlock()
	slices.SortFunc(all, func(a, b *Site) int { return slices.Index(order, a.id) - slices.Index(order, b.id) })
	for _, s := range all[1 : 1+k] {
		if _, err := s.Lease(t.Context(), pkg, 0, nil, askAll(100), nil); err != nil {
			t.Fatal(err)
		}
	}
	rest := all[dead:]
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	var g sync.WaitGroup
	var open atomic.Int64
	read := make(chan int64, 1000) // how many read, whenever one began
	for _, s := range rest {
		g.Go(func() {
			for {
				l, err := s.Lease(ctx, pkg, 0, nil, askAll(100), nil)
				if err != nil {
					return
				}
				select {
				case read <- open.Add(1):
				default:
				}
				time.Sleep(50 * time.Millisecond)
				open.Add(-1)
				s.Release(l, 0)
			}
		})
	}
	defer g.Wait()
	defer cancel()
	time.Sleep(300 * time.Millisecond) // they wait for a lease
	for len(read) > 0 {
		t.Fatalf("%d read beside the holders of %d leases", <-read, k)
	}
	for _, s := range all[:dead] {
		kill(s)
	}
	died := time.Now()
	var first, both time.Duration
	for both == 0 {
		select {
		case n := <-read:
			if first == 0 {
				first = time.Since(died)
			}
			if n == k {
				both = time.Since(died)
			}
			if n > k {
				t.Fatalf("%d read", n)
			}
		case <-time.After(50 * time.Millisecond):
			for _, s := range rest {
				s.mu.Lock()
				if s.resort {
					t.Errorf("%s helps itself; it passes over %v", s.id, s.passed)
				}
				s.mu.Unlock()
			}
			if ctx.Err() != nil || t.Failed() {
				t.Fatal("nobody reads")
			}
		}
	}
	t.Logf("the first reads %v after they died, %d after %v", first, k, both)
	if both > within {
		t.Errorf("%d read %v after they died, want %v", k, both, within)
	}
}

// That a member is gone is believed only if its machine refuses connections and nobody answers the membership.
func TestSigns(t *testing.T) {
	t.Parallel()
	all := room(t, 4, Options{})
	me := all[0]
	var others []*member
	me.mu.Lock()
	for _, s := range all[1:] {
		others = append(others, me.members[s.id])
	}
	me.mu.Unlock()
	all[2].losePower()
	all[3].cutOff(t)
	for k, want := range []sign{ofLife, ofDeath, none} {
		m := others[k]
		if got := me.signOf(m); got != want {
			t.Errorf("member %d: %v, want %v", k, got, want)
		}
		if want == ofLife {
			behindFirewall := *m
			behindFirewall.Port = others[1].Port // nobody listens there
			if got := me.signOf(&behindFirewall); got != ofLife {
				t.Errorf("one whose firewall refuses connections: %v", got)
			}
		}
	}
}

// Who hung up on the swarm may be gone: the others follow the next before they have asked it anything.
func TestStewardThatHungUpIsDoubted(t *testing.T) {
	t.Parallel()
	all := room(t, 3, Options{PeerPort: 4747})
	boss, me := stewardAndOther(all)
	me.mu.Lock()
	peer := me.members[boss.id].Peer
	me.mu.Unlock()
	me.Doubt(peer)
	time.Sleep(time.Second)
	follows := func() plan.MemberID {
		me.mu.Lock()
		defer me.mu.Unlock()
		return me.steward
	}
	if follows() != boss.id {
		t.Fatal("it lives, and is followed no more")
	}
	boss.losePower()
	me.Doubt(netip.MustParseAddrPort("127.0.0.9:4747"))
	me.Doubt(peer)
	eventually(t, 2*time.Second, "another is followed", func() bool { return follows() != boss.id })
}

// A machine helped itself to one connection while those before it did not answer. When it turns out that they are dead it is
// steward like any other.
func TestWhoHelpedItselfBecomesSteward(t *testing.T) {
	t.Parallel()
	const k = 3
	all := room(t, 3, Options{Connections: k})
	boss := stewardOf(all)
	boss.mu.Lock()
	me := all[slices.IndexFunc(all, func(s *Site) bool { return s.id == boss.roll.Order[2] })]
	boss.mu.Unlock()
	var others []*memberlist.Node
	for _, s := range all {
		if s != me {
			s.mu.Lock()
			s.closed = true // it says nothing more, but to the membership
			s.mu.Unlock()
			defer func() { s.mu.Lock(); s.closed = false; s.mu.Unlock() }()
			me.mu.Lock()
			others = append(others, me.members[s.id].node)
			me.passOver(s.id, isDeaf)
			me.mu.Unlock()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	first, err := me.Lease(ctx, pkg, 0, nil, askAll(100), nil)
	if err != nil {
		t.Fatal(err)
	}
	me.mu.Lock()
	if !me.resort {
		t.Errorf("a lease, though nobody gives any; passed over are %v", me.passed)
	}
	me.mu.Unlock()
	me.Release(first, 0)
	for _, n := range others {
		delegate{me}.NotifyLeave(n)
	}
	for stream := range k {
		if _, err := me.Lease(ctx, pkg, stream, nil, askAll(100), nil); err != nil {
			t.Fatalf("connection %d of %d: %v", stream+1, k, err)
		}
	}
}

// While a room met, messages were lost: two machines keep a roll with everybody on it, and each thinks it is the steward.
// As soon as one of them gives out leases the room agrees.
func TestTwoStewardsFindOut(t *testing.T) {
	all := room(t, 4, Options{Connections: 1})
	boss := stewardOf(all)
	rogue := all[0]
	if rogue == boss {
		rogue = all[1]
	}
	rogue.mu.Lock()
	order := []plan.MemberID{rogue.id}
	for _, s := range all {
		if s != rogue {
			order = append(order, s.id)
		}
	}
	rogue.roll = roll{Founder: "~", Version: 9, Order: order} // later than any other founder: not the better one
	rogue.told = time.Now()                                   // it just told another one, so this one waits
	rogue.reckon()
	rogue.untold = false // lost
	rogue.mu.Unlock()
	if l, err := rogue.Lease(t.Context(), pkg, 0, nil, askAll(100), nil); err != nil || l == nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "one steward again", func() bool { return agree(all) })
}

// A new steward gives out nothing until all have reported, so a report that is lost must not cost a term.
func TestLostReportComesAgain(t *testing.T) {
	t.Parallel()
	all := room(t, 3, Options{})
	boss, me := stewardAndOther(all)
	eventually(t, 2*time.Second, "all have reported", func() bool {
		me.mu.Lock()
		defer me.mu.Unlock()
		return me.unheard == 0
	})
	me.mu.Lock()
	boss.mu.Lock()
	boss.reported, boss.allTold = map[plan.MemberID]bool{}, false
	for _, s := range all {
		boss.reported[s.id] = s != me
	}
	boss.office.Hold(time.Now().Add(time.Hour))
	me.unheard, me.asked = 1, time.Now()
	me.wake()
	boss.mu.Unlock()
	me.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), plan.LeaseTerm/2)
	defer cancel()
	if _, err := all[0].Lease(ctx, pkg, 0, nil, askAll(10), nil); err != nil {
		t.Error("no lease:", err)
	}
}

// The report of a lease is overtaken by the news that it was given back: the steward must not keep a connection for it.
func TestReportThatComesLate(t *testing.T) {
	all := room(t, 2, Options{})
	boss, member := stewardAndOther(all)
	late := wireLease{ID: 7, Package: pkg.String(), Pieces: 100, First: 3, Len: 2}
	boss.hear(&message{From: member.id, Release: &wireRelease{ID: late.ID, After: 5}})
	boss.hear(&message{From: member.id, Report: true, Holds: []wireLease{late}})
	boss.mu.Lock()
	defer boss.mu.Unlock()
	if n := boss.office.Connections(time.Now()); n != 0 {
		t.Errorf("%d leases are out, want none", n)
	}
}

// Who takes over from a steward that grants nothing has to find out what leases are out. The others are stalled and
// impatient, and must not take that for the same unfairness: each would help itself.
func TestHeirOfAnUnfairStewardIsGivenTime(t *testing.T) {
	t.Parallel()
	const k = 2
	all := room(t, 5, Options{Connections: k})
	boss := stewardOf(all)
	boss.mu.Lock()
	boss.office.Hold(time.Now().Add(time.Hour))
	boss.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	var g sync.WaitGroup
	var open, most, leases atomic.Int64
	for _, s := range all {
		if s == boss {
			continue
		}
		for stream := range 2 {
			g.Go(func() {
				for {
					l, err := s.Lease(ctx, pkg, stream, nil, func() (plan.Ask, bool) {
						a, ok := askAll(1000)()
						a.Stalled = leases.Load() == 0
						return a, ok
					}, nil)
					if err != nil {
						return
					}
					leases.Add(1)
					if n := open.Add(1); n > most.Load() {
						most.Store(n)
					}
					time.Sleep(20 * time.Millisecond)
					open.Add(-1)
					s.Release(l, 0)
				}
			})
		}
	}
	g.Wait()
	for _, s := range all {
		s.mu.Lock()
		if s.resort {
			t.Errorf("%s helps itself; it passes over %v", s.id, s.passed)
		}
		s.mu.Unlock()
	}
	if leases.Load() == 0 || most.Load() > k {
		t.Errorf("%d leases, %d at a time; want at most %d", leases.Load(), most.Load(), k)
	}
}

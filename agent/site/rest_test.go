package site

import (
	"io"
	"log"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"handout/agent/plan"
)

// An idle site rests, one that holds a lease does not: it is renewed beyond its term, and lost to nobody.
func TestIdleSiteRestsAndWakes(t *testing.T) {
	t.Parallel() // it mostly waits
	all := room(t, 2, Options{})
	atRest := func(s *Site) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.resting
	}
	eventually(t, 3*livelyFor, "both rest", func() bool { return atRest(all[0]) && atRest(all[1]) })
	for _, s := range all {
		l, err := s.Lease(t.Context(), pkg, 1, nil, askAll(100), nil)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-l.Lost():
			t.Error("lost a lease that a site which rested had given")
		case <-time.After(plan.LeaseTerm + plan.LeaseTerm/2):
		}
		if atRest(s) {
			t.Error("rests though it holds a lease")
		}
		s.Release(l, 0)
	}
	eventually(t, 3*livelyFor, "both rest again", func() bool { return atRest(all[0]) && atRest(all[1]) })
}

// Whoever has news does not rest, so that a site that rested hears of it as soon as one that didn't.
func TestNewsWakesASiteThatRests(t *testing.T) {
	t.Parallel() // it mostly waits
	var heard atomic.Int32
	all := room(t, 8, Options{Digest: func() string { return "news" }, Heard: func(Told) { heard.Add(1) }})
	resting := func() (n int) {
		for _, s := range all {
			s.mu.Lock()
			if s.resting {
				n++
			}
			s.mu.Unlock()
		}
		return n
	}
	rest := func() {
		eventually(t, 6*livelyFor, "all rest", func() bool { return resting() == len(all) })
		heard.Store(0)
	}
	allSee := func(n int) func() bool {
		return func() bool {
			return !slices.ContainsFunc(all, func(s *Site) bool { return s.Status().Members != n })
		}
	}
	rest()
	all[3].Tell()
	if n := resting(); n == len(all) {
		t.Error("a machine that has something to tell rests")
	}
	eventually(t, 10*time.Second, "some hear of it", func() bool { return heard.Load() >= 3 })
	rest()
	came := newSite(t, Options{})
	came.Join([]netip.AddrPort{all[5].at()})
	eventually(t, 10*time.Second, "all know who came", allSee(len(all)+1))
	if n := resting(); n == len(all) {
		t.Error("all rest though one has come")
	}
	rest()
	came.Close()
	if came.resting {
		t.Error("it rests while it says that it leaves")
	}
	eventually(t, 10*time.Second, "all know who left", allSee(len(all)))
}

// pacer is a membership's delegate that counts how often it is asked for what to tell.
type pacer struct{ asked atomic.Int32 }

func (*pacer) NodeMeta(int) []byte               { return nil }
func (*pacer) NotifyMsg([]byte)                  {}
func (*pacer) LocalState(bool) []byte            { return nil }
func (*pacer) MergeRemoteState([]byte, bool)     {}
func (p *pacer) GetBroadcasts(_, _ int) [][]byte { p.asked.Add(1); return nil }

func TestMembershipHasTheTickerOfItsGossip(t *testing.T) {
	var p pacer
	var lists []*memberlist.Memberlist
	for range 2 {
		c := memberlist.DefaultLocalConfig()
		c.Name, c.BindAddr, c.BindPort, c.AdvertisePort = string(rune('a'+len(lists))), "127.0.0.1", 0, 0
		c.ProbeInterval, c.PushPullInterval, c.GossipInterval = time.Hour, 0, time.Millisecond
		c.Logger = log.New(io.Discard, "", 0)
		if len(lists) == 0 {
			c.Delegate = &p
		}
		m, err := memberlist.Create(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Shutdown() })
		lists = append(lists, m)
	}
	if _, err := lists[1].Join([]string{lists[0].LocalNode().Address()}); err != nil {
		t.Fatal(err)
	}
	ticker := gossipTicker(lists[0])
	if ticker == nil {
		t.Fatal("the membership has no tickers of probes and of gossip: see how its pace is to be changed now")
	}
	eventually(t, 5*time.Second, "it gossips", func() bool { return p.asked.Load() > 100 })
	ticker.Reset(time.Hour)
	eventually(t, 5*time.Second, "it stops", func() bool {
		before := p.asked.Load()
		time.Sleep(100 * time.Millisecond)
		return p.asked.Load() == before
	})
	ticker.Reset(time.Millisecond)
	before := p.asked.Load()
	eventually(t, 5*time.Second, "it goes on", func() bool { return p.asked.Load() > before+100 })
}

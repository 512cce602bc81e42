package site

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"handout/agent/plan"
)

// Each newcomer had a roll with everybody on it, one name longer than that of the site it came into, and was steward for a
// moment or for good: it knew nothing of the leases that were out, nor of what had been read.
func TestNewcomersLeaveTheStewardInOffice(t *testing.T) {
	old := newSite(t, Options{})
	old.mu.Lock()
	old.since[old.id] = time.Now().Add(-time.Minute)
	office := old.office
	old.mu.Unlock()
	all := []*Site{old}
	for range 6 {
		s := newSite(t, Options{})
		s.JoinNear([]netip.AddrPort{all[len(all)-1].at()})
		s.mu.Lock()
		if first := s.roll.Order[0]; first == s.id && len(s.roll.Order) > 1 {
			t.Errorf("a newcomer is steward of %d", len(s.roll.Order))
		}
		s.mu.Unlock()
		all = append(all, s)
		eventually(t, 5*time.Second, "all follow one", func() bool { return agree(all) })
		if stewardOf(all) != old {
			t.Fatalf("the %dth machine that came has another steward", len(all))
		}
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	if old.office != office {
		t.Error("the steward was out of office in between")
	}
}

// Who is about to meet a site gives itself no connection, or there would be one more than the site may have. Who only tries
// addresses that an admin named does not wait.
func TestWhoIsAboutToMeetOthersWaits(t *testing.T) {
	s := newSite(t, Options{})
	lease := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		l, err := s.Lease(ctx, pkg, 0, nil, askAll(10), nil)
		if err == nil {
			s.Release(l, l.Run.First)
		}
		return err
	}
	s.mu.Lock()
	s.nearing++
	s.mu.Unlock()
	if err := lease(300 * time.Millisecond); err == nil {
		t.Error("it was granted a lease by itself")
	}
	s.mu.Lock()
	s.nearing--
	s.mu.Unlock()
	if err := lease(time.Second); err != nil {
		t.Errorf("nobody is there, and it waits: %v", err)
	}
	s.mu.Lock()
	s.nearing++
	s.since[s.id] = time.Now().Add(-settling)
	s.mu.Unlock()
	if err := lease(time.Second); err != nil {
		t.Errorf("it waits for ever: %v", err)
	}
}

func TestANewMachineWritesDownWhoFollows(t *testing.T) {
	s := newSite(t, Options{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive["a"], s.alive["b"] = true, true
	s.follows["b"], s.follows["gone"] = true, true
	now := time.Now()
	if k := s.known(now); len(k) != 2 || !k[s.id] || !k["b"] {
		t.Errorf("new: %v", k)
	}
	if k := s.known(now.Add(settling)); len(k) != 3 {
		t.Errorf("not new: %v", k)
	}
}

// The roll of a site may come before those who are on it are met. Who then took them for dead struck them off, put itself
// first, and had the newest roll of all.
func TestANewMachineStrikesNobodyOff(t *testing.T) {
	s := newSite(t, Options{})
	s.mu.Lock()
	defer s.mu.Unlock()
	told := roll{Founder: "0", Version: 7, Order: []plan.MemberID{"0", "1", s.id}}
	s.follow("0", told)
	if s.roll.Version != 7 || !slices.Equal(s.roll.Order, told.Order) {
		t.Errorf("the roll became %+v", s.roll)
	}
	if !s.isUnsettled(time.Now()) {
		t.Error("it gives out connections")
	}
	s.since[s.id] = time.Now().Add(-settling)
	s.reckon()
	if !slices.Equal(s.roll.Order, []plan.MemberID{s.id}) || s.isUnsettled(time.Now()) {
		t.Errorf("the dead stay on %+v", s.roll)
	}
}

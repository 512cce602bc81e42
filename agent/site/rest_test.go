package site

import (
	"testing"
	"time"

	"handout/agent/plan"
)

// An idle site rests, one that holds a lease does not: it is renewed beyond its term, and lost to nobody.
func TestIdleSiteRestsAndWakes(t *testing.T) {
	all := room(t, 2, Options{})
	atRest := func(s *Site) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.resting
	}
	eventually(t, 5*time.Second, "both rest", func() bool { return atRest(all[0]) && atRest(all[1]) })
	for _, s := range all {
		l, err := s.Lease(t.Context(), pkg, 1, nil, askAll(100), func() {})
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
		s.Release(l)
	}
	eventually(t, 10*time.Second, "both rest again", func() bool { return atRest(all[0]) && atRest(all[1]) })
}

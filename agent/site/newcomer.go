package site

import (
	"slices"
	"time"

	"handout/agent/plan"
)

// A machine that comes into a site meets all of it in one exchange, and hears only then whom they follow. Were it to write
// them down at once, as a steward does with newcomers, its roll would be the better one by a name, its own: each that came
// would be steward, of leases that it knows nothing about, beside the one that gave them.

// settling is how long a machine that has come holds back.
const settling = 2 * time.Second

// isNew reports whether this machine has just come.
func (s *Site) isNew(now time.Time) bool { return now.Sub(s.since[s.id]) < settling }

// isAhead reports whether this machine is new and was told a roll before it has met all who are on it: they are not dead.
func (s *Site) isAhead(now time.Time) bool {
	return s.isNew(now) && s.roll.living(s.alive) < len(s.roll.Order)
}

// known are the living that this machine, as steward, has on its roll. One that is new writes down only who follows it.
func (s *Site) known(now time.Time) map[plan.MemberID]bool {
	if !s.isNew(now) {
		return s.alive
	}
	known := map[plan.MemberID]bool{}
	for m := range s.alive {
		if m == s.id || s.follows[m] || slices.Contains(s.roll.Order, m) {
			known[m] = true
		}
	}
	return known
}

// isUnsettled reports whether this machine is new and has met others, or is about to, of whom nobody follows it: it will
// follow one of them in a moment.
func (s *Site) isUnsettled(now time.Time) bool {
	return s.isAhead(now) || s.isNew(now) && len(s.roll.Order) < 2 && (len(s.members) > 1 || s.nearing > 0)
}

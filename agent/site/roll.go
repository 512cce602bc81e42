package site

import (
	"slices"

	"handout/agent/plan"
)

// roll is the order in which members would be steward, and who keeps it. The steward writes newcomers down as it meets
// them, so that a member's place is what others witnessed and not what it says of itself. Everybody follows the same
// roll: of one founder the newest, of two founders' the one that more living members are on.
type roll struct {
	Founder plan.MemberID   `json:"founder"` // whose site this was when it met nobody else
	Version uint64          `json:"version"`
	Order   []plan.MemberID `json:"order"`
}

// maxMembers bounds a roll, and with it what a stranger can make us keep.
const maxMembers = 2000

// maxVersion leaves a version room to grow: no site comes near it by itself.
const maxVersion = 1 << 62

// better reports whether a member that follows r should follow o instead; hosts counts the machines on a roll that can be
// steward. A newer one that leaves out most of these is of somebody who is nearly alone, or wants to be steward.
func (r roll) better(o roll, hosts func(roll) int) bool {
	if len(o.Order) == 0 || len(o.Order) > maxMembers || o.Version > maxVersion {
		return false
	}
	if r.Founder == o.Founder && o.Version <= r.Version {
		return false
	}
	mine, theirs := hosts(r), hosts(o)
	if r.Founder == o.Founder {
		return theirs > 0 && 2*theirs >= mine
	}
	if mine != theirs {
		return theirs > mine
	}
	return theirs > 0 && o.Founder < r.Founder
}

func (r roll) living(alive map[plan.MemberID]bool) (n int) {
	seen := map[plan.MemberID]bool{}
	for _, m := range r.Order {
		if alive[m] && !seen[m] {
			n++
			seen[m] = true
		}
	}
	return n
}

// steward is the first living member on the roll that is not passed over.
func (r roll) steward(alive, passed map[plan.MemberID]bool) (plan.MemberID, bool) {
	for _, m := range r.Order {
		if alive[m] && !passed[m] {
			return m, true
		}
	}
	return "", false
}

// unfit is the rank of a member that is steward only where nobody else can be.
const unfit = 2

// keep is what a steward does with its roll: newcomers are written down, before those that came earlier only if these are
// of a higher rank, in the order of their ids where several came at once; the dead are struck off; who has become unfit
// goes to the end. It reports whether anything changed.
func (r *roll) keep(alive map[plan.MemberID]bool, rank func(plan.MemberID) int) bool {
	var order, last, newcomers []plan.MemberID
	for _, m := range r.Order {
		switch {
		case !alive[m]:
		case rank(m) == unfit:
			last = append(last, m)
		default:
			order = append(order, m)
		}
	}
	order = append(order, last...)
	for m := range alive {
		if !slices.Contains(order, m) {
			newcomers = append(newcomers, m)
		}
	}
	slices.Sort(newcomers)
	for _, m := range newcomers {
		at := len(order)
		for at > 0 && rank(m) < rank(order[at-1]) {
			at--
		}
		order = slices.Insert(order, at, m)
	}
	if len(order) > maxMembers {
		order = order[:maxMembers]
	}
	if slices.Equal(order, r.Order) {
		return false
	}
	r.Order = order
	r.Version++
	return true
}

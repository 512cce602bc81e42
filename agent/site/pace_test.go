package site

import (
	"slices"
	"testing"
	"time"

	"handout/agent/plan"
)

// A steward on a slow link makes room for another, once, and never are there more connections than the site may have. The
// other slow machine, though it comes next, is not asked to.
func TestSlowStewardMakesRoom(t *testing.T) {
	t.Parallel()
	const k, n, pieces = 2, 5, 2000
	all := room(t, n, Options{Connections: k})
	boss := stewardOf(all)
	boss.mu.Lock()
	slow := slices.Clone(boss.roll.Order[:2])
	boss.mu.Unlock()
	most, given := readFor(paceAfter+2*time.Second, all, func(s *Site) (plan.Ask, bool) {
		a, ok := askAll(pieces)()
		a.Link = 1e6
		if slices.Contains(slow, s.id) {
			a.Link = 1e5
		}
		return a, ok
	})
	if most > k {
		t.Errorf("%d connections at once, allowed are %d", most, k)
	}
	if given < 100 {
		t.Errorf("only %d pieces were given out", given)
	}
	eventually(t, 2*time.Second, "one steward", func() bool { return agree(all) })
	next := stewardOf(all)
	next.mu.Lock()
	defer next.mu.Unlock()
	if last := next.roll.Order[n-2:]; !slices.Contains(last, slow[0]) || !slices.Contains(last, slow[1]) {
		t.Errorf("the slow ones were %v, the roll is %v", slow, next.roll.Order)
	}
	if m := next.members[boss.id]; !m.Slow {
		t.Errorf("nobody is told that the former steward was slow: %+v", m)
	}
}

// An answer may be on its way while another becomes steward, who has been told that nothing is held.
func TestAnswerOfAFormerStewardIsRefused(t *testing.T) {
	t.Parallel()
	all := room(t, 3, Options{})
	boss := stewardOf(all)
	var rest []*Site
	for _, s := range all {
		if s != boss {
			rest = append(rest, s)
		}
	}
	me, other := rest[0], rest[1]
	for _, from := range []*Site{other, boss} {
		w := &wish{answer: make(chan plan.Answer, 1)}
		me.mu.Lock()
		me.waiting[line{pkg, 7}] = w
		me.takeAnswer(from.id, plan.Answer{Member: me.id, Package: pkg, Stream: 7, Lease: plan.Lease{ID: 5, Run: plan.Run{Len: 1}}})
		delete(me.waiting, line{pkg, 7})
		me.mu.Unlock()
		if taken := len(w.answer) > 0; taken != (from == boss) {
			t.Errorf("taken from the steward %v: %v", from == boss, taken)
		}
	}
}

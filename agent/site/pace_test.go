package site

import (
	"slices"
	"testing"
	"time"

	"handout/agent/plan"
	"handout/manifest"
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

// Answers are sent twice, and the second must not be taken for the answer to the next ask: the same run would be read again.
func TestAnswerComesTwice(t *testing.T) {
	t.Parallel()
	boss, me, l := oneHolds(t)
	me.mu.Lock()
	again := plan.Answer{Member: me.id, Package: pkg, Stream: 0, Seq: me.seq, Lease: l.Lease}
	me.mu.Unlock()
	first := l.Run
	next, err := me.Lease(t.Context(), pkg, 0, l, func() (plan.Ask, bool) {
		a, ok := askAll(100)()
		a.After = first.First + manifest.PieceIndex(first.Len)
		go func() {
			me.mu.Lock()
			defer me.mu.Unlock()
			me.takeAnswer(boss.id, again)
		}()
		return a, ok
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if next.Run == first || next.ID != l.ID {
		t.Errorf("lease %d of %v, then %d of %v", again.Lease.ID, first, next.ID, next.Run)
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

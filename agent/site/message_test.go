package site

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"handout/agent/plan"
	"handout/manifest"
)

func sample() message {
	e := plan.NewBitfield(10)
	e.Set(0)
	e.Set(9)
	l := wire(plan.Lease{ID: 7, Package: pkg, Run: plan.Run{First: 3, Len: 2}, Front: true, Read: 1}, 10)
	bound := plan.NewBitfield(10)
	bound.Set(4)
	return message{
		From: "a", Roll: &roll{Founder: "a", Version: 3, Order: []plan.MemberID{"a", "b"}},
		Ask:     wireOf(plan.Ask{Stream: 1, Package: pkg, Eligible: e, After: 4, Limit: 5, Link: 1.5e6, Holds: 6, Fed: true, Bound: bound, Again: true}),
		Answer:  &wireAnswer{Stream: 1, Lease: l},
		Release: &wireRelease{ID: 7, After: 4}, Holds: []wireLease{l}, Report: true, Renewed: &renewed{IDs: []plan.LeaseID{7}, Connections: 2},
	}
}

func TestMessageComesOutAsItWentIn(t *testing.T) {
	m := sample()
	got, err := open(m.seal())
	if err != nil {
		t.Fatal(err)
	}
	if again := got.seal(); !bytes.Equal(again, m.seal()) {
		t.Errorf("got %s, want %s", again, m.seal())
	}
	a := got.Ask.ask("a")
	if a.Package != pkg || a.Eligible.Len() != 10 || a.Eligible.Count() != 2 || !a.Eligible.Has(9) || a.After != 4 || a.Limit != 5 || a.Link != 1.5e6 || a.Holds != 6 || !a.Fed ||
		a.Bound.Len() != 10 || a.Bound.Count() != 1 || !a.Bound.Has(4) || !a.Again {
		t.Errorf("ask %+v", a)
	}
	if l := got.Answer.Lease.lease("x"); l.ID != 7 || l.Package != pkg || l.Run != (plan.Run{First: 3, Len: 2}) || l.Member != "x" || !l.Front || l.Read != 1 {
		t.Errorf("lease %+v", l)
	}
}

// What a member may have sent to make us keep, compute or crash more than a message is worth.
func TestHostileMessages(t *testing.T) {
	change := func(f func(*message)) string {
		m := sample()
		f(&m)
		return string(m.seal())
	}
	for name, text := range map[string]string{
		"nothing":               "",
		"no JSON":               "hello",
		"no sender":             change(func(m *message) { m.From = "" }),
		"a sender without end":  change(func(m *message) { m.From = plan.MemberID(strings.Repeat("x", 65)) }),
		"a roll without end":    change(func(m *message) { m.Roll.Order = make([]plan.MemberID, maxMembers+1) }),
		"a nameless member":     change(func(m *message) { m.Roll.Order[0] = "" }),
		"negative stream":       change(func(m *message) { m.Ask.Stream = -1 }),
		"no pieces":             change(func(m *message) { m.Ask.Pieces = 0 }),
		"pieces without bits":   change(func(m *message) { m.Ask.Pieces = 1 << 20 }),
		"too many pieces":       change(func(m *message) { m.Ask.Pieces = maxPieces + 1 }),
		"no info-hash":          change(func(m *message) { m.Ask.Package = "zz" }),
		"a run past all pieces": change(func(m *message) { m.Answer.Lease.First, m.Answer.Lease.Len = 1<<31, 1<<30 }),
		"bound without bits":    change(func(m *message) { m.Ask.Bound = m.Ask.Bound[1:] }),
		"bound beyond pieces":   change(func(m *message) { m.Ask.Bound = append(m.Ask.Bound, 0) }),
		"more read than run":    change(func(m *message) { m.Holds[0].Read = 3 }),
		"less than nothing":     change(func(m *message) { m.Answer.Lease.Read = -1 }),
		"a negative run":        change(func(m *message) { m.Answer.Lease.Len = -1 }),
		"too many leases":       change(func(m *message) { m.Holds = make([]wireLease, maxHolds+1) }),
		"a negative count":      change(func(m *message) { m.Renewed.Connections = -1 }),
		"a number too large":    strings.Replace(change(func(*message) {}), `"version":3`, `"version":99999999999999999999`, 1),
		"too long":              fmt.Sprintf(`{"from":"a","x":%q}`, strings.Repeat("x", maxMessage)),
	} {
		if m, err := open([]byte(text)); err == nil {
			t.Errorf("%s: taken as %+v", name, m)
		}
	}
}

// FuzzHear lets a member say anything: nothing crashes, and the steward never has more leases out than connections.
func FuzzHear(f *testing.F) {
	m := sample()
	f.Add(m.seal())
	for _, part := range []func(*message){
		func(m *message) { *m = message{From: "b", Ask: m.Ask} },
		func(m *message) { *m = message{From: "b", Report: true, Holds: m.Holds} },
		func(m *message) { *m = message{From: "b", Release: m.Release} },
		func(m *message) { *m = message{From: "b", Roll: m.Roll} },
	} {
		m := sample()
		part(&m)
		f.Add(m.seal())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := New(Options{Alone: true, Connections: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.mu.Lock()
		s.members["b"], s.alive["b"] = s.members[s.id], true // one who may speak
		s.mu.Unlock()
		msg, err := open(b)
		if err != nil {
			return
		}
		if again, err := json.Marshal(msg); err != nil || len(again) > 4*maxMessage {
			t.Errorf("%d bytes from %d: %v", len(again), len(b), err)
		}
		s.hear(msg)
		msg.From = "b"
		s.hear(msg)
		if msg.Ask != nil && msg.Ask.Eligible != nil && manifest.PieceIndex(msg.Ask.Pieces) > 0 && len(msg.Holds) == 0 {
			if got := s.Status().Connections; got > 2 {
				t.Errorf("%d leases of 2", got)
			}
		}
	})
}

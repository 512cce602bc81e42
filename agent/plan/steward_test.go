package plan

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"handout/manifest"
)

var (
	noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	pkg  = manifest.InfoHash{1}
)

func missing(n int) Bitfield {
	b := NewBitfield(n)
	b.SetAll()
	return b
}

func ask(m string, stream int) Ask {
	return Ask{Member: MemberID(m), Stream: stream, Package: pkg, Eligible: missing(100), After: 100, Limit: 5}
}

// end is where a lease's run ends.
func end(l Lease) manifest.PieceIndex { return l.Run.First + manifest.PieceIndex(l.Run.Len) }

func TestAloneGetsAllConnections(t *testing.T) {
	s := NewSteward(4, 0, rand.IntN)
	for stream := range 6 {
		s.Ask(noon, ask("a", stream))
	}
	got := s.Decide(noon)
	seen := NewBitfield(100)
	for _, a := range got {
		for k := range a.Lease.Run.Len {
			i := a.Lease.Run.First + manifest.PieceIndex(k)
			if seen.Has(i) {
				t.Errorf("piece %d was given out twice", i)
			}
			seen.Set(i)
		}
	}
	if len(got) != 4 || s.Connections(noon) != 4 {
		t.Errorf("%d leases of 4", len(got))
	}
}

// Who asks for more while it still reads may be cut short after all: what it had not read is given again at once.
func TestWhatWasNotReadIsGivenAgain(t *testing.T) {
	for name, more := range map[string]int{"there was more to read": 100, "there was nothing more to read": 0} {
		t.Run(name, func(t *testing.T) {
			s := NewSteward(1, 0, rand.IntN)
			s.Ask(noon, ask("a", 0))
			first := s.Decide(noon)[0].Lease
			ahead := ask("a", 0)
			ahead.Holds, ahead.After = first.ID, end(first)
			if more == 0 {
				ahead.Eligible = NewBitfield(100)
			}
			s.Ask(noon, ahead)
			if got := s.Decide(noon); len(got) != 1 || got[0].Yield {
				t.Fatalf("%+v", got)
			}
			s.Release(noon, "a", first.ID, end(first)-2)
			for _, fed := range []bool{true, false} {
				other := ask("b", 0)
				other.Fed = fed
				other.Eligible = NewBitfield(100)
				first.Run.Mark(other.Eligible)
				s.Ask(noon, other)
				got := s.Decide(noon)
				if len(got) != 1 || got[0].Lease.Run != (Run{First: end(first) - 2, Len: 2}) {
					t.Fatalf("fed %v: of %v the last two pieces were not read: %+v", fed, first.Run, got)
				}
				s.Release(noon, "b", got[0].Lease.ID, got[0].Lease.Run.First)
			}
		})
	}
}

func TestContinuesWhereNobodyWaits(t *testing.T) {
	s := NewSteward(1, 0, rand.IntN)
	s.Ask(noon, ask("a", 0))
	first := s.Decide(noon)[0].Lease
	again := ask("a", 0)
	again.Holds, again.After = first.ID, first.Run.First+manifest.PieceIndex(first.Run.Len)
	if int(again.After) == 100 {
		again.After = 0
	}
	s.Ask(noon, again)
	got := s.Decide(noon)
	if len(got) != 1 || got[0].Lease.ID != first.ID || got[0].Lease.Run.First != again.After {
		t.Fatalf("first %+v, then %+v", first, got)
	}
}

func TestUnrenewedLeaseExpiresAndItsPiecesAreGivenAgain(t *testing.T) {
	s := NewSteward(1, 0, rand.IntN)
	a := ask("a", 0)
	a.Eligible = fieldOf(100, 7)
	s.Ask(noon, a)
	s.Decide(noon)
	b := ask("b", 0)
	b.Eligible = fieldOf(100, 7)
	later := noon.Add(LeaseTerm - time.Millisecond)
	s.Ask(later, b)
	if got := s.Decide(later); len(got) != 0 {
		t.Fatalf("granted while the lease lives: %+v", got)
	}
	later = noon.Add(LeaseTerm)
	if got := s.Decide(later); len(got) != 1 || got[0].Lease.Run != (Run{7, 1}) {
		t.Fatalf("after the term: %+v", got)
	}
}

func TestRenewedLeaseLivesButNotForEver(t *testing.T) {
	s := NewSteward(1, 0, rand.IntN)
	s.Ask(noon, ask("a", 0))
	l := s.Decide(noon)[0].Lease
	if s.Renew(noon, "b", l.ID) {
		t.Error("renewed for somebody else")
	}
	at := noon
	for s.Renew(at, "a", l.ID) {
		if at = at.Add(time.Second); at.Sub(noon) > time.Minute {
			t.Fatal("one run is renewed for a minute")
		}
	}
	if at.Sub(noon) < 10*time.Second {
		t.Errorf("a slow run lost its lease after %v", at.Sub(noon))
	}
}

func TestWhatTheDeadHadReadIsGivenAgain(t *testing.T) {
	s := NewSteward(1, 0, rand.IntN)
	hasRead(s, "a", 7)
	b := ask("b", 0)
	b.Eligible = fieldOf(100, 7)
	s.Ask(noon, b)
	if got := s.Decide(noon); len(got) != 1 || got[0].Lease.Run.Len != 0 {
		t.Fatalf("just fetched by a: %+v", got)
	}
	s.Forget("a")
	s.Ask(noon, b)
	if got := s.Decide(noon); len(got) != 1 || got[0].Lease.Run != (Run{7, 1}) {
		t.Fatalf("a is gone with its piece: %+v", got)
	}
}

// What a lease covered and was not read is lost to nobody: neither in the moment in which reading counts as news, nor after.
func TestOnlyWhatWasReadCounts(t *testing.T) {
	s := NewSteward(1, 0, rand.IntN)
	a := ask("a", 0)
	a.After = 10
	s.Ask(noon, a)
	got := s.Decide(noon)
	if len(got) != 1 || got[0].Lease.Run != (Run{10, 5}) {
		t.Fatalf("got %+v", got)
	}
	s.Release(noon, "a", got[0].Lease.ID, 12)
	b := ask("b", 0)
	b.After = 12
	b.Limit = 1
	for n, want := range []Run{{12, 1}, {12, 1}, {13, 1}, {}} {
		b.Eligible = fieldOf(100, 10, 11, 12, 13)
		s.Ask(noon, b)
		got := s.Decide(noon)
		if len(got) != 1 || got[0].Lease.Run != want {
			t.Fatalf("want %v, got %+v", want, got)
		}
		b.Holds, b.After = got[0].Lease.ID, want.First+1
		if n == 0 { // nothing was read
			b.After = want.First
		}
	}
}

// In a large room a newcomer's neighbours may all be newcomers: what others have read long ago is on its way to it, as long
// as there is something else to get meanwhile.
func TestRoomIsNotServedTwice(t *testing.T) {
	s := NewSteward(1, 0, rand.IntN)
	hasRead(s, "a", 7)
	later := noon.Add(time.Minute)
	b := ask("b", 0)
	b.Eligible, b.Fed = fieldOf(100, 7), true
	s.Ask(later, b)
	if got := s.Decide(later); len(got) != 1 || got[0].Lease.Run.Len != 0 {
		t.Fatalf("b has other pieces to get: %+v", got)
	}
	b.Fed = false
	s.Ask(later, b)
	got := s.Decide(later)
	if len(got) != 1 || got[0].Lease.Run != (Run{7, 1}) {
		t.Fatalf("b has nothing else to get: %+v", got)
	}
	s.Release(later, "b", got[0].Lease.ID, 7)
	s.Forget("a")
	b.Fed = true
	s.Ask(later, b)
	if got := s.Decide(later); len(got) != 1 || got[0].Lease.Run != (Run{7, 1}) {
		t.Fatalf("a is gone with it: %+v", got)
	}
}

// However much is read of a package, what is remembered of it is bounded.
func TestReadingsAreBounded(t *testing.T) {
	s := NewSteward(1, 0, rand.IntN)
	a := Ask{Member: "a", Package: pkg, Eligible: missing(3 * maxReadings), Limit: 1}
	for range 3 * maxReadings {
		s.Ask(noon, a)
		l := s.Decide(noon)[0].Lease
		a.Holds, a.After = l.ID, end(l)
	}
	if n := len(s.packages[pkg].readings); n > maxReadings {
		t.Errorf("%d readings are remembered", n)
	}
	s.Decide(noon.Add(justFetched))
	if n := s.packages[pkg].given.Count(); n > 1 {
		t.Errorf("%d pieces are never given again", n)
	}
}

func TestNewStewardWaitsForReports(t *testing.T) {
	s := NewSteward(2, 0, rand.IntN)
	s.Hold(noon.Add(LeaseTerm))
	s.Ask(noon, ask("a", 0))
	if got := s.Decide(noon); got != nil {
		t.Fatalf("granted before anybody reported: %+v", got)
	}
	s.Adopt(noon, Lease{ID: 900, Member: "b", Package: pkg, Run: Run{3, 2}}, 100)
	s.Adopt(noon, Lease{ID: 901, Member: "c", Package: pkg, Run: Run{5, 2}}, 100)
	s.Adopt(noon, Lease{ID: 902, Member: "d", Package: pkg, Run: Run{7, 2}}, 100)
	s.Hold(noon)
	if got := s.Decide(noon); len(got) != 0 {
		t.Fatalf("granted a fourth: %+v", got)
	}
	d := ask("d", 0)
	d.Holds = 902
	s.Ask(noon, d)
	if got := s.Decide(noon); len(got) != 1 || !got[0].Yield {
		t.Fatalf("the surplus goes on: %+v", got)
	}
}

// Whatever is said in whatever order, by liars too: never more leases than connections, never a piece in two of them.
func TestStewardNeverGivesTooMuch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(1, 6).Draw(t, "connections")
		s := NewSteward(k, 0, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "random") })
		now := noon
		var out []Lease
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			m := MemberID(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "member"))
			var holds LeaseID
			if len(out) > 0 && rapid.Bool().Draw(t, "holds") {
				holds = out[rapid.IntRange(0, len(out)-1).Draw(t, "which")].ID
			}
			switch rapid.SampledFrom([]string{"ask", "ask", "ask", "release", "renew", "time", "forget"}).Draw(t, "what") {
			case "ask":
				e := NewBitfield(20)
				for _, i := range rapid.SliceOfN(rapid.IntRange(0, 19), 0, 20).Draw(t, "eligible") {
					e.Set(manifest.PieceIndex(i))
				}
				s.Ask(now, Ask{Member: m, Stream: rapid.IntRange(0, 2).Draw(t, "stream"), Package: pkg, Eligible: e,
					After: manifest.PieceIndex(rapid.IntRange(0, 25).Draw(t, "after")), Limit: rapid.IntRange(-1, 9).Draw(t, "limit"), Holds: holds,
					Link: float64(rapid.IntRange(0, 9).Draw(t, "link")), Fed: rapid.Bool().Draw(t, "fed")})
			case "release":
				s.Release(now, m, holds, manifest.PieceIndex(rapid.IntRange(0, 25).Draw(t, "after")))
			case "renew":
				s.Renew(now, m, holds)
			case "time":
				now = now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond)
			case "forget":
				s.Forget(m)
			}
			for _, a := range s.Decide(now) {
				if a.Lease.Run.Len > 0 {
					out = append(out, a.Lease)
				}
			}
			if n := s.Connections(now); n > k {
				t.Fatalf("%d leases of %d", n, k)
			}
			seen := NewBitfield(20)
			for _, h := range s.leases {
				for j := range h.Run.Len {
					i := h.Run.First + manifest.PieceIndex(j)
					if seen.Has(i) {
						t.Fatalf("piece %d is in two leases", i)
					}
					seen.Set(i)
				}
			}
		}
	})
}

// The runs get shorter towards the end, but not so short that asking for them takes longer than reading them.
func TestLastRuns(t *testing.T) {
	const pieces, limit = 1000, 64
	s := NewSteward(1, 0, func(int) int { return 0 })
	a := Ask{Member: "a", Package: pkg, Eligible: missing(pieces), After: pieces, Limit: limit}
	var lens []int
	for left := pieces; left > 0; {
		s.Ask(noon, a)
		l := s.Decide(noon)[0].Lease
		lens = append(lens, l.Run.Len)
		left -= l.Run.Len
		a.Holds, a.After = l.ID, l.Run.First+manifest.PieceIndex(l.Run.Len)
	}
	const least = (limit + shortest - 1) / shortest
	for i, n := range lens[:len(lens)-1] {
		if n < least || n > limit || i > 0 && n > lens[i-1] {
			t.Fatalf("runs of %v pieces", lens)
		}
	}
	if last := lens[len(lens)-2]; lens[0] != limit || last != least {
		t.Errorf("runs of %v pieces", lens)
	}
}

// hasRead has member read piece i.
func hasRead(s *Steward, member string, i manifest.PieceIndex) {
	a := ask(member, 0)
	a.Eligible = fieldOf(100, i)
	s.Ask(noon, a)
	s.Release(noon, MemberID(member), s.Decide(noon)[0].Lease.ID, i+1)
}

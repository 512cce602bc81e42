package plan

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"handout/manifest"
)

func TestRoomSharesConnections(t *testing.T) {
	s := NewSteward(4, 0, rand.IntN)
	for m := range 8 {
		for stream := range 4 {
			s.Ask(noon, ask(fmt.Sprint(m), stream))
		}
	}
	per := map[MemberID]int{}
	for _, a := range s.Decide(noon) {
		per[a.Member]++
	}
	if len(per) != 4 {
		t.Errorf("leases per member %v, want four members with one each", per)
	}
}

func TestThoseWhoHadLeastComeNext(t *testing.T) {
	s := NewSteward(1, 0, rand.IntN)
	s.Ask(noon, ask("a", 0))
	first := s.Decide(noon)[0].Lease
	s.Ask(noon, ask("b", 0))
	again := ask("a", 0)
	again.Holds, again.Limit = first.ID, 1
	var got []Answer
	for range turn {
		s.Ask(noon, again)
		if got = s.Decide(noon); len(got) == 1 && got[0].Yield {
			break
		}
	}
	if len(got) != 1 || !got[0].Yield || got[0].Member != "a" {
		t.Fatalf("a goes on though b waits and had nothing: %+v", got)
	}
	s.Release(noon, "a", first.ID, end(first))
	if got = s.Decide(noon); len(got) != 1 || got[0].Member != "b" || got[0].Lease.Run.Len == 0 {
		t.Fatalf("b is next: %+v", got)
	}
}

// A machine on Wi-Fi gets what the others read sooner than what it reads itself: it comes last, whatever it has had.
func TestSlowMachineYields(t *testing.T) {
	s := NewSteward(1, 0, rand.IntN)
	hasRead(s, "slow", 0)
	hasRead(s, "fast", 1)
	hasRead(s, "fast", 2)
	linkIsKnown(s, "slow")
	slow, fast := ask("slow", 0), ask("fast", 0)
	slow.Link, fast.Link = 1e5, 1e6
	s.Ask(noon, slow)
	s.Ask(noon, fast)
	if got := s.Decide(noon); len(got) != 1 || got[0].Member != "fast" {
		t.Fatalf("the slow one, which has had less, goes first: %+v", got)
	}
}

// linkIsKnown has member ask for long.
func linkIsKnown(s *Steward, member MemberID) { s.packages[pkg].since[member] = time.Time{} }

// A newcomer's link is not known, though it was given a run: it may have shared the origin with the whole room. Whoever has
// asked for long is no newcomer, whether or not it was ever its turn: its first pieces would be the room's last.
func TestLinkIsKnownAfterAWhile(t *testing.T) {
	for _, tt := range []struct {
		asks time.Duration
		want MemberID
	}{{0, "slow"}, {linkKnown / 2, "slow"}, {linkKnown, "fast"}} {
		for _, read := range []bool{false, true} {
			s := NewSteward(1, 0, rand.IntN)
			hasRead(s, "fast", 1)
			hasRead(s, "fast", 2)
			slow, fast := ask("slow", 0), ask("fast", 0)
			slow.Link, fast.Link = 1e5, 1e6
			if read {
				hasRead(s, "slow", 3)
			} else {
				s.Ask(noon, slow)
			}
			s.Ask(noon.Add(tt.asks), slow)
			s.Ask(noon.Add(tt.asks), fast)
			if got := s.Decide(noon.Add(tt.asks)); len(got) != 1 || got[0].Member != tt.want {
				t.Errorf("asked for %v, has read: %v: %+v, want %s", tt.asks, read, got, tt.want)
			}
		}
	}
}

// What a slow machine reads while faster ones give it all that its link takes, those wait for: at the end, the whole room.
func TestSlowMachineThatIsServedReadsNothing(t *testing.T) {
	s := NewSteward(4, 0, rand.IntN)
	hasRead(s, "slow", 7)
	linkIsKnown(s, "slow")
	fast := ask("fast", 0)
	fast.Link = 1e6
	s.Ask(noon, fast)
	if got := s.Decide(noon); len(got) != 1 {
		t.Fatalf("got %+v", got)
	}
	reads := func(at time.Duration, fed bool) bool {
		slow := ask("slow", 0)
		slow.Link, slow.Fed = 1e5, fed
		s.Ask(noon.Add(at), slow)
		got := s.Decide(noon.Add(at))
		s.Withdraw("slow", 0, pkg)
		for _, a := range got {
			s.Release(noon.Add(at), "slow", a.Lease.ID, a.Lease.Run.First)
		}
		return len(got) > 0
	}
	if reads(askedLately/2, true) {
		t.Error("the slow one reads though the fast one, which still reads too, gives it enough")
	}
	if !reads(askedLately/2, false) {
		t.Error("nobody gives it anything, and it may not read")
	}
	if !reads(2*askedLately, true) {
		t.Error("the fast one is complete, and it may not read")
	}
}

func TestSlowRunEndsWhereAFasterOneWaits(t *testing.T) {
	s := NewSteward(1, 0, rand.IntN)
	slow := ask("slow", 0)
	slow.Link = 1e5
	s.Ask(noon, slow)
	linkIsKnown(s, "slow")
	l := s.Decide(noon)[0].Lease
	later := noon.Add(slowRun + time.Millisecond)
	if s.Decide(later); !s.Renew(later, "slow", l.ID) {
		t.Error("ended though nobody waits")
	}
	for _, c := range []struct {
		link  float64
		at    time.Time
		lives bool
	}{
		{1.5e5, later, true},
		{1e6, noon.Add(slowRun), true}, // it was to take a second
		{1e6, later, false},
	} {
		other := ask("other", 0)
		other.Link = c.link
		s.Ask(c.at, other)
		if got := s.Decide(c.at); len(got) > 0 {
			t.Fatalf("got %+v", got)
		}
		if got := s.Renew(c.at, "slow", l.ID); got != c.lives {
			t.Errorf("renewed after %v while a link of %v waits: %v", c.at.Sub(noon), c.link, got)
		}
	}
}

// A newcomer that reads its first run does not ask, and its link is known in time all the same.
func TestSlowNewcomersRunEndsOnceItsLinkIsKnown(t *testing.T) {
	s := NewSteward(1, 0, rand.IntN)
	slow, fast := ask("slow", 0), ask("fast", 0)
	slow.Link, fast.Link = 1e5, 1e6
	s.Ask(noon, slow)
	l := s.Decide(noon)[0].Lease
	for at := time.Second; at <= linkKnown; at += time.Second {
		s.Ask(noon.Add(at), fast)
		if lives := s.Renew(noon.Add(at), "slow", l.ID); lives != (at < linkKnown) {
			t.Errorf("renewed after %v: %v", at, lives)
		}
	}
}

func TestOutpaced(t *testing.T) {
	for _, c := range []struct {
		name  string
		mine  float64
		links []float64
		want  bool
	}{
		{"among faster ones", 1e5, []float64{1e6, 1e6, 1e5}, true},
		{"one of them lies, or is a server", 1e6, []float64{1e9, 1e6, 1e6}, false},
		{"not by much", 6e5, []float64{1e6, 1e6, 1e6}, false},
		{"its own link is not known", 0, []float64{1e6, 1e6}, false},
		{"others' are not", 1e5, []float64{0, 0}, false},
		{"nobody asks", 1e5, nil, false},
	} {
		s := NewSteward(1, 0, rand.IntN)
		for i, l := range append([]float64{c.mine}, c.links...) {
			a := ask(fmt.Sprint(i), 0)
			a.Link = l
			s.Ask(noon, a)
		}
		if got := s.Outpaced("0"); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	s := NewSteward(1, 0, rand.IntN)
	for m, l := range map[string]float64{"a": 1e5, "b": 1e6} {
		a := ask(m, 0)
		a.Link = l
		s.Ask(noon, a)
	}
	if s.Forget("b"); s.Outpaced("a") {
		t.Error("by one that is gone")
	}
}

// Whoever shared the origin with a whole room at first reads slowly there, and would do so for ever if that counted.
func TestSlowConnectionDoesNotMakeASlowMachine(t *testing.T) {
	s := NewSteward(1, 0, rand.IntN)
	hasRead(s, "unlucky", 0)
	hasRead(s, "lucky", 1)
	hasRead(s, "lucky", 2)
	unlucky, lucky := ask("unlucky", 0), ask("lucky", 0)
	unlucky.Limit, lucky.Limit = 1, 5
	unlucky.Link, lucky.Link = 9e5, 1e6
	s.Ask(noon, unlucky)
	s.Ask(noon, lucky)
	if got := s.Decide(noon); len(got) != 1 || got[0].Member != "unlucky" {
		t.Fatalf("the one that had less on an equal link does not go first: %+v", got)
	}
}

// The first machine of a room has what the second gets from it: the origin's connections are of more use to the first. But
// machines of a full room are fed and hungry by turns, and a connection is not handed on each time.
func TestHungryGoBeforeFed(t *testing.T) {
	s := NewSteward(4, 0, rand.IntN)
	fed := ask("fed", 0)
	fed.Fed, fed.Limit = true, 1
	s.Ask(noon, fed)
	held := s.Decide(noon)[0].Lease
	for stream := range 4 {
		s.Ask(noon, ask("hungry", stream))
	}
	if got := s.Decide(noon); len(got) != 3 {
		t.Fatalf("three connections are free, the hungry one got %+v", got)
	}
	for run := 1; ; run++ {
		fed.Holds, fed.After = held.ID, end(held)
		s.Ask(noon, fed)
		got := s.Decide(noon)
		if len(got) != 1 || got[0].Yield != (run == turn) {
			t.Fatalf("after run %d of the fed one: %+v", run, got)
		}
		if run == turn {
			break
		}
		held = got[0].Lease
	}
}

// A connection takes a while to get going: for what is left in the last second none is handed on.
func TestLastPiecesStayWithWhoReads(t *testing.T) {
	for _, tt := range []struct {
		left  int
		yield bool
	}{{1, false}, {2, true}} {
		s := NewSteward(1, 0, func(int) int { return 0 })
		s.Ask(noon, ask("b", 0))
		s.Decide(noon)
		s.Forget("b")
		a := ask("a", 0)
		a.Limit = 80
		s.Ask(noon, a)
		held := s.Decide(noon)[0].Lease
		s.Ask(noon, ask("b", 0))
		a.Eligible, a.Holds, a.After, a.Limit = missing(100), held.ID, end(held), 2
		for i := range manifest.PieceIndex(100 - tt.left) {
			a.Eligible.Clear(i)
		}
		s.Ask(noon, a)
		if got := s.Decide(noon); len(got) != 1 || got[0].Yield != tt.yield {
			t.Errorf("%d pieces left: %+v", tt.left, got)
		}
	}
}

// A manifest is read before pieces are: it takes the first connection that is handed on, be it this machine's own, and
// never one more than the site has.
func TestManifestsComeFirst(t *testing.T) {
	for _, reader := range []MemberID{"a", "b"} {
		s := NewSteward(2, 0, rand.IntN)
		s.Ask(noon, ask("a", 0))
		s.Ask(noon, ask("a", 1))
		leases := s.Decide(noon)
		manifest := Ask{Member: reader, Stream: 5, Package: NoPackage, Eligible: missing(Turns), After: Turns, Limit: 1}
		s.Ask(noon, manifest)
		s.Ask(noon, ask("c", 0))
		if got := s.Decide(noon); len(got) > 0 || s.Connections(noon) != 2 {
			t.Fatalf("%s: beyond the site's connections: %+v", reader, got)
		}
		next := ask("a", 0)
		next.Holds = leases[0].Lease.ID
		s.Ask(noon, next)
		if got := s.Decide(noon); len(got) != 1 || !got[0].Yield {
			t.Fatalf("%s: no connection is handed on: %+v", reader, got)
		}
		s.Release(noon, "a", next.Holds, end(leases[0].Lease))
		got := s.Decide(noon)
		if len(got) != 1 || got[0].Package != NoPackage || got[0].Member != reader || s.Connections(noon) != 2 {
			t.Fatalf("%s: the freed connection: %+v", reader, got)
		}
		id := got[0].Lease.ID
		for now := noon; now.Before(noon.Add(longestVisit)); now = now.Add(LeaseTerm / 2) {
			if !s.Renew(now, reader, id) {
				t.Fatalf("%s: lost %v after it was granted", reader, now.Sub(noon))
			}
		}
		if s.Renew(noon.Add(longestVisit+LeaseTerm/2), reader, id) {
			t.Errorf("%s: a manifest is read for ever", reader)
		}
	}
}

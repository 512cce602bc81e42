package plan

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"handout/manifest"
)

func TestBound(t *testing.T) {
	const piece = 256 << 10
	all := func(int) bool { return true }
	one := []Extent{{0, 100 * piece}}
	for _, c := range []struct {
		name   string
		files  []Extent
		pieces int
		front  func(int) bool
		free   []manifest.PieceIndex // where a run can begin
	}{
		{"one file: only at its front", one, 100, all, []manifest.PieceIndex{0}},
		{"one file with ranges: anywhere", one, 4, func(int) bool { return false }, []manifest.PieceIndex{0, 1, 2, 3}},
		{"files that end where pieces do", []Extent{{0, 2 * piece}, {2 * piece, 2 * piece}}, 4, all, []manifest.PieceIndex{0, 2}},
		{"an empty file binds nothing", []Extent{{0, piece}, {piece, 0}, {piece, piece}}, 2, all, []manifest.PieceIndex{0, 1}},
		{"one of two", []Extent{{0, 2 * piece}, {2 * piece, 2 * piece}}, 4, func(f int) bool { return f == 1 }, []manifest.PieceIndex{0, 1, 2}},
		{"after much else a large file may be cut near its front", []Extent{{0, 64*piece - 10}, {64*piece - 10, 36 * piece}}, 100, all,
			[]manifest.PieceIndex{0, 64}},
		{"after little it may not", []Extent{{0, 2*piece - 10}, {2*piece - 10, 30 * piece}}, 32, all, []manifest.PieceIndex{0}},
	} {
		bound := Bound(c.files, piece, c.pieces, c.front)
		var free []manifest.PieceIndex
		for i := range manifest.PieceIndex(c.pieces) {
			if !bound.Has(i) {
				free = append(free, i)
			}
		}
		if !slices.Equal(free, c.free) {
			t.Errorf("%s: runs can begin at %v, want %v", c.name, free, c.free)
		}
	}
}

// However files lie, reading a package run by run from a server without ranges costs three per cent at most.
func TestCutsCostLittle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieceLength := int64(64<<10) << rapid.IntRange(0, 6).Draw(t, "piece")
		var files []Extent
		length := int64(0)
		for _, n := range rapid.SliceOfN(rapid.Int64Range(0, 8<<20), 1, 200).Draw(t, "files") {
			files = append(files, Extent{length, n})
			length += n
		}
		pieces := int((length + pieceLength - 1) / pieceLength)
		bound := Bound(files, pieceLength, pieces, func(int) bool { return true })
		again := int64(0)
		for i := 1; i < pieces; i++ {
			at := int64(i) * pieceLength
			if bound.Has(manifest.PieceIndex(i)) {
				continue
			}
			for _, f := range files {
				if f.Offset < at && at < f.Offset+f.Length {
					again += at - f.Offset + min(f.Offset+f.Length-at, abandoned)
				}
			}
		}
		if again > length/worthCut {
			t.Errorf("%d of %d bytes are read for nothing", again, length)
		}
	})
}

// oneFile is a package of one file that can only be read from its front.
func oneFile(n int) Bitfield {
	b := missing(n)
	b.Clear(0)
	return b
}

func askFront(m string, stream int) Ask {
	a := ask(m, stream)
	a.Bound = oneFile(100)
	return a
}

// However many ask, one reads the file, and the others are told so at once though they don't know why.
func TestOneReaderForAFileWithoutRanges(t *testing.T) {
	s := NewSteward(4, 0, rand.IntN)
	s.Ask(noon, askFront("a", 0))
	for _, m := range []string{"b", "c", "d"} {
		s.Ask(noon, ask(m, 0))
	}
	var leases []Lease
	for _, a := range s.Decide(noon) {
		if a.Lease.Run.Len > 0 {
			leases = append(leases, a.Lease)
		}
	}
	if len(leases) != 1 || leases[0].Run != (Run{0, 100}) || !leases[0].Front {
		t.Fatalf("%+v, want the whole file for one", leases)
	}
}

// A reader that dies is followed by another, which begins at the front though the room has half of the file, and ends where
// nothing is missing any more.
func TestReaderIsTakenOver(t *testing.T) {
	for name, end := range map[string]func(s *Steward, l Lease) time.Time{
		"its death is known": func(s *Steward, l Lease) time.Time { s.Forget("a"); return noon },
		"it is silent":       func(*Steward, Lease) time.Time { return noon.Add(LeaseTerm) },
		"it gives up":        func(s *Steward, l Lease) time.Time { s.Release(noon, "a", l.ID, 50); return noon },
	} {
		s := NewSteward(4, 0, rand.IntN)
		s.Ask(noon, askFront("a", 0))
		l := s.Decide(noon)[0].Lease
		s.Reads(noon, "a", l.ID, 50)
		at := end(s, l)
		b := ask("b", 0)
		b.Eligible = NewBitfield(100)
		Run{50, 40}.Mark(b.Eligible)
		s.Ask(at, b)
		got := s.Decide(at)
		if len(got) != 1 || got[0].Lease.Run != (Run{0, 90}) || !got[0].Lease.Front {
			t.Errorf("%s: %+v, want 0-89 from the front", name, got)
		}
	}
}

// A lease for a whole file lives for as long as its reader gets on, and no longer.
func TestFrontLeaseLivesAsLongAsItGetsOn(t *testing.T) {
	s := NewSteward(4, 0, rand.IntN)
	s.Ask(noon, askFront("a", 0))
	l := s.Decide(noon)[0].Lease
	now := noon
	for read := range 100 {
		for range 20 {
			now = now.Add(LeaseTerm / 2)
			if !s.Renew(now, "a", l.ID) {
				t.Fatalf("ended after %v and %d pieces", now.Sub(noon), read)
			}
		}
		s.Reads(now, "a", l.ID, read+1)
	}
	for _, wrong := range []int{0, 99, 100, 101, -1} { // what it has said already is no progress
		s.Reads(now.Add(longestVisit), "a", l.ID, wrong)
	}
	end := now.Add(longestVisit)
	for ; now.Before(end); now = now.Add(LeaseTerm / 2) {
		s.Renew(now, "a", l.ID)
	}
	if s.Renew(now.Add(time.Millisecond), "a", l.ID) {
		t.Error("it is renewed for ever")
	}
}

// A whole file on a slow link would hold up the room: it gives way while another would be sooner at its end.
func TestSlowReaderOfAWholeFileGivesWay(t *testing.T) {
	for _, c := range []struct {
		read  int
		link  float64
		lives bool
	}{{10, 1e6, false}, {70, 1e6, false}, {80, 1e6, true}, {10, 3e6, true}} {
		s := NewSteward(4, 0, rand.IntN)
		s.Ask(noon, func() Ask { a := askFront("slow", 0); a.Link = c.link; return a }())
		l := s.Decide(noon)[0].Lease
		s.Reads(noon, "slow", l.ID, c.read)
		at := noon
		for ; at.Before(noon.Add(2 * linkKnown)); at = at.Add(LeaseTerm / 2) {
			fast := ask("fast", 0)
			fast.Link = 4e6
			s.Ask(at, fast)
			s.Decide(at)
			if !s.Renew(at, "slow", l.ID) {
				break
			}
		}
		if lives := !at.Before(noon.Add(2 * linkKnown)); lives != c.lives {
			t.Errorf("%d read at %v of 4e6: lives %v", c.read, c.link, lives)
		}
		if c.lives {
			continue
		}
		again := askFront("slow", 0)
		again.Link = c.link
		s.Ask(at, again)
		if got := s.Decide(at); len(got) != 1 || got[0].Lease.Run.Len != 0 {
			t.Errorf("the slow one is given the file again: %+v", got)
		}
	}
}

// Two parts of a site meet, each with a reader of the file: who has got further goes on.
func TestOfTwoReadersTheFurtherGoesOn(t *testing.T) {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		s := NewSteward(4, 0, rand.IntN)
		leases := []Lease{
			{ID: 900, Member: "behind", Package: pkg, Run: Run{0, 100}, Front: true, Read: 10},
			{ID: 901, Member: "ahead", Package: pkg, Run: Run{0, 100}, Front: true, Read: 20},
		}
		for range 2 { // reports come again
			for _, k := range order {
				s.Adopt(noon, leases[k], 100)
			}
		}
		if s.Renew(noon, "behind", 900) || !s.Renew(noon, "ahead", 901) {
			t.Errorf("%v: the wrong one goes on", order)
		}
		s.Ask(noon, ask("c", 0))
		if got := s.Decide(noon); len(got) != 1 || got[0].Lease.Run.Len != 0 {
			t.Errorf("a third reads beside it: %+v", got)
		}
	}
}

// What a living member has read is not read again from the front, unless nothing comes to the asker from anybody.
func TestReadFilesAreReadAgainOnlyByTheStalled(t *testing.T) {
	s := NewSteward(4, 0, rand.IntN)
	s.Ask(noon, askFront("a", 0))
	l := s.Decide(noon)[0].Lease
	s.Release(noon, "a", l.ID, 100)
	later := noon.Add(2 * justFetched)
	s.Ask(later, askFront("b", 0))
	if got := s.Decide(later); len(got) != 1 || got[0].Lease.Run.Len != 0 {
		t.Errorf("read again: %+v", got)
	}
	stalled := askFront("b", 0)
	stalled.Again = true
	s.Ask(later, stalled)
	if got := s.Decide(later); len(got) != 1 || got[0].Lease.Run != (Run{0, 100}) {
		t.Errorf("a stalled machine gets nothing: %+v", got)
	}
}

// Whatever is asked, reported and forgotten, no two leases are out for one file, and no more than there are connections.
func TestNoTwoReadersOfABoundFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const pieces, connections = 60, 3
		bound := NewBitfield(pieces)
		for i := range pieces {
			if i > 0 && rapid.IntRange(0, 9).Draw(t, "cut") > 0 {
				bound.Set(manifest.PieceIndex(i))
			}
		}
		s := NewSteward(connections, 0, rand.IntN)
		now := noon
		held := map[LeaseID]Lease{}
		members := []MemberID{"a", "b", "c", "d"}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "ms")) * time.Millisecond)
			m := members[rapid.IntRange(0, 3).Draw(t, "member")]
			a := Ask{Member: m, Stream: rapid.IntRange(0, 1).Draw(t, "stream"), Package: pkg, Eligible: missing(pieces), After: pieces,
				Limit: rapid.IntRange(1, 8).Draw(t, "limit"), Bound: bound, Again: rapid.Bool().Draw(t, "again")}
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				s.Forget(m)
			case 1:
				for id, l := range held {
					if l.Member == m {
						s.Release(now, m, id, l.Run.First+manifest.PieceIndex(rapid.IntRange(0, l.Run.Len).Draw(t, "read")))
						break
					}
				}
			case 2:
				for id, l := range held {
					s.Reads(now, l.Member, id, rapid.IntRange(0, l.Run.Len).Draw(t, "read"))
					s.Renew(now, l.Member, id)
				}
			default:
				s.Ask(now, a)
			}
			for _, a := range s.Decide(now) {
				if a.Lease.Run.Len > 0 {
					held[a.Lease.ID] = a.Lease
				}
			}
			s.expire(now)
			seen := NewBitfield(pieces)
			for id := range held {
				if h := s.leases[id]; h == nil {
					delete(held, id)
				} else {
					for i := range manifest.PieceIndex(pieces) {
						w := bound.whole(h.Run)
						if i >= w.First && int(i-w.First) < w.Len {
							if seen.Has(i) {
								t.Fatalf("two leases for the file of piece %d", i)
							}
							seen.Set(i)
						}
					}
				}
			}
			if len(s.leases) > connections {
				t.Fatalf("%d leases", len(s.leases))
			}
		}
	})
}

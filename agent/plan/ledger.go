package plan

import (
	"time"

	"handout/manifest"
)

// ledger is what a steward remembers of one package.
type ledger struct {
	used     time.Time
	given    Bitfield               // leased or just fetched
	readings []reading              // by members that live, in the order in which they ended
	settled  int                    // so many of readings ended longer than justFetched ago
	around   Bitfield               // of readings
	bound    Bitfield               // pieces that can't begin a run, as askers found; no pieces: nobody has found any
	had      map[MemberID]int       // pieces granted so far
	since    map[MemberID]time.Time // when who asks did first; zero: so long ago that its link is known
	fastest  float64                // the best link of those who asked lately
	asked    time.Time              // when one did whose link is about as good
}

// reading is what a member has read of a lease.
type reading struct {
	Run
	by    MemberID
	ended time.Time
}

// ledger is what is remembered of a package; nil where its number of pieces is another, or where there are too many.
func (s *Steward) ledger(now time.Time, p manifest.InfoHash, pieces int) *ledger {
	b := s.packages[p]
	switch {
	case b == nil && len(s.packages) < maxPackages:
		b = &ledger{given: NewBitfield(pieces), around: NewBitfield(pieces), had: map[MemberID]int{}, since: map[MemberID]time.Time{}}
		s.packages[p] = b
	case b == nil || b.given.Len() != pieces:
		return nil
	}
	b.used = now
	return b
}

// fetched notes what was read of a lease, whose reading ended before piece after, and gives the rest back.
func (s *Steward) fetched(now time.Time, h *held, after manifest.PieceIndex) {
	r, b := h.Run, s.packages[h.Package]
	if r.Len == 0 || !r.endsAt(after) {
		if h.before.endsAt(after) {
			b.unread(h, after)
		}
		after = r.First // this one never began
	}
	r.Len = int(after - r.First)
	h.Run = Run{First: after, Len: h.Run.Len - r.Len}
	s.lose(h)
	if r.Len == 0 {
		return
	}
	h.before = r
	if len(b.readings) >= maxReadings {
		b.forget(func(i int, _ reading) bool { return i < maxReadings/2 })
	}
	b.readings = append(b.readings, reading{r, h.Member, now})
	r.Mark(b.around)
}

// unread takes back what was noted of the run before the lease's present one: whoever asked for more while it was still
// reading that one has been cut short.
func (b *ledger) unread(h *held, after manifest.PieceIndex) {
	for i := len(b.readings) - 1; i >= b.settled; i-- {
		if r := &b.readings[i]; r.by == h.Member && r.Run == h.before {
			read := int(after - r.First)
			rest := Run{First: after, Len: r.Len - read}
			rest.Unmark(b.given)
			rest.Unmark(b.around)
			r.Len = read
			h.before = r.Run
			return
		}
	}
}

// forget drops readings; what was just fetched by them may be given again.
func (b *ledger) forget(gone func(i int, r reading) bool) {
	kept, settled := b.readings[:0], 0
	for i, r := range b.readings {
		switch {
		case gone(i, r):
			if i >= b.settled {
				r.Unmark(b.given)
			}
			continue
		case i < b.settled:
			settled++
		}
		kept = append(kept, r)
	}
	if len(kept) == len(b.readings) {
		return
	}
	clear(b.readings[len(kept):])
	b.readings, b.settled, b.around = kept, settled, NewBitfield(b.around.Len())
	for _, r := range b.readings {
		r.Mark(b.around)
	}
}

// lose gives the pieces of a lease that were not read back. Among those of a run from the front may be some that others have
// just read.
func (s *Steward) lose(h *held) {
	b := s.packages[h.Package]
	h.Run.Unmark(b.given)
	for _, r := range b.readings[b.settled:] {
		if h.Front && r.meets(h.Run) {
			r.Mark(b.given)
		}
	}
}

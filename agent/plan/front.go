package plan

import (
	"time"

	"handout/manifest"
)

// Some servers give a file only from its front: they do not serve ranges. Two readers in one such file would each read its
// first part, so the pieces in it are bound to each other: they make one run, of one reader, under one lease.

// Extent is where a file lies in a package, in bytes.
type Extent struct{ Offset, Length int64 }

const (
	// abandoned is about what a server has sent of a file beyond what was read of it, when the reading ends within it.
	abandoned = 128 << 10
	// worthCut is how many bytes of a run one byte may be read for nothing at a cut: three per cent.
	worthCut = 32
)

// Bound returns the pieces that can't begin a run, since the file that goes on in them would be read from its front again.
// A cut within a file is allowed where it costs little beside the run before it: near the front of the file, or after many
// small files. Files come in the order in which they lie; front says which can only be read from their front. All machines
// that ask alike work it out alike.
func Bound(files []Extent, pieceLength int64, pieces int, front func(file int) bool) Bitfield {
	b := NewBitfield(pieces)
	began, f := int64(0), 0 // where the run began; the first file that may go past the cut
	for i := 1; i < pieces; i++ {
		at := int64(i) * pieceLength
		for f < len(files) && files[f].Offset+files[f].Length <= at {
			f++
		}
		if f < len(files) && files[f].Offset < at && front(f) {
			end := files[f].Offset + files[f].Length
			if cost := at - files[f].Offset + min(end-at, abandoned); cost*worthCut > at-began {
				b.Set(manifest.PieceIndex(i))
				continue
			}
		}
		began = at
	}
	return b
}

// whole is r with all that its pieces are bound to.
func (b Bitfield) whole(r Run) Run {
	if r.Len == 0 {
		return r
	}
	for r.First > 0 && b.Has(r.First) {
		r.First--
		r.Len++
	}
	for b.Has(r.First + manifest.PieceIndex(r.Len)) {
		r.Len++
	}
	return r
}

// bind notes that pieces are bound, as an asker has found.
func (b *ledger) bind(pieces Bitfield) {
	if pieces.Len() != b.given.Len() {
		return
	}
	if b.bound.Len() == 0 {
		b.bound = NewBitfield(pieces.Len())
	}
	b.bound.Or(pieces)
}

// taken are the pieces of the runs that members hold, with all that these are bound to.
func (s *Steward) taken(p manifest.InfoHash) Bitfield {
	b := s.packages[p]
	t := NewBitfield(b.given.Len())
	for _, h := range s.leases {
		if h.Package == p {
			b.bound.whole(h.Run).Mark(t)
		}
	}
	return t
}

// nextWhole is NextRun where pieces are bound: nothing that is bound to a run somebody reads, nothing that a living member
// has read unless the asker gets it from nobody, and from the first piece of the file to the last that is free, those
// between them included. A machine with a slow link gets none while a faster one asks: who reads a whole file sets the
// room's pace.
func (s *Steward) nextWhole(a Ask, free Bitfield, limit int) (r Run, front bool) {
	b := s.packages[a.Package]
	free.Without(s.taken(a.Package))
	if !a.Again {
		free.Without(b.around)
	}
	r = NextRun(free, a.After, limit, s.random)
	w := b.bound.whole(r)
	for i := w.First + 1; i < w.First+manifest.PieceIndex(w.Len); i++ {
		front = front || b.bound.Has(i)
	}
	if !front {
		return r, false
	}
	if s.slow(a) {
		return Run{}, false
	}
	for !free.Has(w.First + manifest.PieceIndex(w.Len) - 1) {
		w.Len--
	}
	return w, true
}

// Reads notes how many pieces of a run from the front its holder has passed: it may be renewed for as long as it gets on.
func (s *Steward) Reads(now time.Time, m MemberID, id LeaseID, read int) {
	h := s.leases[id]
	if h != nil && h.Member == m && h.Front && read > h.Read && read <= h.Run.Len {
		h.Read, h.granted = read, now
	}
}

// outrun reports whether a member with a faster link that asks would have read all of a run from the front before its holder
// has read the rest.
func (s *Steward) outrun(h *held) bool {
	fastest := s.packages[h.Package].fastest
	return h.Link > 0 && 2*h.Link < fastest && float64(h.Run.Len-h.Read)*fastest > float64(h.Run.Len)*h.Link
}

// yields reports whether lease l must give way to another that is out, or ends that one: both would read one file, as after
// two parts of a site have met. Who reads from the front goes before who does not, and who has got further before the other.
func (s *Steward) yields(l Lease) bool {
	mine := s.packages[l.Package].bound.whole(l.Run)
	for id, h := range s.leases {
		if h.Package != l.Package || h.Run.Len == 0 || !mine.meets(s.packages[l.Package].bound.whole(h.Run)) {
			continue
		}
		if l.Front && (!h.Front || h.reached() < l.reached()) {
			s.lose(h)
			delete(s.leases, id)
			continue
		}
		return true
	}
	return false
}

// reached is the piece that the holder of a lease from the front reads.
func (l Lease) reached() manifest.PieceIndex { return l.Run.First + manifest.PieceIndex(l.Read) }

// meets reports whether two runs share a piece.
func (r Run) meets(o Run) bool {
	return int64(r.First) < int64(o.First)+int64(o.Len) && int64(o.First) < int64(r.First)+int64(r.Len)
}

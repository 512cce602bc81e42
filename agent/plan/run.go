package plan

import (
	"time"

	"handout/manifest"
)

// Run is a stretch of pieces that is read from the origin in one go, on one connection.
type Run struct {
	First manifest.PieceIndex
	Len   int // pieces; 0: no run
}

// Mark sets the run's pieces.
func (r Run) Mark(b Bitfield) {
	for k := range r.Len {
		b.Set(r.First + manifest.PieceIndex(k))
	}
}

// Unmark clears them.
func (r Run) Unmark(b Bitfield) {
	for k := range r.Len {
		b.Clear(r.First + manifest.PieceIndex(k))
	}
}

// endsAt reports whether reading the run can have ended before piece after.
func (r Run) endsAt(after manifest.PieceIndex) bool {
	return after >= r.First && int64(after)-int64(r.First) <= int64(r.Len)
}

// Eligible returns the pieces that may be read from the origin: missing here, not on their way, and held by no
// incomplete neighbour, for it will pass them on. What a mute neighbour holds or was asked for does not count. A stalled
// machine may read whatever is missing and not being read already.
func Eligible(v View, stalled bool) Bitfield {
	e := NewBitfield(v.Have.Len())
	e.SetAll()
	e.Without(v.Have)
	e.Without(v.Reading)
	if stalled {
		return e
	}
	e.Without(v.Requested)
	for _, n := range v.Neighbours {
		if !n.Complete && !n.Mute {
			e.Without(n.Have)
		}
	}
	return e
}

// NextRun picks what to read next: the continuation of the run that ended before next, so that one connection reads
// long stretches, or else a stretch around a random eligible piece, so that machines which cannot talk do not move in
// step. It leaves nothing shorter than itself before it: crumbs would be read one by one at the end. Random returns a
// number in [0, n). The run is at most limit pieces; Len 0 means nothing is eligible.
func NextRun(eligible Bitfield, next manifest.PieceIndex, limit int, random func(n int) int) Run {
	start := next
	if !eligible.Has(next) {
		n := eligible.Count()
		if n == 0 {
			return Run{}
		}
		skip := random(n)
		for i := range eligible.All {
			if skip == 0 {
				start = i
				break
			}
			skip--
		}
		first := start
		for first > 0 && eligible.Has(first-1) && int(start-first) < limit {
			first--
		}
		if int(start-first) < limit {
			start = first
		}
	}
	r := Run{First: start, Len: 1}
	for r.Len < limit && eligible.Has(start+manifest.PieceIndex(r.Len)) {
		r.Len++
	}
	return r
}

const (
	runTime = time.Second
	// maxRunBytes bounds what a cut connection can lose; below minRunBytes a request costs more than it brings.
	maxRunBytes = 32 << 20
	minRunBytes = 256 << 10
)

// RunLimit sizes a run in time: about a second of one connection's rate (bytes per second). A machine that may read the
// origin only since a moment, as it has just met nobody or a seed seems slow, may know better in another moment: its runs
// are no longer than it has been allowed to.
func RunLimit(pieceLength int64, connectionRate float64, allowed time.Duration) int {
	bytes := connectionRate * min(allowed, runTime).Seconds()
	if allowed >= runTime {
		bytes = max(minRunBytes, min(bytes, maxRunBytes))
	}
	return max(1, int(min(bytes, maxRunBytes)/float64(pieceLength)))
}

package swarm

import (
	"math/rand/v2"
	"time"

	"github.com/anacrolix/torrent"

	"handout/agent/plan"
	"handout/manifest"
)

// The engine is told to ask for a piece only while it is lacking, not reserved, and some neighbour has it. It goes through
// all that it was told of at every HAVE of every neighbour, with its lock held: told of a whole package at once, sixteen
// machines spent a quarter of their time on pieces that nobody had yet.

// Reserve keeps the neighbours from being asked for the pieces of r and returns how many of its first pieces are free to
// be read elsewhere. The engine cancels nothing that it asked for already, so the run ends before such a piece.
func (t *Torrent) Reserve(r plan.Run) plan.Run {
	t.wants.Lock()
	for k := range r.Len {
		i := r.First + manifest.PieceIndex(k)
		t.reserved.Set(i)
		t.want(i)
	}
	t.light()
	t.wants.Unlock()
	n, now := 0, time.Now()
	t.mu.Lock()
	for n < r.Len && !t.isRequested(r.First+manifest.PieceIndex(n), now) {
		n++
	}
	t.mu.Unlock()
	t.Release(plan.Run{First: r.First + manifest.PieceIndex(n), Len: r.Len - n})
	return plan.Run{First: r.First, Len: n}
}

// Release lets the neighbours be asked for the pieces of r that are still lacking.
func (t *Torrent) Release(r plan.Run) {
	t.wants.Lock()
	defer t.wants.Unlock()
	for k := range r.Len {
		i := r.First + manifest.PieceIndex(k)
		t.reserved.Clear(i)
		t.want(i)
	}
}

// want tells the engine how much a piece is wanted. The caller holds wants.
func (t *Torrent) want(i manifest.PieceIndex) {
	priority := torrent.PiecePriorityNone
	switch {
	case t.reserved.Has(i) || !t.pieces.Lacks(i):
	case t.ahead.Has(i):
		priority = torrent.PiecePriorityHigh
	case t.isOffered(i) || i == t.beacon:
		priority = torrent.PiecePriorityNormal
	}
	if priority == torrent.PiecePriorityNone {
		t.wanted.Clear(i)
	} else {
		t.wanted.Set(i)
	}
	t.t.Piece(int(i)).SetPriority(priority)
}

func (t *Torrent) isOffered(i manifest.PieceIndex) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.offered.Has(i)
}

// light keeps one piece wanted whether or not somebody has it: an engine that has nothing and wants nothing connects to
// nobody. The caller holds wants.
func (t *Torrent) light() {
	if t.wanted.Count() > 0 {
		return
	}
	for i := range manifest.PieceIndex(t.m.NumPieces()) {
		if t.pieces.Lacks(i) && !t.reserved.Has(i) {
			t.beacon = i
			t.want(i)
			return
		}
	}
}

// offer notes that a neighbour has pieces. It runs under the engine's lock and with mu held; the engine is told a moment
// later.
func (t *Torrent) offer(pieces plan.Bitfield) {
	fresh := pieces.Clone()
	fresh.Without(t.offered)
	if fresh.Count() == 0 {
		return
	}
	t.offered.Or(fresh)
	go func() {
		t.wants.Lock()
		defer t.wants.Unlock()
		t.wantAll(fresh)
	}()
}

// wantAll is want for many pieces that may be lacking: a stretch of them at a time. The caller holds wants.
func (t *Torrent) wantAll(pieces plan.Bitfield) {
	n := manifest.PieceIndex(pieces.Len())
	for i := manifest.PieceIndex(0); i < n; i++ {
		first := i
		for i < n && pieces.Has(i) && !t.wanted.Has(i) && !t.reserved.Has(i) && t.pieces.Lacks(i) {
			t.wanted.Set(i)
			i++
		}
		if first < i {
			t.t.DownloadPieces(int(first), int(i))
		}
	}
}

// withhold keeps the engine from asking again for a piece that is here and can't be offered: to it that is incomplete.
func (t *Torrent) withhold(i manifest.PieceIndex) {
	if !t.pieces.Lacks(i) && !t.pieces.Has(i) {
		t.t.Piece(int(i)).SetPriority(torrent.PiecePriorityNone)
	}
}

// aheadTime is how much of what comes from seeds is chosen ahead: until the next look they are asked for nothing else.
const aheadTime = 100 * time.Millisecond

// Choose has seeds asked for pieces that other machines are not likely to ask for at the same time, and nobody for what
// has arrived.
func (t *Torrent) Choose(v plan.View) {
	n := t.inFlight()
	t.wants.Lock()
	defer t.wants.Unlock()
	before := t.ahead
	t.ahead = plan.Ahead(v, before, n, rand.IntN)
	for i := range t.wanted.Clone().All {
		if v.Have.Has(i) {
			t.want(i)
		}
	}
	changed := t.ahead.Clone()
	changed.Or(before)
	for i := range changed.All {
		if before.Has(i) != t.ahead.Has(i) {
			t.want(i)
		}
	}
	t.light()
	t.remind(v)
}

const (
	// lastPieces are so few that it costs nothing to look at them again and again.
	lastPieces  = 32
	remindEvery = 500 * time.Millisecond
)

// remind has the engine look again whom to ask for the last pieces. It looks when something comes, and only then asks another
// for what was on order for stealGrace: where all that is left was asked of slow neighbours, or of one that is gone, nothing
// does. The caller holds wants.
func (t *Torrent) remind(v plan.View) {
	now := time.Now()
	if v.Have.Len()-v.Have.Count() > lastPieces || now.Sub(t.reminded) < remindEvery {
		return
	}
	t.reminded = now
	for i := range t.wanted.Clone().All {
		t.t.Piece(int(i)).SetPriority(torrent.PiecePriorityNone)
		t.want(i)
	}
}

// inFlight is how many pieces seeds are asked for at a time, and will be asked for until the next look.
func (t *Torrent) inFlight() int {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	seeds, rate := 0, 0.0
	for _, n := range t.neighbours {
		if n.have.Full() && !n.mute(now) {
			seeds++
			rate += n.rate.PerSecond(now)
		}
	}
	each := t.order(now) / int64(max(1, len(t.neighbours)))
	return seeds*(1+int(each/t.m.PieceLength)) + int(rate*aheadTime.Seconds()/float64(t.m.PieceLength))
}

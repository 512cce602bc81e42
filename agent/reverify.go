package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"handout/agent/store"
	"handout/manifest"
)

// Verify says how what a machine holds is read again, to find what the disk lost. The zero value is off.
type Verify struct {
	BytesPerSec int64         // 0: nothing is read but what is asked for
	Period      time.Duration // each package once in this time
}

const (
	// verifyLook is how often it is asked whether something is to be read again, or mended.
	verifyLook = 5 * time.Second
	// progressEvery is how often it is recorded how far a round has come: it survives a restart.
	progressEvery = time.Minute
	// mendAgain is when a package that could not be mended is tried again.
	mendAgain = 5 * time.Minute
)

var errDamaged = errors.New("files are not what they were: what is wrong is fetched again")

// round is how far a package has been read again.
type round struct {
	known bool // last and next were read from the record
	last  time.Time
	next  manifest.PieceIndex
	saved time.Time
}

// reverify reads again what is held, slowly and only while nothing is fetched, and has mended what is wrong, until ctx ends.
func (a *Agent) reverify(ctx context.Context) {
	var broken []*held // could not be mended
	var tried time.Time
	for ctx.Err() == nil {
		if len(broken) == 0 || time.Since(tried) > mendAgain {
			if all := append(broken, a.damaged()...); len(all) > 0 {
				broken, tried = a.mend(ctx, all), time.Now()
			}
		}
		h, i, ok := a.nextToCheck(time.Now())
		wait := verifyLook
		if ok {
			began := time.Now()
			a.recheck(h, i)
			wait = time.Duration(float64(h.m.PieceSize(i))/float64(a.c.Verify.BytesPerSec)*float64(time.Second)) - time.Since(began)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	a.saveRounds()
}

// nextToCheck is the piece to be read again now; false: none.
func (a *Agent) nextToCheck(now time.Time) (h *held, i manifest.PieceIndex, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	busy := slices.ContainsFunc(a.held, func(h *held) bool { return !h.complete() })
	if busy || a.closed || a.c.Verify.BytesPerSec == 0 {
		return nil, 0, false
	}
	for _, h := range a.held {
		if i, doubtful := h.tree.Doubtful(); doubtful {
			return h, i, true
		}
	}
	for _, h := range a.held {
		if !h.round.known {
			h.round.last, h.round.next = h.tree.Checked()
			h.round.known, h.round.saved = true, now
			// Never means when it was published; a time to come is of a clock that was wrong.
			if h.round.last.IsZero() || h.round.last.After(now) {
				h.round.last = now
				a.saveRound(h)
			}
		}
		if n := h.m.NumPieces(); n > 0 && now.Sub(h.round.last) >= a.c.Verify.Period {
			return h, h.round.next, true
		}
	}
	return nil, 0, false
}

func (a *Agent) recheck(h *held, i manifest.PieceIndex) {
	_, doubtful := h.tree.Doubtful()
	ok, err := h.tree.Recheck(i)
	switch {
	case errors.Is(err, store.ErrClosed):
		return
	case err != nil:
		a.log.Warn("a piece can't be checked", "package", h.m.Name, "dest", h.dest, "piece", i, "error", err)
	case !ok:
		a.log.Warn("a piece is not what it was", "package", h.m.Name, "dest", h.dest, "piece", i)
	}
	if doubtful {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if h.round.next++; int(h.round.next) >= h.m.NumPieces() {
		h.round.last, h.round.next = now, 0
	}
	if h.round.next == 0 || now.Sub(h.round.saved) >= progressEvery {
		h.round.saved = now
		a.saveRound(h)
	}
}

func (a *Agent) saveRounds() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.held {
		if h.round.next > 0 {
			a.saveRound(h)
		}
	}
}

func (a *Agent) saveRound(h *held) {
	if err := h.tree.SetChecked(h.round.last, h.round.next); err != nil {
		a.log.Warn("it is not recorded how far a package was checked", "dest", h.dest, "error", err)
	}
}

// damaged are the packages of which something was found to be wrong.
func (a *Agent) damaged() (all []*held) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.held {
		if h.complete() && h.tree.Damaged() {
			all = append(all, h)
		}
	}
	return all
}

// mend fetches what is wrong again, and returns the packages of which it could not.
func (a *Agent) mend(ctx context.Context, damaged []*held) (still []*held) {
	for _, h := range damaged {
		a.log.Warn("package is damaged: what is wrong is fetched again", "package", h.m.Name, "dest", h.dest)
		a.Trouble(h.dest, errDamaged)
		o := h.fetched
		o.Keep, o.Repair = o.Only == nil, true
		if _, err := a.Fetch(ctx, h.m, h.dest, o); err != nil {
			if ctx.Err() == nil {
				a.log.Warn("package could not be mended", "dest", h.dest, "error", err, "again_in", mendAgain.String())
			}
			still = append(still, h)
			continue
		}
		a.Trouble(h.dest, nil)
		if !h.wanted {
			if err := a.Unwant(h.dest); err != nil {
				a.log.Warn("package stays wanted", "dest", h.dest, "error", err)
			}
		}
	}
	return still
}

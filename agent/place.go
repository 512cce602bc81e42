package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"handout/agent/plan"
	"handout/manifest"
	"handout/sources"
	"handout/sources/origin"
)

// place is one origin of a package and what this machine learnt of it, shared by all its connections.
type place struct {
	name string                                         // for people
	open func(came func(n int)) (sources.Origin, error) // came hears of bytes: of a stream's as they come, of a range's before

	mu       sync.Mutex
	lacks    map[manifest.PieceIndex]bool // pieces that can't be had here
	tries    map[manifest.PieceIndex]int  // how often a piece came wrong
	until    time.Time                    // left alone until then
	failures int                          // in a row
	bad      int                          // pieces in a row that it could not bring, or brought wrong
	differs  int                          // pieces in a row that are not what the manifest says, or are no more
	said     int                          // how many of those were logged as warnings
	good     bool                         // it has brought something
	last     error                        // why it did not bring more
	wrong    []string                     // files it served wrong bytes of
	absent   absences                     // files it lacks
	fronts   fronts
	probing  sync.Mutex // held while the server is asked whether it serves ranges; before mu
	doubt    string     // what it found odd about one of them; "": nothing
}

const (
	firstPause   = 500 * time.Millisecond
	longestPause = 20 * time.Second
	// manyBad pieces in a row, and the place is left alone for a while: a wrong tree is not read to its end.
	manyBad = 8
	// maxWarnings about single pieces of one place; a share that was cleared out would fill the log.
	maxWarnings = 5
	// secondTry tells a bit that flipped on the way from a file that differs.
	secondTry = 2
	// maxNamed bounds the files that are named in an error.
	maxNamed = 5
)

// oneBreak bridges a single connection that broke; for more the place is left alone by all connections.
var oneBreak = sources.RetryPolicy{Attempts: 2, First: 200 * time.Millisecond, Patience: time.Second}

// openPlaces makes the places of a package. A URL nobody can read is an error only where no other is left.
func openPlaces(urls []string, options origin.Options, pace *pacer, log *slog.Logger) ([]*place, error) {
	var places []*place
	var errs []error
	for _, u := range urls {
		open := func(came func(n int)) (sources.Origin, error) {
			o, err := origin.Open(u, options)
			if err != nil {
				return nil, err
			}
			once := oneBreak
			once.Told = func(err error) {
				log.Info("origin can't be read now: it is asked once more", "origin", o.String(), "error", err)
			}
			return sources.Limit(sources.Retry(o, once), func(ctx context.Context, n int) error {
				came(n)
				return pace.wait(ctx, n)
			}), nil
		}
		o, err := open(func(int) {})
		if err != nil {
			errs = append(errs, err)
			log.Warn("origin is left out", "error", err)
			continue
		}
		places = append(places, &place{
			name: o.String(), open: open,
			lacks: map[manifest.PieceIndex]bool{}, tries: map[manifest.PieceIndex]int{},
		})
		o.Close()
	}
	if len(places) == 0 && len(errs) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrNoSource, errors.Join(errs...))
	}
	return places, nil
}

func (p *place) usable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().After(p.until)
}

func (p *place) worked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.good
}

// failing reports whether the last thing tried here failed.
func (p *place) failing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failures > 0
}

// isOutOfReach reports whether there was no way to it when it was last tried, and it has brought nothing.
func (p *place) isOutOfReach() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.good && p.failures > 0 && isNoNetwork(p.last)
}

// tryAgain ends a pause: the network has changed.
func (p *place) tryAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failures > 0 {
		p.failures, p.until = 1, time.Time{}
	}
}

// useless reports whether everything that was tried here so far is not to be had, or whether the tree was changed
// meanwhile.
func (p *place) useless() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.good && p.bad >= manyBad || p.differs >= manyBad
}

// well notes that a piece came and was right.
func (p *place) well() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good, p.failures, p.bad, p.differs = true, 0, 0, 0
}

// pause leaves the place alone: for as long as it asked, or twice as long as the last time, never in step with others.
func (p *place) pause(err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pauseLocked(err)
}

func (p *place) pauseLocked(err error) time.Duration {
	asked, _ := sources.Retryable(err)
	wait := min(firstPause<<min(p.failures, 10), longestPause)
	wait = max(asked, wait/2+rand.N(wait))
	p.failures++
	p.last = err
	p.until = time.Now().Add(wait)
	return wait
}

// lack notes that piece i can't be had here.
func (p *place) lack(i manifest.PieceIndex, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lacks[i] = true
	p.disappoint(err)
}

func (p *place) isLacking(i manifest.PieceIndex) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lacks[i]
}

// disappoint counts a piece that did not come as it should.
func (p *place) disappoint(err error) {
	p.last = err
	if _, corrupt := errors.AsType[*sources.Corrupt](err); corrupt || errors.Is(err, sources.ErrChanged) {
		p.differs++
	}
	if p.bad++; p.bad >= manyBad {
		p.pauseLocked(err)
	}
}

// level is how loudly one more piece that could not be had is logged.
func (p *place) level() slog.Level {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said++; p.said > maxWarnings {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// spoil notes that piece i came wrong. It is asked for once more before the place is held to lack it.
func (p *place) spoil(i manifest.PieceIndex, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disappoint(err)
	if p.tries[i]++; p.tries[i] < secondTry {
		return
	}
	p.lacks[i] = true
	if c, ok := errors.AsType[*sources.Corrupt](err); ok {
		p.doubt = cmp.Or(p.doubt, c.Doubt)
		for _, f := range c.Files {
			if len(p.wrong) < maxNamed && !slices.Contains(p.wrong, f) {
				p.wrong = append(p.wrong, f)
			}
		}
	}
}

// trouble is why the place does not bring what is missing.
func (p *place) trouble() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	wrong, doubt := p.wrong, p.doubt
	if c, ok := errors.AsType[*sources.Corrupt](p.last); ok && len(wrong) == 0 {
		wrong, doubt = c.Files[:min(len(c.Files), maxNamed)], c.Doubt
	}
	switch {
	case len(wrong) > 0 && doubt != "":
		return fmt.Errorf("%w: %s serves other bytes of %s: %s", ErrOriginCorrupt, p.name, strings.Join(wrong, ", "), doubt)
	case len(wrong) > 0:
		return fmt.Errorf("%w: %s serves other bytes of %s", ErrOriginCorrupt, p.name, strings.Join(wrong, ", "))
	case errors.Is(p.last, sources.ErrChanged):
		return fmt.Errorf("%w: %w", ErrOriginCorrupt, p.last)
	case errors.Is(p.last, sources.ErrMissing):
		return cmp.Or(p.absent.err(p.name), p.last)
	}
	return p.last
}

// placeFor is the best place that piece i can be had from now, or nil.
func (d *download) placeFor(i manifest.PieceIndex) *place {
	for _, p := range d.places {
		p.mu.Lock()
		ok := !p.lacks[i] && time.Now().After(p.until)
		p.mu.Unlock()
		if ok {
			return p
		}
	}
	return nil
}

// unavailable are the pieces that no place can bring now.
func (d *download) unavailable() plan.Bitfield { return d.without(true) }

// lost are the pieces that no place can bring, however long one waits.
func (d *download) lost() plan.Bitfield { return d.without(false) }

func (d *download) without(paused bool) plan.Bitfield {
	none := plan.NewBitfield(d.m.NumPieces())
	none.SetAll()
	now := time.Now()
	for _, p := range d.places {
		p.mu.Lock()
		if !paused || now.After(p.until) {
			here := plan.NewBitfield(none.Len())
			for i := range p.lacks {
				here.Set(i)
			}
			there := none.Clone()
			there.Without(here)
			none.Without(there)
		}
		p.mu.Unlock()
	}
	return none
}

// trouble is the error to end with where no origin brings what is missing: what each has to say.
func (d *download) trouble() error {
	var all []error
	corrupt := false
	for _, p := range d.places {
		if err := p.trouble(); err != nil {
			all = append(all, err)
			corrupt = corrupt || errors.Is(err, ErrOriginCorrupt)
		}
	}
	switch {
	case len(all) == 0:
		return nil
	case corrupt:
		return errors.Join(all...)
	}
	return fmt.Errorf("%w: %w", ErrNoSource, errors.Join(all...))
}

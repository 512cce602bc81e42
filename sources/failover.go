package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"handout/sources/internal/door"
)

// Failover is one origin out of several that hold the same package, best first. A file that one doesn't have is asked of
// the next. One that can't now is left alone for a while, longer each time in a row and at least as long as it asked;
// one that fails otherwise is tried last for that while. After a move it stays where it could read, then returns to the
// best.
//
// Like every Origin it has at most one connection: before it reads from another of them, the reads from the present one
// end and that one is closed. The origins, at least one, must be used by nobody else.
func Failover(origins ...Origin) Origin {
	if len(origins) == 1 {
		return origins[0]
	}
	f := &failover{origins: origins, state: make([]asideState, len(origins))}
	f.door = &door.Door{Room: math.MaxInt, Moved: f.leave}
	return f
}

const (
	minAside = 5 * time.Second
	maxAside = 5 * time.Minute
	stay     = 30 * time.Second // at an origin that isn't the best, before the best is asked again
)

type failover struct {
	origins []Origin
	door    *door.Door // places are indexes of origins

	mu      sync.Mutex
	state   []asideState
	current int       // where the last read succeeded
	until   time.Time // how long current comes first
	closes  int       // how often Close was called
}

// asideState is why and how long one of the origins is not the first choice.
type asideState struct {
	until  time.Time
	failed int   // times in a row
	err    error // the last of them
	barred bool  // not to be asked before until; otherwise only asked last
}

func (f *failover) leave(from string) {
	if i, err := strconv.Atoi(from); err == nil {
		f.origins[i].Close()
	}
}

// ReadRange implements Origin.
func (f *failover) ReadRange(ctx context.Context, path string, off int64, p []byte) error {
	i, err := f.enter(ctx, path, off, func(o Origin) error { return o.ReadRange(ctx, path, off, p) })
	if err == nil {
		f.door.Leave()
		f.worked(i)
	}
	return err
}

// Stream implements Streamer. An origin that fails in mid-stream is put aside, so that the next attempt goes elsewhere.
func (f *failover) Stream(ctx context.Context, path string, off, n int64) (io.ReadCloser, error) {
	var s io.ReadCloser
	i, err := f.enter(ctx, path, off, func(o Origin) (err error) {
		s, err = Stream(ctx, o, path, off, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &failoverStream{ReadCloser: s, f: f, i: i, ctx: ctx}, nil
}

type failoverStream struct {
	io.ReadCloser
	f    *failover
	i    int
	ctx  context.Context
	bad  bool
	over bool
}

func (s *failoverStream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF && s.ctx.Err() == nil && !errors.Is(err, ErrClosed) && !s.bad {
		s.bad = true
		s.f.setAside(s.i, err)
	}
	return n, err
}

func (s *failoverStream) Close() error {
	err := s.ReadCloser.Close()
	if !s.over {
		s.over = true
		s.f.door.Leave()
		if !s.bad {
			s.f.worked(s.i)
		}
	}
	return err
}

// enter does read at the first of the origins where it succeeds and says which that is; the caller then owes a Leave.
func (f *failover) enter(ctx context.Context, path string, off int64, read func(Origin) error) (int, error) {
	var errs []error
	tried := make([]bool, len(f.origins))
	closes := f.closed()
	for {
		i, ok := f.pick(tried)
		if !ok {
			return 0, f.verdict(tried, errs)
		}
		tried[i] = true
		if err := f.door.Enter(ctx, strconv.Itoa(i)); err != nil {
			return 0, &ReadError{path, off, f.String(), err}
		}
		if f.closed() != closes {
			f.door.Leave()
			return 0, &ReadError{path, off, f.String(), ErrClosed}
		}
		err := read(f.origins[i])
		if err == nil {
			return i, nil
		}
		f.door.Leave()
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return 0, err
		}
		if !errors.Is(err, ErrMissing) {
			f.setAside(i, err)
		}
		errs = append(errs, err)
	}
}

// pick chooses the next origin to ask: the current one while it comes first, then the best that isn't aside, then those
// that are but may be asked.
func (f *failover) pick(tried []bool) (int, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.current != 0 && now.After(f.until) {
		f.current = 0
	}
	best, found := 0, false
	for k := range f.origins {
		i := k // current, then the others in their order
		if k == 0 {
			i = f.current
		} else if k <= f.current {
			i = k - 1
		}
		s := &f.state[i]
		switch aside := now.Before(s.until); {
		case tried[i] || aside && s.barred:
		case !aside:
			return i, true
		case !found:
			best, found = i, true
		}
	}
	return best, found
}

// verdict is the outcome when no origin is left to ask: those not tried are barred.
func (f *failover) verdict(tried []bool, errs []error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	notNow := false
	after := time.Duration(math.MaxInt64) // until the first may be asked again
	var why []error                       // without what is merely missing, lest the whole be taken for that
	for _, err := range errs {
		_, busy := Retryable(err)
		notNow = notNow || busy
		if !errors.Is(err, ErrMissing) {
			why = append(why, err)
		}
	}
	for i, s := range f.state {
		if !tried[i] {
			notNow = true
			if s.err == nil { // another read has found it well since
				s.err = fmt.Errorf("%s was busy until now", f.origins[i])
			}
			why = append(why, s.err)
		}
		if s.barred {
			after = min(after, max(time.Until(s.until), 0))
		}
	}
	switch {
	case notNow:
		if after == math.MaxInt64 {
			after = 0
		}
		return &NotNow{After: after, Err: errors.Join(why...)}
	case len(why) > 0:
		return errors.Join(why...)
	}
	return errs[0]
}

func (f *failover) worked(i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state[i] = asideState{}
	if i != f.current {
		f.current, f.until = i, time.Now().Add(jitter(stay))
	}
}

func (f *failover) setAside(i int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	after, barred := Retryable(err)
	s := &f.state[i]
	if now := time.Now(); !now.Before(s.until) { // several reads that fail together are one failure
		s.until = now.Add(jitter(min(minAside<<min(s.failed, 16), maxAside)))
		s.failed++
	}
	if asked := time.Now().Add(after); asked.After(s.until) {
		s.until = asked
	}
	s.err, s.barred = err, barred
}

// jitter is d give or take a half: machines that failed together must not return together.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d+1)
}

// String names them all.
func (f *failover) String() string {
	var names []string
	for _, o := range f.origins {
		names = append(names, o.String())
	}
	return strings.Join(names, ", else ")
}

func (f *failover) closed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closes
}

// Close implements Origin.
func (f *failover) Close() error {
	f.mu.Lock()
	f.closes++
	f.mu.Unlock()
	var errs []error
	for _, o := range f.origins {
		errs = append(errs, o.Close())
	}
	return errors.Join(errs...)
}

package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// RetryPolicy says how patient Retry is. The zero value: 5 attempts, 0.5 s, 30 s, 2 min.
type RetryPolicy struct {
	Attempts int           // reads in all, until one brings something; 0: 5
	First    time.Duration // pause after the first failure, doubled each time, give or take a half; 0: 0.5 s
	Longest  time.Duration // such pause; 0: 30 s
	Patience time.Duration // an origin that asks for a longer wait gets none: its error is returned; 0: 2 min
	Told     func(error)   // called with what is borne, before the pause, by several at once; nil: nobody is told
}

// Retry is o, asked again after a pause when it can't now (Retryable). Every other error is returned at once. A stream
// goes on where it broke.
func Retry(o Origin, p RetryPolicy) Origin {
	if p.Attempts == 0 {
		p.Attempts = 5
	}
	if p.First == 0 {
		p.First = 500 * time.Millisecond
	}
	if p.Longest == 0 {
		p.Longest = 30 * time.Second
	}
	if p.Patience == 0 {
		p.Patience = 2 * time.Minute
	}
	return &retry{Origin: o, p: p, closed: make(chan struct{})}
}

type retry struct {
	Origin
	p RetryPolicy

	mu     sync.Mutex
	closed chan struct{} // closed, and replaced, by Close: ends the pauses
}

// Close implements Origin.
func (r *retry) Close() error {
	r.mu.Lock()
	close(r.closed)
	r.closed = make(chan struct{})
	r.mu.Unlock()
	return r.Origin.Close()
}

// Ranges implements Ranger.
func (r *retry) Ranges(ctx context.Context, path string) (bool, error) {
	return Ranges(ctx, r.Origin, path)
}

// Doubt implements Doubter.
func (r *retry) Doubt(path string) string { return doubt(r.Origin, path) }

// ReadRange implements Origin.
func (r *retry) ReadRange(ctx context.Context, path string, off int64, p []byte) error {
	for failed := 1; ; failed++ {
		err := r.Origin.ReadRange(ctx, path, off, p)
		if err == nil {
			return nil
		}
		if err := r.pause(ctx, failed, err); err != nil {
			return err
		}
	}
}

// Stream implements Streamer.
func (r *retry) Stream(ctx context.Context, path string, off, n int64) (io.ReadCloser, error) {
	s := &retryStream{r: r, ctx: ctx, path: path, off: off, left: n}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

type retryStream struct {
	r      *retry
	ctx    context.Context
	path   string
	off    int64 // of the next byte
	left   int64
	failed int // times since the last byte
	s      io.ReadCloser
}

func (s *retryStream) open() error {
	for {
		st, err := Stream(s.ctx, s.r.Origin, s.path, s.off, s.left)
		if err == nil {
			s.s = st
			return nil
		}
		s.failed++
		if err := s.r.pause(s.ctx, s.failed, err); err != nil {
			return err
		}
	}
}

func (s *retryStream) Read(p []byte) (int, error) {
	for {
		n, err := s.s.Read(p)
		s.off += int64(n)
		s.left -= int64(n)
		if n > 0 {
			s.failed = 0
			return n, nil // an error comes again
		}
		if err == nil || err == io.EOF {
			return 0, err
		}
		s.s.Close()
		s.failed++
		if err := s.r.pause(s.ctx, s.failed, err); err != nil {
			return 0, err
		}
		switch again := s.open(); {
		case errors.Is(again, ErrNoRanges): // it can't go on where it broke, and that it broke is the news
			return 0, err
		case again != nil:
			return 0, again
		}
	}
}

func (s *retryStream) Close() error { return s.s.Close() }

// pause waits as long as the error deserves, after the failed-th failure in a row; an error: don't try again.
func (r *retry) pause(ctx context.Context, failed int, err error) error {
	after, ok := Retryable(err)
	if !ok || failed >= r.p.Attempts || after > r.p.Patience {
		return err
	}
	if r.p.Told != nil {
		r.p.Told(err)
	}
	d := min(r.p.First<<min(failed-1, 20), r.p.Longest)
	if after > 0 {
		d = after + rand.N(d) // never before it asked for
	} else {
		d = jitter(d)
	}
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-closed:
		return whileWaiting(ErrClosed, err)
	case <-ctx.Done():
		return whileWaiting(context.Cause(ctx), err)
	}
}

// whileWaiting is cause as the outcome of the read that failed with err before, which is retryable no more.
func whileWaiting(cause, err error) error {
	if e, ok := errors.AsType[*ReadError](err); ok {
		return &ReadError{e.Path, e.Offset, e.Origin, fmt.Errorf("%w, while waiting after: %v", cause, e.Err)}
	}
	return fmt.Errorf("%w, while waiting after: %v", cause, err)
}

// jitter is d give or take a half: machines that failed together must not return together.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d+1)
}

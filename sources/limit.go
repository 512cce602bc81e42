package sources

import (
	"context"
	"io"
	"time"

	"golang.org/x/time/rate"
)

// Limit is o at no more than l's bytes per second, whose burst is at least 1. Several origins may share one l.
func Limit(o Origin, l *rate.Limiter) Origin { return &limit{o, l} }

type limit struct {
	Origin
	l *rate.Limiter
}

// ReadRange implements Origin: it waits for the whole length, then reads.
func (l *limit) ReadRange(ctx context.Context, path string, off int64, p []byte) error {
	if err := l.wait(ctx, len(p)); err != nil {
		return &ReadError{path, off, l.String(), err}
	}
	return l.Origin.ReadRange(ctx, path, off, p)
}

// Stream implements Streamer: each Read is as long as the burst at most, and waits for its length.
func (l *limit) Stream(ctx context.Context, path string, off, n int64) (io.ReadCloser, error) {
	s, err := Stream(ctx, l.Origin, path, off, n)
	if err != nil {
		return nil, err
	}
	return &limitStream{s, l, ctx, path, off}, nil
}

type limitStream struct {
	io.ReadCloser
	l    *limit
	ctx  context.Context
	path string
	off  int64
}

func (s *limitStream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p[:min(len(p), max(s.l.l.Burst(), 1))])
	if n > 0 {
		if e := s.l.wait(s.ctx, n); e != nil {
			return n, &ReadError{s.path, s.off, s.l.String(), e}
		}
	}
	return n, err
}

func (l *limit) wait(ctx context.Context, n int) error {
	for n > 0 {
		k := min(n, max(l.l.Burst(), 1))
		n -= k
		r := l.l.ReserveN(time.Now(), k)
		t := time.NewTimer(r.Delay())
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			r.Cancel()
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx) // nil while ctx goes on
}

package sources

import (
	"context"
	"io"
)

// Limit is o at the pace of wait, which returns when n more bytes may come, or with ctx's error. A range is waited for
// before it is asked for, a stream as it arrives.
func Limit(o Origin, wait func(ctx context.Context, n int) error) Origin { return &limit{o, wait} }

type limit struct {
	Origin
	wait func(ctx context.Context, n int) error
}

// Ranges implements Ranger.
func (l *limit) Ranges(ctx context.Context, path string) (bool, error) {
	return Ranges(ctx, l.Origin, path)
}

// Doubt implements Doubter.
func (l *limit) Doubt(path string) string { return doubt(l.Origin, path) }

// ReadRange implements Origin.
func (l *limit) ReadRange(ctx context.Context, path string, off int64, p []byte) error {
	if err := l.wait(ctx, len(p)); err != nil {
		return &ReadError{Path: path, Offset: off, Origin: l.String(), Err: err}
	}
	return l.Origin.ReadRange(ctx, path, off, p)
}

// Stream implements Streamer.
func (l *limit) Stream(ctx context.Context, path string, off, n int64) (io.ReadCloser, error) {
	s, err := Stream(ctx, l.Origin, path, off, n)
	if err != nil {
		return nil, err
	}
	return &limitStream{ReadCloser: s, ctx: ctx, l: l, path: path, off: off}, nil
}

type limitStream struct {
	io.ReadCloser
	ctx  context.Context
	l    *limit
	path string
	off  int64 // of the next byte
}

func (s *limitStream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.off += int64(n)
	if werr := s.l.wait(s.ctx, n); werr != nil {
		return n, &ReadError{Path: s.path, Offset: s.off, Origin: s.l.String(), Err: werr}
	}
	return n, err
}

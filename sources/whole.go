package sources

import (
	"context"
	"errors"
	"io"
)

// Whole is o, but for the files of which from says so: where o gives them only from their front (ErrNoRanges), what lies
// before the wanted bytes is read too, and thrown away.
func Whole(o Origin, from func(path string) bool) Origin { return &whole{o, from} }

type whole struct {
	Origin
	from func(path string) bool
}

// ReadRange implements Origin.
func (w *whole) ReadRange(ctx context.Context, path string, off int64, p []byte) error {
	err := w.Origin.ReadRange(ctx, path, off, p)
	if !errors.Is(err, ErrNoRanges) || !w.from(path) {
		return err
	}
	s, err := w.skip(ctx, path, off, int64(len(p)))
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = io.ReadFull(s, p)
	return err
}

// Stream implements Streamer.
func (w *whole) Stream(ctx context.Context, path string, off, n int64) (io.ReadCloser, error) {
	s, err := Stream(ctx, w.Origin, path, off, n)
	if !errors.Is(err, ErrNoRanges) || !w.from(path) {
		return s, err
	}
	return w.skip(ctx, path, off, n)
}

// skip is the stream from off on, of one that began at the front.
func (w *whole) skip(ctx context.Context, path string, off, n int64) (io.ReadCloser, error) {
	s, err := Stream(ctx, w.Origin, path, 0, off+n)
	if err != nil {
		return nil, err
	}
	scratch := make([]byte, min(off, 256<<10))
	for off > 0 {
		k, err := s.Read(scratch[:min(off, int64(len(scratch)))])
		if off -= int64(k); err != nil && off > 0 {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

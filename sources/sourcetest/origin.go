package sourcetest

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"handout/sources"
)

// Origin is a working sources.Origin in memory, with a hook. It is a Streamer too. The zero value has no files; the
// exported fields are set before the first read.
type Origin struct {
	Name  string            // what String says; "": memory
	Files map[string][]byte // by path; "" is the file of a one-file package

	// OnRead, where set, is called before every read with its path, offset and length: each ReadRange, each opening of a
	// stream (length 0), each Read from one. Its error is the read's outcome. It may wait, and is called concurrently.
	OnRead func(ctx context.Context, path string, off, n int64) error

	Reads  atomic.Int64 // how many began: ReadRange and Stream
	Bytes  atomic.Int64 // how many bytes were given out
	Closes atomic.Int64 // how often Close was called
}

// String is Name.
func (o *Origin) String() string {
	if o.Name == "" {
		return "memory"
	}
	return o.Name
}

// ReadRange implements sources.Origin.
func (o *Origin) ReadRange(ctx context.Context, path string, off int64, p []byte) error {
	o.Reads.Add(1)
	return o.wrap(path, off, o.read(ctx, path, off, p))
}

// Stream implements sources.Streamer.
func (o *Origin) Stream(ctx context.Context, path string, off, n int64) (io.ReadCloser, error) {
	o.Reads.Add(1)
	if err := o.read(ctx, path, off, nil); err != nil {
		return nil, o.wrap(path, off, err)
	}
	return &stream{ctx, o, path, off, off + n}, nil
}

// Close counts. It doesn't end reads under way.
func (o *Origin) Close() error {
	o.Closes.Add(1)
	return nil
}

func (o *Origin) read(ctx context.Context, path string, off int64, p []byte) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if o.OnRead != nil {
		if err := o.OnRead(ctx, path, off, int64(len(p))); err != nil {
			return err
		}
	}
	f, ok := o.Files[path]
	if !ok {
		return sources.ErrMissing
	}
	if off+int64(len(p)) > int64(len(f)) {
		return fmt.Errorf("%w: it is only %d bytes long", sources.ErrChanged, len(f))
	}
	copy(p, f[off:])
	o.Bytes.Add(int64(len(p)))
	return nil
}

func (o *Origin) wrap(path string, off int64, err error) error {
	if err == nil {
		return nil
	}
	return &sources.ReadError{Path: path, Offset: off, Origin: o.String(), Err: err}
}

type stream struct {
	ctx      context.Context
	o        *Origin
	path     string
	off, end int64
}

func (s *stream) Read(p []byte) (int, error) {
	if s.off == s.end {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.end-s.off)]
	if err := s.o.read(s.ctx, s.path, s.off, p); err != nil {
		return 0, s.o.wrap(s.path, s.off, err)
	}
	s.off += int64(len(p))
	return len(p), nil
}

func (s *stream) Close() error { return nil }

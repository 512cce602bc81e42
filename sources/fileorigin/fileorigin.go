// Package fileorigin reads packages from a local folder, a mount, a UNC path, or one file.
//
// Reads stay beneath the folder whatever links lie in it (os.Root). A reader counts as a connection: one read at a time,
// and Close lets go of every handle. A file system that hangs in the kernel can't be interrupted from here; over the
// network, a mount should have its own time-outs.
package fileorigin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"handout/sources"
	"handout/sources/internal/seen"
)

const (
	// maxOpen bounds the handles kept open.
	maxOpen = 16
)

// Origin is a folder or a file. It implements sources.Origin.
type Origin struct {
	name string // as given
	path string // as the system writes it

	turn chan struct{} // held by the one read; guards what follows
	root *os.Root      // nil: not open, or path is a file
	open []*handle     // the latest used last
	seen seen.Files

	mu     sync.Mutex
	closes int // how often Close was called
}

type handle struct {
	path string
	*os.File
}

// Open prepares to read from the folder or file at location: a path as the system writes it, or a file URL (RFC 8089).
// Whether it is there shows with the first read.
func Open(location string) (*Origin, error) {
	path, err := PathOf(location)
	if err != nil {
		return nil, fmt.Errorf("origin %s: %w", location, err)
	}
	path, err = filepath.Abs(path) // the working folder may change
	if err != nil {
		return nil, fmt.Errorf("origin %s: %w", location, err)
	}
	return &Origin{name: location, path: path, turn: make(chan struct{}, 1)}, nil
}

// String is the location as it was given to Open.
func (o *Origin) String() string { return o.name }

// ReadRange implements sources.Origin.
func (o *Origin) ReadRange(ctx context.Context, path string, off int64, p []byte) error {
	if err := o.read(ctx, path, off, p); err != nil {
		return &sources.ReadError{Path: path, Offset: off, Origin: o.name, Err: err}
	}
	return nil
}

func (o *Origin) read(ctx context.Context, path string, off int64, p []byte) error {
	closes := o.closed()
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-o.turn }()
	h, err := o.handle(path)
	if err != nil {
		return outcome(err)
	}
	for len(p) > 0 {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case o.closed() != closes:
			return sources.ErrClosed
		}
		n, err := h.ReadAt(p[:min(len(p), 1<<20)], off)
		p, off = p[n:], off+int64(n)
		if err == io.EOF && len(p) > 0 {
			o.seen.Forget(path)
			return fmt.Errorf("%w: it is only %d bytes long", sources.ErrChanged, off)
		}
		if err != nil && err != io.EOF {
			return outcome(err)
		}
	}
	info, err := h.Stat()
	if err != nil {
		return outcome(err)
	}
	return o.seen.Check(path, info.Size(), info.ModTime())
}

// handle returns the open file at path, which is kept open for the next read of it.
func (o *Origin) handle(path string) (*handle, error) {
	for i, h := range o.open {
		if h.path == path {
			copy(o.open[i:], o.open[i+1:])
			o.open[len(o.open)-1] = h
			return h, nil
		}
	}
	f, err := o.openFile(path)
	if err != nil {
		return nil, err
	}
	if len(o.open) == maxOpen {
		o.open[0].Close()
		o.open = append(o.open[:0], o.open[1:]...)
	}
	h := &handle{path, f}
	o.open = append(o.open, h)
	return h, nil
}

var errNotRegular = errors.New("not a regular file")

func (o *Origin) openFile(path string) (*os.File, error) {
	if path == "" {
		// Asked first: to open a pipe would wait for its writer.
		if info, err := os.Stat(o.path); err != nil {
			return nil, err
		} else if !info.Mode().IsRegular() {
			return nil, errNotRegular
		}
		return os.Open(o.path)
	}
	if !fs.ValidPath(path) || path == "." {
		return nil, fmt.Errorf("%q is not a path within an origin", path)
	}
	local, err := filepath.Localize(path)
	if err != nil {
		return nil, fmt.Errorf("%w: no such name on this system", sources.ErrMissing)
	}
	if o.root == nil {
		if info, err := os.Stat(o.path); err != nil {
			return nil, err
		} else if !info.IsDir() {
			return nil, fmt.Errorf("%w: the origin is no folder", sources.ErrMissing)
		}
		if o.root, err = os.OpenRoot(o.path); err != nil {
			return nil, err
		}
	}
	if info, err := o.root.Stat(local); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	return o.root.Open(local)
}

// outcome is what an error of the file system means.
func outcome(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist) || isNotDir(err):
		return fmt.Errorf("%w: %w", sources.ErrMissing, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", sources.ErrDenied, err)
	case isBusy(err):
		return &sources.NotNow{Err: err}
	}
	return err
}

func (o *Origin) closed() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closes
}

// Close lets go of every handle; see sources.Origin. It waits for a read that is under way in the kernel.
func (o *Origin) Close() error {
	o.mu.Lock()
	o.closes++
	o.mu.Unlock()
	o.turn <- struct{}{}
	defer func() { <-o.turn }()
	for _, h := range o.open {
		h.Close()
	}
	o.open = nil
	if o.root != nil {
		o.root.Close()
		o.root = nil
	}
	return nil
}

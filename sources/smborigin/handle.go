package smborigin

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/cloudsoda/go-smb2"

	"handout/sources"
)

const (
	// maxKept bounds the handles that stay open with nobody reading.
	maxKept = 16
	// fresh is how long a handle is used without asking the server again whether the name still stands for it.
	fresh = 5 * time.Second
)

// handle is an open file, which any number of readers share.
type handle struct {
	path   string
	file   *smb2.File
	opened time.Time
	looked chan struct{} // closed when size and err, what came of looking at the file, are known; nil: nobody looks
	size   int64         // in bytes, when it was opened
	err    error         // it is not what it was

	readers int  // guarded by handles.mu
	kept    bool // is in handles.all; guarded by handles.mu
}

// handles are the open files of a link that later reads may use.
type handles struct {
	link *link

	mu  sync.Mutex
	all []*handle // the latest used last
}

// get returns a handle that is open already, or nil. put gives it back.
func (h *handles) get(path string) *handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.all, func(f *handle) bool { return f.path == path })
	if i < 0 {
		return nil
	}
	f := h.all[i]
	h.all = slices.Delete(h.all, i, i+1)
	if time.Since(f.opened) > fresh || f.changed() {
		f.kept = false
		if f.readers == 0 {
			h.link.closeFile(f)
		}
		return nil
	}
	h.all = append(h.all, f)
	f.readers++
	return f
}

// put gives a handle back, whose reader keeps it open if more is likely to be read.
func (h *handles) put(f *handle, keep bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.readers--
	if keep && !f.kept && !slices.ContainsFunc(h.all, func(g *handle) bool { return g.path == f.path }) {
		f.kept = true
		h.all = append(h.all, f)
	}
	if f.readers == 0 && !f.kept {
		h.link.closeFile(f)
	}
	for i := 0; i < len(h.all) && len(h.all) > maxKept; {
		if f := h.all[i]; f.readers == 0 {
			f.kept = false
			h.all = slices.Delete(h.all, i, i+1)
			h.link.closeFile(f)
		} else {
			i++
		}
	}
}

// closeFile closes a file without anybody waiting for it.
func (l *link) closeFile(f *handle) {
	go l.do(context.Background(), f.file.Close) // a server that fails at it has closed it, or is about to
}

// changed reports whether a look at the file told that it is no good. Where nobody has finished looking it is not known.
func (f *handle) changed() bool {
	select {
	case <-f.looked:
		return f.err != nil
	default:
		return false
	}
}

// look waits for what came of looking at the file.
func (f *handle) look() error {
	if f.looked == nil {
		return nil
	}
	<-f.looked
	return f.err
}

// open returns a handle of the file at path, which put gives back. Where part of a file is wanted, the server is asked
// whether it still is the file it was, while the reading begins; what came of it, look tells. A file that is read whole
// would have the server do half as much again for what its hash tells as well.
func (o *Origin) open(ctx context.Context, l *link, path string, part bool) (*handle, error) {
	if f := l.handles.get(path); f != nil {
		return f, nil
	}
	names, err := o.at.names(path)
	if err != nil {
		return nil, err
	}
	f := &handle{path: path, opened: time.Now(), readers: 1}
	var name string
	for _, name = range names {
		begun := time.Now()
		err = l.do(ctx, func() (err error) {
			f.file, err = l.share.Open(name)
			return err
		})
		l.took(time.Since(begun))
		if err == nil || !errors.Is(err, sources.ErrMissing) {
			break
		}
	}
	if err != nil {
		if f.file != nil { // it came after ctx had ended
			l.closeFile(f)
		}
		return nil, o.at.explainMissing(path, err)
	}
	if part {
		f.looked = make(chan struct{})
		go o.examine(l, f, name)
	}
	return f, nil
}

// examine looks at the file f that was just opened by name. It asks by the name, since go-smb2's question about an open file
// is refused (STATUS_INVALID_PARAMETER) when credits are short.
func (o *Origin) examine(l *link, f *handle, name string) {
	defer close(f.looked)
	var info fs.FileInfo
	f.err = l.do(context.Background(), func() (err error) {
		info, err = l.share.Stat(name)
		return err
	})
	switch {
	case f.err != nil:
	case info.IsDir():
		f.err = errNotRegular
	default:
		f.size = info.Size()
		f.err = o.seen.Check(f.path, info.Size(), info.ModTime())
	}
}

package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"handout/manifest"
)

// place is where a tree stands: in its staging folder, at its destination, or in any folder that is to be checked. Its
// methods are safe for concurrent use; who writes what to which file at a time is the caller's affair.
type place struct {
	*layout
	shown    string   // the destination, for messages
	root     *os.Root // of the tree; for a published single file the folder around it
	only     string   // the name of a published single file, which need not be the manifest's
	dirs     *cache[int, *os.Root]
	files    *cache[fileKey, *os.File]
	stamps   []time.Time            // modification times the files must still have to be read; nil: files under construction
	modeless bool                   // the file system has no modes of its own
	sftp     bool                   // an sshfs mount: nothing flushes a folder, or changes a symlink and not what that leads to
	across   bool                   // on its way to a destination that may be far: times are kept to the second, if at all; reads ask the file system
	own      func(name string) bool // what in root is none of the package's business; nil: nothing
	linked   map[int]struct{}       // files of the old tree that stands elsewhere too: never written to; changed only within Open
	names    atomic.Bool            // files were made since this was last set to false

	wholeSync bool    // one call flushes the whole file system, see syncFiles
	flushed   flushed // where it is not so
}

// flushed knows the files that were flushed and not changed since, so that on a file system where each costs a flush of its
// own it costs one only.
type flushed struct {
	mu    sync.Mutex
	files map[int]struct{}
}

// remove is called after a file was changed.
func (f *flushed) remove(file int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.files, file)
}

type fileKey struct {
	file  int
	write bool
}

// newPlace takes over root. maxOpen bounds all that the place holds open; whoever holds a file may wait for a folder,
// never the other way round.
func newPlace(l *layout, shown string, root *os.Root, only string, maxOpen int) *place {
	dirs := max(maxOpen/4, 1)
	return &place{
		layout:   l,
		shown:    shown,
		root:     root,
		only:     only,
		modeless: modeless(root),
		sftp:     isSSHFS(root),
		linked:   make(map[int]struct{}),

		wholeSync: canSyncWhole(root),
		dirs:      newCache[int, *os.Root](dirs),
		files:     newCache[fileKey, *os.File](max(maxOpen-dirs, 1)),
	}
}

// close closes every handle; nobody may be using one.
func (p *place) close() {
	p.files.closeIdle()
	p.dirs.closeIdle()
	p.root.Close()
}

// say is the path of a file in messages.
func (p *place) say(file int) string {
	if p.m.Single {
		return p.shown
	}
	return filepath.Join(p.shown, filepath.FromSlash(p.m.Files[file].Path))
}

func (p *place) base(file int) string {
	if p.only != "" {
		return p.only
	}
	return p.layout.base(file)
}

// folder returns a handle to folder i, to be released. A handle for each folder spares the walk from the root that
// os.Root makes for every file of a deep tree.
func (p *place) folder(i int) (*handle[int, *os.Root], error) {
	return p.dirs.acquire(i, func() (*os.Root, error) { return p.root.OpenRoot(p.folders[i].path) })
}

// makeFolder is folder, making it where it is missing.
func (p *place) makeFolder(i int) (*handle[int, *os.Root], error) {
	return p.dirs.acquire(i, func() (*os.Root, error) {
		path := p.folders[i].path
		r, err := p.root.OpenRoot(path)
		if errors.Is(err, fs.ErrNotExist) {
			if err = p.root.MkdirAll(path, 0o700); err == nil {
				r, err = p.root.OpenRoot(path)
			}
		}
		return r, err
	})
}

// reader returns a file open for reading, to be released.
func (p *place) reader(file int) (*handle[fileKey, *os.File], error) {
	return p.files.acquire(fileKey{file, false}, func() (*os.File, error) {
		d, err := p.folder(p.home[file])
		if err != nil {
			return nil, err
		}
		defer p.dirs.release(d)
		// Opening a pipe that someone put there would wait for ever.
		if fi, err := d.v.Lstat(p.base(file)); err != nil {
			return nil, err
		} else if !fi.Mode().IsRegular() {
			return nil, fmt.Errorf("is a %v, not a file", fi.Mode().Type())
		}
		f, err := d.v.Open(p.base(file))
		if err == nil && p.across {
			forgetCached(f)
		}
		return f, err
	})
}

// writer returns a file open for reading and writing, to be released; a new one has its full size from the start and
// takes up no more of the disk than was written to it.
func (p *place) writer(file int) (*handle[fileKey, *os.File], error) {
	return p.files.acquire(fileKey{file, true}, func() (*os.File, error) {
		d, err := p.makeFolder(p.home[file])
		if err != nil {
			return nil, err
		}
		defer p.dirs.release(d)
		f, err := d.v.OpenFile(p.base(file), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := p.fullSize(f, p.m.Files[file].Length); err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	})
}

func (p *place) fullSize(f *os.File, length int64) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("is a %v, not a file", fi.Mode().Type())
	}
	if fi.Size() == length {
		return nil
	}
	p.names.Store(true)
	makeSparse(f, length)
	return f.Truncate(length)
}

// write puts bytes where they belong in the package, off being counted in the whole package. The piece they belong to
// must be the caller's alone.
func (p *place) write(off int64, b []byte) error {
	for _, s := range p.m.Spans(off, int64(len(b))) {
		if _, ok := p.linked[s.File]; ok {
			b = b[s.Length:] // right as it is, or Open would have given it up
			continue
		}
		write := p.writePart
		if s.Length == p.m.Files[s.File].Length {
			write = p.writeWhole
		}
		if err := write(s, b[:s.Length]); err != nil {
			return explain(err, "write", p.say(s.File))
		}
		b = b[s.Length:]
	}
	return nil
}

func (p *place) writePart(s manifest.Span, b []byte) error {
	h, err := p.writer(s.File)
	if err != nil {
		return err
	}
	defer p.files.release(h)
	_, err = h.v.WriteAt(b, s.Offset)
	return err
}

// writeWhole makes a file, with all that belongs to it, in one go: most packages are mostly small files, and a second
// visit to each at publication would cost as much again. What is there under that name is removed: it may be read-only,
// or not a file.
func (p *place) writeWhole(s manifest.Span, b []byte) error {
	p.files.reserve()
	defer p.files.unreserve()
	d, err := p.makeFolder(p.home[s.File])
	if err != nil {
		return err
	}
	defer p.dirs.release(d)
	name := p.base(s.File)
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := d.v.OpenFile(name, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		p.files.forget(fileKey{s.File, false})
		p.files.forget(fileKey{s.File, true})
		if err = d.v.RemoveAll(name); err == nil {
			f, err = d.v.OpenFile(name, flags, 0o600)
		}
	}
	if err != nil {
		return err
	}
	p.names.Store(true)
	_, err = f.Write(b)
	if err == nil && modeAtOnce && !p.modeless {
		err = f.Chmod(p.m.Files[s.File].Mode.Perm())
	}
	if err == nil {
		err = setFileTime(f, p.m.Files[s.File].ModTime)
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	return err
}

// read fills b with bytes of the package, off being counted in the whole package. A file that is too short is
// io.ErrUnexpectedEOF.
func (p *place) read(off int64, b []byte) error {
	for _, s := range p.m.Spans(off, int64(len(b))) {
		if err := p.readPart(s, b[:s.Length]); err != nil {
			return wrap(err, "read", p.say(s.File))
		}
		b = b[s.Length:]
	}
	return nil
}

func (p *place) readPart(s manifest.Span, b []byte) error {
	h, err := p.reader(s.File)
	if err != nil {
		return err
	}
	defer p.files.release(h)
	if _, err := h.v.ReadAt(b, s.Offset); err == io.EOF {
		return io.ErrUnexpectedEOF
	} else if err != nil {
		return err
	}
	want := p.m.Files[s.File].ModTime.Truncate(timeGrain)
	if _, ok := p.linked[s.File]; p.stamps != nil {
		want = p.stamps[s.File]
	} else if !ok {
		return nil
	}
	// Asked after the read, so that a change in the middle of it is noticed too.
	fi, err := h.v.Stat()
	if err != nil {
		return err
	}
	if fi.Size() != p.m.Files[s.File].Length || !fi.ModTime().Equal(want) {
		return ErrChanged
	}
	return nil
}

const bufferSize = 256 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

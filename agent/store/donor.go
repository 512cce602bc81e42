package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"handout/manifest"
)

// donor is a tree, or a single file, that may have files of a package. It is read only. It may be anybody's: nothing is
// read but regular files beneath it, and no symlink is followed out of it.
type donor struct {
	name  string // for messages
	root  *os.Root
	only  string                 // a single file in root; empty: all of root
	old   bool                   // stands at the destination and goes when the new tree comes
	known map[string]stamp       // what the kept record says of its files
	skip  func(fs.FileInfo) bool // folders that are not looked into

	cloneless bool // its files' blocks can't be shared; guarded by reuse.mu
}

// stamp is what was recorded of a file when it was published.
type stamp struct {
	sum     [32]byte
	size    int64
	modTime time.Time
}

// candidate is a file of a donor.
type candidate struct {
	donor *donor
	path  string // slash-separated, in the donor's root
	info  fs.FileInfo
	sum   *[32]byte // of the content; nil: not known
}

func (c *candidate) shown() string {
	if c == nil {
		return ""
	}
	return filepath.Join(c.donor.name, filepath.FromSlash(c.path))
}

// donated is an open file of a donor.
type donated struct{ *os.File }

// donors opens the folders that may have something.
func (t *Tree) donors() (all []*donor) {
	skip := func(fs.FileInfo) bool { return false }
	if own, err := t.stage.root.Stat("."); err == nil {
		skip = func(fi fs.FileInfo) bool { return os.SameFile(own, fi) }
	}
	add := func(dir string, d *donor, err error) {
		if err == nil {
			d.skip = skip
			all = append(all, d)
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.o.Log.Warn("a folder is not reused", "error", wrap(err, "open", dir))
		}
	}
	old, err := t.oldTree()
	add(t.dest, old, err)
	for _, dir := range t.o.Reuse {
		d, err := openDonor(dir)
		add(dir, d, err)
	}
	return all
}

// oldTree is what stands at the destination, and nothing that a link there leads to.
func (t *Tree) oldTree() (*donor, error) {
	base := t.base
	d := &donor{name: t.dest, old: true, known: t.stage.stamps()}
	fi, err := t.parent.Lstat(base)
	switch {
	case err != nil:
	case fi.IsDir():
		d.root, err = openWithin(t.parent, base)
	case fi.Mode().IsRegular():
		d.name, d.only = filepath.Dir(t.dest), base
		d.root, err = t.parent.OpenRoot(".")
	default:
		err = errNotFolder
	}
	return d, err
}

func openDonor(dir string) (*donor, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	fi, err := os.Stat(abs)
	if err != nil {
		return nil, err
	}
	d := &donor{name: abs}
	switch {
	case fi.IsDir():
		d.root, err = os.OpenRoot(abs)
	case fi.Mode().IsRegular():
		d.name, d.only = filepath.Dir(abs), filepath.Base(abs)
		d.root, err = os.OpenRoot(d.name)
	default:
		err = errNotFolder
	}
	return d, err
}

// stamps is what the record knows of the files that stand at the destination. The manifest beside it need not be signed
// by anybody: it is believed only as a hint where to look.
func (s *staging) stamps() map[string]stamp {
	hash, packed := s.standing()
	if packed == nil {
		return nil
	}
	raw, err := readAtMost(s.root, standingName, manifest.MaxSize)
	if err != nil {
		return nil
	}
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
	if err != nil || m.InfoHash != hash {
		return nil
	}
	times := unpackTimes(packed)
	if len(times) != len(m.Files) {
		return nil
	}
	known := make(map[string]stamp, len(times))
	for i := range m.Files {
		known[m.Files[i].Path] = stamp{m.Files[i].SHA256, m.Files[i].Length, times[i]}
	}
	return known
}

// survey goes through the donors and makes the first guesses: a file of the right content, as far as the record knows
// that, or else the file of the same path.
func (r *reuse) survey(ctx context.Context) error {
	byPath := make(map[string]*wanted, len(r.files))
	sizes := make(map[int64]bool, len(r.files))
	for file, w := range r.files {
		byPath[r.t.m.Files[file].Path] = w
		sizes[r.t.m.Files[file].Length] = true
	}
	for _, d := range r.donors {
		err := d.walk(ctx, func(p string, fi fs.FileInfo) {
			c := &candidate{donor: d, path: p, info: fi}
			if d.only != "" && r.t.m.Single {
				p = r.t.m.Files[0].Path // whatever it is called there
			}
			if k, ok := d.known[p]; ok && k.size == fi.Size() && k.modTime.Equal(fi.ModTime()) {
				c.sum = &k.sum
			}
			if sizes[fi.Size()] {
				r.bySize[fi.Size()] = append(r.bySize[fi.Size()], c)
			}
			if w := byPath[p]; w != nil && w.from == nil {
				w.from, w.fresh = c, true
			}
		})
		if err != nil {
			return err
		}
	}
	byContent := r.byContent()
	for file, w := range r.files {
		if c := byContent[r.t.m.Files[file].SHA256]; c != nil {
			w.from, w.fresh = c, true
		}
	}
	return nil
}

// walk calls visit for every regular file. What can't be looked at is passed over.
func (d *donor) walk(ctx context.Context, visit func(path string, fi fs.FileInfo)) error {
	if d.only != "" {
		if fi, err := d.root.Lstat(d.only); err == nil && fi.Mode().IsRegular() {
			visit(d.only, fi)
		}
		return nil
	}
	for todo := []string{"."}; len(todo) > 0; {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		dir := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for name, fi := range entries(d.root, dir) {
			switch p := path.Join(dir, name); {
			case fi.IsDir() && !d.skip(fi):
				todo = append(todo, p)
			case fi.Mode().IsRegular():
				visit(p, fi)
			}
		}
	}
	return nil
}

// entries are what can be seen of a folder.
func entries(root *os.Root, dir string) map[string]fs.FileInfo {
	sub, err := root.OpenRoot(dir)
	if err != nil {
		return nil
	}
	defer sub.Close()
	f, err := sub.Open(".")
	if err != nil {
		return nil
	}
	names, _ := f.Readdirnames(-1)
	f.Close()
	infos := make(map[string]fs.FileInfo, len(names))
	for _, name := range names {
		if fi, err := sub.Lstat(name); err == nil {
			infos[name] = fi
		}
	}
	return infos
}

// file returns a candidate open for reading, to be released. It is the file that was seen, or an error: never a pipe that
// has taken its place, which could be waited for without end.
func (r *reuse) file(c *candidate) (*handle[*candidate, donated], error) {
	return r.open.acquire(c, func() (donated, error) {
		f, err := c.donor.root.OpenFile(c.path, os.O_RDONLY|openAtOnce, 0)
		if err != nil {
			return donated{}, err
		}
		fi, err := f.Stat()
		if err == nil && !os.SameFile(fi, c.info) {
			err = ErrChanged
		}
		if err != nil {
			f.Close()
			return donated{}, err
		}
		return donated{f}, nil
	})
}

// read fills b with bytes of a candidate; where it has none there, that is an error.
func (r *reuse) read(c *candidate, b []byte, off int64) error {
	if off < 0 || off+int64(len(b)) > c.info.Size() {
		return io.ErrUnexpectedEOF
	}
	h, err := r.file(c)
	if err != nil {
		return err
	}
	defer r.open.release(h)
	_, err = h.v.ReadAt(b, off)
	return err
}

// hashOne finds the SHA-256 of a candidate.
func (r *reuse) hashOne(ctx context.Context, c *candidate) error {
	h := sha256.New()
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for off := int64(0); off < c.info.Size(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(bufferSize, c.info.Size()-off)]
		if err := r.read(c, b, off); err != nil {
			return err
		}
		h.Write(b)
		off += int64(len(b))
	}
	sum := [32]byte(h.Sum(nil))
	c.sum = &sum
	return nil
}

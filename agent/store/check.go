package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"handout/agent/plan"
	"handout/manifest"
)

// Verdict is what Check found of one file, symlink or folder.
type Verdict uint8

// The verdicts. The content of a symlink is its target. Of the mode only that counts whether a file can be run: the
// other bits depend on who made the tree; modification times don't count at all.
const (
	OK Verdict = iota
	Missing
	WrongKind // a folder where a file should be, and the like
	WrongSize
	WrongContent
	WrongMode
	Unreadable // see Report.Why
)

func (v Verdict) String() string {
	return [...]string{"ok", "missing", "wrong kind", "wrong size", "wrong content", "wrong mode", "unreadable"}[v]
}

// Report says how a tree on disk compares with a manifest.
type Report struct {
	Files []Verdict     // for each of Manifest.Files; OK where only a part is looked at and the file is not in it
	Dirs  []Verdict     // for each of Manifest.Dirs, likewise
	Top   Verdict       // of the tree's root; of its mode all permissions count
	Why   map[int]error // for each of Files that is Unreadable
	Extra []string      // slash-separated paths of what the manifest, or the part, does not have; a folder stands for all in it
}

// Matches reports whether the tree is exactly what the manifest says: this is what makes an existing destination a
// published one. The mode of its root, which is soon put right, does not count.
func (r Report) Matches() bool {
	bad := func(v Verdict) bool { return v != OK }
	return len(r.Extra) == 0 && !slices.ContainsFunc(r.Files, bad) && !slices.ContainsFunc(r.Dirs, bad)
}

// Check compares the tree at dir (of a one-file package: that file) with m, or the part only of it, hashing on all cores.
// It changes nothing. progress may be nil; it is told bytes, perhaps from several goroutines. That dir itself is missing is
// an error.
func Check(ctx context.Context, m *manifest.Manifest, only *manifest.Selection, dir string, progress func(done, total int64)) (Report, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Report{}, fmt.Errorf("check %s: %w", dir, err)
	}
	_, parent, base, err := seatOf(dir, m.Single)
	if err != nil {
		return Report{}, fmt.Errorf("check %s: %w", dir, err)
	}
	defer parent.Close()
	at, err := openIn(parent, base, newLayout(m, only), dir, Options{}.withDefaults().MaxOpen)
	if err != nil {
		return Report{}, fmt.Errorf("check %s: %w", dir, err)
	}
	defer at.close()
	v, err := at.look(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("check %s: %w", dir, err)
	}
	if progress == nil {
		progress = func(done, total int64) {}
	}
	if err := at.hash(ctx, v, false, progress); err != nil {
		return Report{}, fmt.Errorf("check %s: %w", dir, err)
	}
	return v.Report, nil
}

// openIn opens the tree or the one file at dest, an absolute path, by the folder parent and the name base there.
func openIn(parent *os.Root, base string, l *layout, dest string, maxOpen int) (*place, error) {
	if !l.m.Single {
		root, err := openWithin(parent, base)
		if err != nil {
			return nil, err
		}
		p := newPlace(l, dest, root, "", maxOpen)
		p.own = func(name string) bool { return isOwn(root, name, base == itself) }
		return p, nil
	}
	if _, err := parent.Lstat(base); err != nil {
		return nil, err
	}
	root, err := parent.OpenRoot(".")
	if err != nil {
		return nil, err
	}
	return newPlace(l, dest, root, base, maxOpen), nil
}

// openWithin opens a folder, and not what a symlink leads to: OpenRoot would follow one that stays beneath parent.
func openWithin(parent *os.Root, name string) (*os.Root, error) {
	fi, err := parent.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		return nil, errNotFolder
	}
	root, err := parent.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(fi, opened) {
		err = errNotFolder // it was swapped in this moment
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

var errNotFolder = errors.New("not a folder")

// view is what can be seen of a tree without reading its files.
type view struct {
	Report
	files []fs.FileInfo // for each of Manifest.Files; nil where it is missing
	dirs  []fs.FileInfo // for each of Manifest.Dirs
}

// look goes through the tree once.
func (p *place) look(ctx context.Context) (*view, error) {
	m := p.m
	v := &view{
		Report: Report{Files: make([]Verdict, len(m.Files)), Dirs: make([]Verdict, len(m.Dirs))},
		files:  make([]fs.FileInfo, len(m.Files)),
		dirs:   make([]fs.FileInfo, len(m.Dirs)),
	}
	var err error
	if v.Top, err = p.judgeTop(); err != nil {
		return nil, wrap(err, "look at", p.shown)
	}
	absent := make([]bool, len(p.folders))
	for i := range p.folders {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if absent[i] {
			for _, file := range p.folders[i].files {
				v.Files[file] = Missing
			}
			for _, sub := range p.folders[i].dirs {
				absent[sub] = true
				v.judgeDir(p.folders[sub].dir, nil)
			}
			continue
		}
		if err := p.lookInto(i, v, absent); err != nil {
			return nil, wrap(err, "look through", filepath.Join(p.shown, filepath.FromSlash(p.folders[i].path)))
		}
	}
	return v, nil
}

// lookInto looks at all that is in one folder.
func (p *place) lookInto(i int, v *view, absent []bool) error {
	d, err := p.folder(i)
	if err != nil {
		return err
	}
	defer p.dirs.release(d)
	there := 0
	for _, file := range p.folders[i].files {
		fi, err := lstat(d.v, p.base(file))
		if err != nil {
			return err
		}
		if fi != nil {
			there++
		}
		v.files[file] = fi
		if v.Files[file], err = p.judgeFile(&p.m.Files[file], fi, d.v, p.base(file)); err != nil {
			return err
		}
	}
	for _, sub := range p.folders[i].dirs {
		fi, err := lstat(d.v, path.Base(p.folders[sub].path))
		if err != nil {
			return err
		}
		if fi != nil {
			there++
		}
		absent[sub] = fi == nil || !fi.IsDir()
		v.judgeDir(p.folders[sub].dir, fi)
	}
	if p.only != "" {
		return nil // what else is in the folder of a single file is none of our business
	}
	return p.findExtra(i, d.v, there, v)
}

// findExtra lists what the manifest does not have in a folder; there is the number of entries it does.
func (p *place) findExtra(i int, d *os.Root, there int, v *view) error {
	f, err := d.Open(".")
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	if err != nil || len(names) == there {
		return err
	}
	known := make(map[string]bool, there)
	for _, file := range p.folders[i].files {
		known[p.base(file)] = true
	}
	for _, sub := range p.folders[i].dirs {
		known[path.Base(p.folders[sub].path)] = true
	}
	slices.Sort(names)
	for _, name := range names {
		if !known[name] && !(i == 0 && p.own != nil && p.own(name)) {
			v.Extra = append(v.Extra, path.Join(p.folders[i].path, name))
		}
	}
	return nil
}

// lstat is Lstat for which a missing file is nil.
func lstat(d *os.Root, name string) (fs.FileInfo, error) {
	fi, err := d.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return fi, err
}

func (p *place) judgeFile(f *manifest.File, fi fs.FileInfo, d *os.Root, name string) (Verdict, error) {
	switch {
	case fi == nil:
		return Missing, nil
	case f.Target != "":
		if fi.Mode().Type() != fs.ModeSymlink {
			return WrongKind, nil
		}
		target, err := d.Readlink(name)
		if p.sftp && errors.Is(err, fs.ErrPermission) && fi.Size() == int64(len(f.Target)) {
			// sshfs reads no target that leads upwards, lest a server leads its clients astray; it says how long it is.
			return OK, nil
		}
		if err == nil && target != symlinkTarget(f.Target) {
			return WrongContent, nil
		}
		return OK, err
	case !fi.Mode().IsRegular():
		return WrongKind, nil
	case fi.Size() != f.Length:
		return WrongSize, nil
	case !p.modeless && (fi.Mode()&0o111 != 0) != (f.Mode&0o111 != 0):
		return WrongMode, nil
	}
	return OK, nil
}

// judgeDir judges a folder of the manifest; dir is -1 for one that it does not list.
func (v *view) judgeDir(dir int, fi fs.FileInfo) {
	switch {
	case dir < 0:
	case fi == nil:
		v.Dirs[dir] = Missing
	case !fi.IsDir():
		v.Dirs[dir] = WrongKind
		v.dirs[dir] = fi
	default:
		v.dirs[dir] = fi
	}
}

// present reports whether a file's content is worth reading.
func (v *view) present(file int) bool { return v.Files[file] == OK || v.Files[file] == WrongMode }

// hash reads every file that is present and corrects the verdicts. It goes by pieces, so that one large file keeps all
// cores busy; a wrong piece of several files, one of which a part is missing, and one that has a part of a file that need not
// be there, is settled by the hashes of its files. With first it ends at the first difference, with ErrCorrupt.
func (p *place) hash(ctx context.Context, v *view, first bool, progress func(done, total int64)) error {
	var mu sync.Mutex
	doubtful := make(map[int]bool)
	err := p.eachPiece(ctx, p.wanted, progress, func(i manifest.PieceIndex) error {
		spans := p.m.Spans(p.m.PieceOffset(i), p.m.PieceSize(i))
		border := p.border.Has(i)
		if !border && !slices.ContainsFunc(spans, func(s manifest.Span) bool { return !v.present(s.File) }) {
			ok, err := p.verify(i)
			if ok {
				return nil
			}
			if ctx.Err() != nil {
				return err
			}
		}
		if first && !border {
			return ErrCorrupt
		}
		mu.Lock()
		defer mu.Unlock()
		for _, s := range spans {
			if p.has(s.File) {
				doubtful[s.File] = true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = p.settleDoubts(ctx, v, doubtful)
	if err == nil && first && !v.Matches() {
		err = ErrCorrupt
	}
	return err
}

// eachPiece calls do for each piece of which, on all cores.
func (p *place) eachPiece(ctx context.Context, which plan.Bitfield, progress func(done, total int64), do func(manifest.PieceIndex) error) error {
	var total int64
	for i := range which.All {
		total += p.m.PieceSize(i)
	}
	var done atomic.Int64
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(p.workers())
	for i := range which.All {
		work.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := do(i); err != nil {
				return err
			}
			progress(done.Add(p.m.PieceSize(i)), total)
			return nil
		})
	}
	return work.Wait()
}

// workers are how many read at a time.
func (p *place) workers() int {
	if p.across {
		return max(streams, runtime.GOMAXPROCS(0))
	}
	return runtime.GOMAXPROCS(0)
}

// settleDoubts hashes the doubtful files whole.
func (p *place) settleDoubts(ctx context.Context, v *view, doubtful map[int]bool) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	v.Why = make(map[int]error)
	for file := range doubtful {
		if !v.present(file) {
			continue
		}
		work.Go(func() error {
			ok, err := p.verifyFile(ctx, file)
			switch {
			case ctx.Err() != nil:
				return err
			case err != nil:
				v.Files[file] = Unreadable
				mu.Lock()
				v.Why[file] = err
				mu.Unlock()
			case !ok:
				v.Files[file] = WrongContent
			}
			return nil
		})
	}
	return work.Wait()
}

// verifyFile reports whether a file has the content the manifest says.
func (p *place) verifyFile(ctx context.Context, file int) (bool, error) {
	f := &p.m.Files[file]
	h := sha256.New()
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for off := int64(0); off < f.Length; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		s := manifest.Span{File: file, Offset: off, Length: min(bufferSize, f.Length-off)}
		if err := p.readPart(s, buf[:s.Length]); err != nil {
			return false, wrap(err, "read", p.say(file))
		}
		h.Write(buf[:s.Length])
		off += s.Length
	}
	return [32]byte(h.Sum(nil)) == f.SHA256, nil
}

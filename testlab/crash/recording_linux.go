package crash

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fileID tells files apart, whatever they are called.
type fileID struct{ ino, gen uint64 }

// change is what an operation did, so far as it must be known to do it again.
type change struct {
	file             fileID // that was made, written or flushed
	folder, toFolder fileID
	name, toName     string
	mode             uint32 // of what was made
	target           string // of a symlink
	off              int64  // of a write; the new size for truncate
	data             []byte
	setMode, setTime bool
	newMode          uint32
	mtime            time.Time
}

// Recording is what was done to a disk that was empty. It is complete once nobody uses the disk any more.
type Recording struct {
	first int
	root  fileID
	ops   []Op
}

// add is called under the disk's lock. A nil recording records nothing.
func (r *Recording) add(op Op) {
	if r != nil {
		op.data = bytes.Clone(op.data)
		r.ops = append(r.ops, op)
	}
}

// Ops are the operations so far, those that failed as such.
func (r *Recording) Ops() []Op { return r.ops }

// Rebuild writes to dir, an empty folder, what a disk may hold after a power cut that came when the operations up to
// number n were answered. What was flushed is there. Of the rest random decides:
//
//   - bytes, sizes, modes and times of a file that were not followed by an fsync of it are there, or not, or in part: of a
//     write any of its blocks of 4 KiB;
//   - names that were not followed by an fsync of their folder are there up to some moment, another one for each folder.
//     A rename from one folder to another happened in both or in neither.
//
// Of real file systems the ordered ones (ext4, XFS, Btrfs, NTFS) do less harm.
func (r *Recording) Rebuild(dir string, n int, random *rand.Rand) error {
	cut := r.ops[:max(0, min(len(r.ops), n-r.first+1))]
	c := &cutter{random: random, harsh: random.IntN(3), files: map[fileID]*inode{r.root: {kind: "mkdir"}}}
	flushed := map[fileID]int{} // the number of operations up to the last flush of a file
	for i, op := range cut {
		if op.Kind == "fsync" {
			flushed[op.file] = i + 1
		}
	}
	lost := c.lostNames(cut, flushed)
	for i, op := range cut {
		switch {
		case op.naming():
			c.make(op)
			if !lost[i] {
				c.rename(op)
			}
		case i < flushed[op.file]:
			c.write(op)
		default:
			c.perhaps(op)
		}
	}
	return c.save(r.root, dir)
}

func (op *Op) naming() bool { return op.folder != fileID{} }

// inode is a file as it is after the cut.
type inode struct {
	kind   string // of the operation that made it
	mode   uint32
	mtime  time.Time
	target string
	data   []byte
	names  map[string]fileID
}

type cutter struct {
	random *rand.Rand
	harsh  int // 0: nothing survives that need not; 1: all does, as when only the program dies; 2: anything
	files  map[fileID]*inode
}

// lostNames finds the operations on names that did not survive.
func (c *cutter) lostNames(ops []Op, flushed map[fileID]int) (lost map[int]bool) {
	kept := map[fileID]int{} // for each folder the last operation on its names that is on the disk
	for _, op := range ops {
		for _, folder := range op.folders() {
			kept[folder] = flushed[folder] - 1
		}
	}
	// A rename that one folder's flush has brought to the disk is there in the other folder too.
	for i, op := range slices.Backward(ops) {
		if f := op.folders(); len(f) == 2 && (i <= kept[f[0]] || i <= kept[f[1]]) {
			kept[f[0]], kept[f[1]] = max(kept[f[0]], i), max(kept[f[1]], i)
		}
	}
	for folder, at := range kept {
		switch c.harsh {
		case 1:
			kept[folder] = len(ops)
		case 2:
			kept[folder] = at + c.random.IntN(len(ops)-at+1)
		}
	}
	lost = map[int]bool{}
	for i, op := range ops {
		for _, folder := range op.folders() {
			lost[i] = lost[i] || i > kept[folder]
		}
		if lost[i] {
			for _, folder := range op.folders() {
				kept[folder] = min(kept[folder], i-1)
			}
		}
	}
	return lost
}

// folders are those whose names an operation changes.
func (op *Op) folders() []fileID {
	switch {
	case !op.naming():
		return nil
	case op.Kind == "rename" && op.folder != op.toFolder:
		return []fileID{op.folder, op.toFolder}
	}
	return []fileID{op.folder}
}

// make lets the file of an operation exist, with or without a name.
func (c *cutter) make(op Op) {
	if op.Kind == "mkdir" || op.Kind == "create" || op.Kind == "symlink" {
		c.files[op.file] = &inode{kind: op.Kind, mode: op.mode, target: op.target}
	}
}

func (c *cutter) rename(op Op) {
	from := c.files[op.folder].entries()
	switch op.Kind {
	case "unlink", "rmdir":
		delete(from, op.name)
	case "rename":
		if file, ok := from[op.name]; ok {
			delete(from, op.name)
			c.files[op.toFolder].entries()[op.toName] = file
		}
	default:
		from[op.name] = op.file
	}
}

func (f *inode) entries() map[string]fileID {
	if f.names == nil {
		f.names = map[string]fileID{}
	}
	return f.names
}

// write does an operation on a file's content or attributes.
func (c *cutter) write(op Op) {
	f := c.files[op.file]
	if f == nil {
		return
	}
	switch op.Kind {
	case "write":
		f.grow(op.off + int64(len(op.data)))
		copy(f.data[op.off:], op.data)
	case "truncate":
		f.grow(op.off)
		f.data = f.data[:op.off]
	}
	if op.setMode {
		f.mode = op.newMode & 0o7777
	}
	if op.setTime {
		f.mtime = op.mtime
	}
}

func (f *inode) grow(size int64) {
	if n := size - int64(len(f.data)); n > 0 {
		f.data = append(f.data, make([]byte, n)...)
	}
}

// perhaps is write for an operation that was not flushed.
func (c *cutter) perhaps(op Op) {
	if c.harsh == 0 || c.harsh == 2 && c.random.IntN(3) == 0 {
		return
	}
	if op.Kind != "write" || c.harsh == 1 || c.random.IntN(2) == 0 {
		c.write(op)
		return
	}
	const block = 4096
	whole := op.data
	for len(whole) > 0 {
		n := min(int64(len(whole)), block-op.off%block)
		if op.data = whole[:n]; c.random.IntN(2) == 0 {
			c.write(op)
		}
		whole, op.off = whole[n:], op.off+n
	}
}

// save writes a folder out with all in it.
func (c *cutter) save(id fileID, dir string) error {
	for name, child := range c.files[id].names {
		f, path := c.files[child], filepath.Join(dir, name)
		var err error
		switch f.kind {
		case "mkdir":
			if err = os.Mkdir(path, 0o700); err == nil {
				err = c.save(child, path)
			}
		case "symlink":
			err = os.Symlink(f.target, path)
		default:
			err = os.WriteFile(path, f.data, 0o600)
		}
		if err == nil && f.kind != "symlink" {
			err = syscall.Chmod(path, f.mode)
		}
		if err == nil && !f.mtime.IsZero() {
			err = setTime(path, f.mtime)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func setTime(path string, t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// ErrUnavailable is what Mount answers where no FUSE file system can be had.
var ErrUnavailable = errors.New("needs FUSE and root: run as root where there is a /dev/fuse (modprobe fuse)")

// Op is one operation on a disk. What only reads is none.
type Op struct {
	N    int    // counted from 1
	Kind string // create, write, truncate, setattr, fsync, mkdir, rmdir, unlink, rename, link, symlink
	Path string // from the mount, slash-separated; "." is its root
	To   string // of a rename or link: the new path
	Size int    // of a write: bytes

	change
}

// Fault is what a hook wants to happen at an operation. The zero value: nothing unusual.
type Fault struct {
	Errno syscall.Errno // the operation is not done and answers this
	Short int           // of a write: only so many bytes are written, if not 0
	After func()        // called when the operation was done, before it is answered
}

// Disk is a mounted file system that shows folder Backing at Path and can do worse. Operations are done one at a time.
type Disk struct {
	Backing, Path string

	server *fuse.Server
	root   fs.InodeEmbedder

	mu   sync.Mutex
	n    int
	hook func(Op) Fault
	rec  *Recording
}

// Mount shows backing at path, two folders that exist, as a disk of this machine. The caller must Close the disk.
func Mount(backing, path string) (*Disk, error) {
	// By this name the program knows one that keeps its bytes here.
	return mountAs("bindfs", backing, path)
}

// MountFar is Mount for a file system that the program takes for a network's: it stages elsewhere, and moves.
func MountFar(backing, path string) (*Disk, error) { return mountAs("handout-far", backing, path) }

func mountAs(kind, backing, path string) (*Disk, error) {
	d := &Disk{Backing: backing, Path: path, hook: func(Op) Fault { return Fault{} }}
	var st syscall.Stat_t
	if err := syscall.Stat(backing, &st); err != nil {
		return nil, fmt.Errorf("mount %s: %w", backing, err)
	}
	data := &fs.LoopbackRoot{Path: backing, Dev: st.Dev}
	root := &node{LoopbackNode: fs.LoopbackNode{RootData: data}, disk: d}
	data.RootNode, d.root = root, root
	// What the kernel may remember spares most lookups; nobody changes the backing folder behind its back.
	remember := time.Minute
	server, err := fs.Mount(path, root, &fs.Options{
		EntryTimeout: &remember, AttrTimeout: &remember, RootStableAttr: &fs.StableAttr{Ino: 1, Gen: 1},
		MountOptions: fuse.MountOptions{
			FsName: "handout-crash", Name: kind, DirectMountStrict: true, AllowOther: true, DisableXAttrs: true,
			MaxWrite: 128 << 10,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	d.server = server
	return d, nil
}

// Close unmounts the disk. Nobody should have anything open on it.
func (d *Disk) Close() error {
	err := d.server.Unmount()
	for deadline := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(deadline); err = d.server.Unmount() {
		time.Sleep(10 * time.Millisecond) // a process that was killed lets go of its files a moment later
	}
	if err != nil {
		err = errors.Join(err, syscall.Unmount(d.Path, syscall.MNT_DETACH))
	}
	return err
}

// Hook lets f decide about every operation from now on; nil: all are done. f must not use the disk.
func (d *Disk) Hook(f func(Op) Fault) {
	if f == nil {
		f = func(Op) Fault { return Fault{} }
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = f
}

// Ops is how many operations there were so far.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

// Record begins a recording; the disk must be empty.
func (d *Disk) Record() (*Recording, error) {
	left, err := os.ReadDir(d.Backing)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("record %s: it is not empty", d.Backing)
	}
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rec = &Recording{first: d.n + 1, root: idOf(d.root.EmbeddedInode())}
	return d.rec, nil
}

// do does one operation. f is told how many bytes of a write to write.
func (d *Disk) do(op Op, f func(op *Op) syscall.Errno) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	op.N = d.n
	fault := d.hook(op)
	if fault.Errno != 0 {
		d.rec.add(Op{N: op.N, Kind: "failed"})
		return fault.Errno
	}
	if fault.Short > 0 && fault.Short < len(op.data) {
		op.data = op.data[:fault.Short]
	}
	errno := f(&op)
	if errno != 0 {
		op = Op{N: op.N, Kind: "failed"}
	}
	d.rec.add(op)
	if fault.After != nil {
		fault.After()
	}
	return errno
}

// under is the path of an entry of a folder, from the mount.
func under(folder, name string) string { return filepath.ToSlash(filepath.Join(folder, name)) }

package store

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"time"
)

// landing is the folder beside a destination out of which a tree gets there by rename, and into which the one it replaces
// goes: .DIR.handout. A tree that grows beside its destination has it as its staging folder too.
type landing struct {
	parent *os.Root // the destination's folder; not ours to close
	base   string   // of the destination in parent
	root   *os.Root // of the landing; its name in parent is stagingName(base)
	log    *slog.Logger

	step func() error // called before each step of a filling, which then fails; for tests, else nil
}

// The entries of a landing, besides the tree that is to come in.
const (
	oldName  = "old"  // what stood at the destination, while a swap is on
	swapName = "swap" // a swap is on; the file says where in the landing the new tree is
)

// newLanding is a landing that is open; log may be nil.
func newLanding(parent *os.Root, base string, root *os.Root, log *slog.Logger) *landing {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &landing{parent: parent, base: base, root: root, log: log}
}

// dest is the destination, for messages.
func (l *landing) dest() string { return filepath.Join(l.parent.Name(), l.base) }

// spot is an entry of a folder that is held open. Whoever swaps what leads to the folder does not swap the entry.
type spot struct {
	folder *os.Root
	sub    string // the entry's folder, from folder
	name   string
	path   string // from the destination's folder
}

func (l *landing) destination() spot { return spot{l.parent, ".", l.base, l.base} }

// in is an entry of the landing.
func (l *landing) in(name string) spot {
	return spot{l.root, path.Dir(name), path.Base(name), path.Join(stagingName(l.base), name)}
}

// path is the path of an entry, for messages.
func (l *landing) path(name string) string {
	return filepath.Join(l.parent.Name(), stagingName(l.base), filepath.FromSlash(name))
}

// moveIn lets what lies at from in the landing appear at the destination. If something is there already and replace is
// set, both change places by two renames under a note, which settle reads after a crash between them; dropOld ends the
// swap. A folder that can't be renamed, or is somebody's working directory, stays and is filled.
func (l *landing) moveIn(ctx context.Context, from string, replace bool) error {
	there, err := occupied(l.parent, l.base)
	if err != nil {
		return explain(err, "look at", l.dest())
	}
	if there && !replace {
		return &Occupied{Dest: l.dest(), Holds: "holds something that was not there when the fetch began", Comes: "the package"}
	}
	both := isFolder(l.root, from) && isFolder(l.parent, l.base)
	if both && (l.base == itself || len(stayingIn(l.dest())) > 0) {
		return l.fillWith(ctx, from)
	}
	if !there {
		return l.moveToNone(ctx, from, both)
	}
	if err := l.beginSwap(from); err != nil {
		return err
	}
	if err := l.rename(ctx, l.destination(), l.in(oldName)); err != nil {
		err = errors.Join(err, l.endSwap())
		if both && isImmovable(err) {
			return l.fillWith(ctx, from)
		}
		return explain(err, "move away", l.dest())
	}
	if err := l.rename(ctx, l.in(from), l.destination()); err != nil {
		undo := l.rename(context.WithoutCancel(ctx), l.in(oldName), l.destination())
		return explain(errors.Join(err, undo), "publish", l.dest())
	}
	return nil
}

// moveToNone is moveIn where nothing is at the destination, or an empty folder.
func (l *landing) moveToNone(ctx context.Context, from string, both bool) error {
	err := l.parent.Remove(l.base)
	if both && isImmovable(err) {
		return l.fillWith(ctx, from)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(err, "remove the empty folder", l.dest())
	}
	err = l.rename(ctx, l.in(from), l.destination())
	if isCrossDevice(err) && isFolder(l.root, from) { // the tree lies in an overlay's lower layer
		if err := l.parent.Mkdir(l.base, 0o777); err != nil {
			return explain(err, "make", l.dest())
		}
		return l.fillWith(ctx, from)
	}
	return explain(err, "publish", l.dest())
}

// beginSwap notes that a swap is on. When it returns the note is on the disk: it must be there before the first rename is.
func (l *landing) beginSwap(from string) error {
	f, err := l.root.OpenFile(swapName, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.WriteString(from)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = syncFolder(l.root)
	}
	return explain(err, "write", l.path(swapName))
}

func (l *landing) endSwap() error {
	err := l.root.Remove(swapName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return explain(err, "remove", l.path(swapName))
}

// swapping reports whether a swap is on, and where the new tree is or was.
func (l *landing) swapping() (from string, on bool, err error) {
	data, err := l.root.ReadFile(swapName)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return string(data), err == nil, explain(err, "read", l.path(swapName))
}

// dropOld removes what stood at the destination before the swap or the filling, if there was one.
func (l *landing) dropOld() error {
	_, on, err := l.swapping()
	filled := isThere(l.root, fillName)
	if err != nil || !on && !filled {
		return err
	}
	if err := removeAll(l.root, oldName); err != nil {
		return explain(err, "remove", l.path(oldName))
	}
	if filled {
		return explain(l.root.Remove(fillName), "remove", l.path(fillName))
	}
	return l.endSwap()
}

// settle ends a swap that was interrupted. The tree that was to come in had been finished and flushed by then, so the
// swap goes forward unless that tree has vanished.
func (l *landing) settle(ctx context.Context) error {
	if isThere(l.root, fillName) {
		if err := l.settleFill(ctx); err != nil {
			return err
		}
		return l.dropOld()
	}
	if err := l.settleEviction(); err != nil {
		return err
	}
	from, on, err := l.swapping()
	if err != nil {
		return err
	}
	if !on { // after a power cut the note may be gone, and the old tree not
		return explain(removeAll(l.root, oldName), "remove", l.path(oldName))
	}
	destThere, err := exists(l.parent, l.base)
	if err != nil {
		return explain(err, "look at", l.dest())
	}
	oldThere, err := exists(l.root, oldName)
	if err != nil {
		return explain(err, "look at", l.path(oldName))
	}
	if oldThere && !destThere {
		err := fs.ErrNotExist
		// Whoever wrote the note may not have been handout.
		if filepath.IsLocal(filepath.FromSlash(from)) {
			err = l.rename(ctx, l.in(from), l.destination())
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = l.rename(ctx, l.in(oldName), l.destination())
		}
		if err == nil {
			err = syncFolder(l.parent)
		}
		if err != nil {
			return explain(err, "finish the swap of", l.dest())
		}
	}
	return l.dropOld()
}

// rename renames between the landing and the destination's folder. On Windows it fails while anybody, most often a virus
// scanner, has a file of a folder open, and mostly works a little later.
func (l *landing) rename(ctx context.Context, from, to spot) error {
	for wait := 50 * time.Millisecond; ; wait *= 2 {
		err := renameSpot(l.parent, from, to)
		if errors.Is(err, fs.ErrPermission) && renameReadOnly(l.parent, from, to) {
			return nil
		}
		if err == nil || !isPassing(err) {
			return err
		}
		if wait > time.Second || ctx.Err() != nil {
			return inUse(filepath.Join(l.parent.Name(), filepath.FromSlash(from.path)), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// renameReadOnly is renameSpot for a folder that may not be written to: it has an entry for the folder around it.
func renameReadOnly(parent *os.Root, from, to spot) bool {
	name := path.Join(from.sub, from.name)
	fi, err := from.folder.Lstat(name)
	if err != nil || !fi.IsDir() || fi.Mode()&0o200 != 0 {
		return false
	}
	mode := fi.Mode() & (fs.ModePerm | fs.ModeSetgid)
	if from.folder.Chmod(name, mode|0o200) != nil {
		return false
	}
	if renameSpot(parent, from, to) != nil {
		from.folder.Chmod(name, mode)
		return false
	}
	to.folder.Chmod(path.Join(to.sub, to.name), mode)
	return true
}

func exists(root *os.Root, name string) (bool, error) {
	_, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// ErrPinned: the tree was pinned, see Pin.
var ErrPinned = errors.New("pinned")

// Evict removes the tree at dest, its record and whatever grows to take its place. ErrInUse: somebody holds it, an agent
// or, on Windows, any program. ErrPinned: it stays. A machine that dies meanwhile has the whole tree at dest or nothing
// there; what is left in the staging folder then is removed by the next Open or Clean.
func Evict(ctx context.Context, dest string) error {
	abs, parent, base, err := seatOf(dest, false)
	if err != nil {
		return explain(err, "evict", abs)
	}
	defer parent.Close()
	s, err := lockStaging(parent, base)
	if err != nil {
		return explain(err, "evict", abs)
	}
	if isThere(s.root, pinName) {
		s.close()
		return fmt.Errorf("evict %s: %w", abs, ErrPinned)
	}
	l := newLanding(parent, base, s.root, nil)
	err = l.settle(ctx)
	if err == nil {
		err = s.remove(evictedName)
	}
	if err == nil && isThere(parent, base) {
		err = l.evict(ctx)
	}
	if err == nil {
		err = syncFolder(parent)
	}
	if err != nil {
		s.close()
		return explain(err, "evict", abs)
	}
	return s.discard()
}

// evict takes what stands at the destination away, or removes it there if it can't be renamed.
func (l *landing) evict(ctx context.Context) error {
	if err := refuseMounts(l.dest()); err != nil {
		return err
	}
	if l.base != itself {
		err := l.rename(ctx, l.destination(), l.in(evictedName))
		if err == nil || !isImmovable(err) || !isFolder(l.parent, l.base) {
			return err
		}
	}
	if err := touch(l.root, evictsName, time.Now()); err != nil {
		return explain(err, "write", l.path(evictsName))
	}
	return errors.Join(syncFolder(l.root), l.settleEviction())
}

// settleEviction removes what stands at the destination if that was begun there.
func (l *landing) settleEviction() error {
	if !isThere(l.root, evictsName) {
		return nil
	}
	if dest, err := openWithin(l.parent, l.base); err == nil {
		defer dest.Close()
		names, err := namesIn(dest, ".")
		for _, name := range names {
			if err == nil && !isOwn(dest, name, l.base == itself) {
				err = removeAll(dest, name)
			}
		}
		if err != nil {
			return explain(err, "remove what is in", l.dest())
		}
	}
	if l.base != itself {
		if err := removeAll(l.parent, l.base); err != nil && !isImmovable(err) {
			return explain(err, "remove", l.dest())
		}
	}
	return errors.Join(syncFolder(l.parent), explain(l.root.Remove(evictsName), "remove", l.path(evictsName)))
}

// refuseMounts is ErrInUse if another file system is mounted in a tree that is to go: what is on it would go too.
func refuseMounts(dest string) error {
	mounts := mountsIn(dest)
	if len(mounts) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s is mounted in %s: unmount it first", ErrInUse, mounts[0], dest)
}

// lockStaging is openStaging for a staging folder that is there already.
func lockStaging(parent *os.Root, base string) (*staging, error) {
	if _, err := parent.Lstat(stagingName(base)); err != nil {
		return nil, err
	}
	return openStaging(parent, stagingName(base))
}

// Leftover is something that nobody will need again.
type Leftover struct {
	Dest  string // the destination it was for
	What  string // in a few words
	Bytes int64  // on the disk, roughly
	Err   error  // why it is still there: ErrInUse where somebody works on it; nil: it went, or would go
}

// Clean removes what runs that died have left in folder dir, where destinations lie, or one of Options.Stage: half an
// eviction, the old tree of a swap, records of trees that are gone, and trees that grew, or were copied there, in which
// nothing has changed for the time abandoned. What somebody holds is left alone, also on another machine, and so is the
// record of a tree on a network mount that is not there now. With dry nothing is removed. What it found is returned also
// with an error, which is ctx's or that of reading dir.
func Clean(ctx context.Context, dir string, abandoned time.Duration, dry bool) ([]Leftover, error) {
	abs, root, err := openFolder(dir)
	if err != nil {
		return nil, wrap(err, "clean", dir)
	}
	defer root.Close()
	bases, err := keptNames(root)
	if err != nil {
		return nil, wrap(err, "clean", abs)
	}
	var found []Leftover
	clean := func(parent *os.Root, dest, base string) {
		r, ok := findRemains(parent, base, abandoned) // without a lock, so that nobody is disturbed where nothing is to be done
		if !ok {
			return
		}
		if r.Dest == "" {
			r.Dest = dest
		}
		r.Err = cleanOne(ctx, parent, base, abandoned, dry)
		found = append(found, r.Leftover)
	}
	for _, base := range bases {
		if err := ctx.Err(); err != nil {
			return found, err
		}
		clean(root, filepath.Join(abs, base), base)
	}
	// Destinations that are reached by themselves: the folder itself, and those in it.
	names, err := namesIn(root, ".")
	for _, name := range append([]string{itself}, names...) {
		if err := ctx.Err(); err != nil {
			return found, err
		}
		if own, err := openWithin(root, name); err == nil {
			clean(own, filepath.Join(abs, name), itself)
			own.Close()
		}
	}
	return found, wrap(err, "clean", abs)
}

func cleanOne(ctx context.Context, parent *os.Root, base string, abandoned time.Duration, dry bool) error {
	if !isThere(parent, path.Join(stagingName(base), recordName)) {
		return cleanLanding(ctx, parent, base, dry)
	}
	s, err := lockStaging(parent, base)
	if err != nil {
		return err
	}
	r, ok := findRemains(parent, base, abandoned) // somebody may have been here meanwhile
	switch {
	case !ok || dry:
	case r.all:
		return s.discard()
	default:
		err = newLanding(parent, base, s.root, nil).settle(ctx)
		if err == nil && r.growing {
			err = s.dropGrowing()
		}
		for _, name := range r.names {
			if err == nil {
				err = s.remove(name)
			}
		}
	}
	return errors.Join(err, s.close())
}

// remains is what can go of one staging folder.
type remains struct {
	Leftover
	all     bool     // the whole staging folder
	growing bool     // what grows
	names   []string // these
}

func findRemains(parent *os.Root, base string, abandoned time.Duration) (r remains, found bool) {
	stage, err := openWithin(parent, stagingName(base))
	if err != nil {
		return r, false
	}
	defer stage.Close()
	if !isThere(stage, recordName) {
		return findHalfLanded(stage, abandoned)
	}
	stands, kept := isThere(parent, base), isThere(stage, standingName)
	if base == itself {
		stands, _ = occupied(parent, base)
	}
	last, grows := lastGrowth(stage)
	if dest, volume, ok := destinationOf(stage); ok {
		_, err := os.Lstat(dest)
		_, mounted := foreignVolume(nearest(dest))
		away := volume != "" && !mounted || err != nil && !errors.Is(err, fs.ErrNotExist)
		stands = err == nil || kept && away
		r.Dest = dest
	}
	idle := time.Since(last)
	var names []string
	switch {
	case isThere(stage, evictedName), isThere(stage, evictsName):
		r.What, r.all, names = "half evicted", !stands && !grows, []string{evictedName}
	case isThere(stage, oldName) || isThere(stage, swapName) || isThere(stage, fillName):
		r.What, names = "what a newer version replaced", []string{oldName}
	case grows && idle >= abandoned:
		r.What = fmt.Sprintf("unfinished since %s", last.Format(time.DateOnly))
		r.all, r.growing, names = !stands || !kept, true, []string{treeName, growingName, journalName}
	case grows:
		return r, false
	case !stands:
		r.What, r.all = "the record of a tree that is gone", true
	default:
		for _, name := range []string{standingName, growingName} {
			if part := name + partSuffix; isThere(stage, part) {
				r.What, names = "a half-written manifest", append(names, part)
			}
		}
		if names == nil {
			return r, false
		}
	}
	r.names = names
	if r.all {
		names = []string{"."}
	}
	for _, name := range names {
		if isThere(stage, name) {
			n, _ := diskUse(stage, name)
			r.Bytes += n
		}
	}
	return r, true
}

// lastGrowth is when something was last done to the tree that grows. The record tells nothing: to look at it changes it.
func lastGrowth(stage *os.Root) (last time.Time, grows bool) {
	for _, name := range []string{treeName, growingName, journalName} {
		if fi, err := stage.Lstat(name); err == nil {
			grows = true
			if fi.ModTime().After(last) {
				last = fi.ModTime()
			}
		}
	}
	return last, grows
}

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
	abs, dir, base, err := split(dest)
	if err != nil {
		return fmt.Errorf("evict %s: %w", dest, err)
	}
	parent, err := os.OpenRoot(dir)
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
	l := &landing{parent: parent, base: base, root: s.root}
	err = l.settle(ctx)
	if err == nil {
		err = s.remove(evictedName)
	}
	if err == nil && isThere(parent, base) {
		err = l.rename(ctx, l.destination(), l.in(evictedName))
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
	for _, base := range bases {
		if err := ctx.Err(); err != nil {
			return found, err
		}
		r, ok := findRemains(root, base, abandoned) // without a lock, so that nobody is disturbed where nothing is to be done
		if !ok {
			continue
		}
		if r.Dest == "" {
			r.Dest = filepath.Join(abs, base)
		}
		r.Err = cleanOne(ctx, root, base, abandoned, dry)
		found = append(found, r.Leftover)
	}
	return found, nil
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
		l := &landing{parent: parent, base: base, root: s.root}
		err = l.settle(ctx)
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
	case isThere(stage, evictedName):
		r.What, r.all, names = "half evicted", !stands && !grows, []string{evictedName}
	case isThere(stage, oldName) || isThere(stage, swapName):
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

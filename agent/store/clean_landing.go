package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// findHalfLanded is findRemains for a landing to which trees are copied that grew elsewhere.
func findHalfLanded(root *os.Root, abandoned time.Duration) (r remains, found bool) {
	var last time.Time // when something was done there
	var copied, owned bool
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return r, false
	}
	for _, e := range entries {
		arriving := strings.HasPrefix(e.Name(), arrivalPrefix)
		if fi, err := e.Info(); err == nil && (arriving || e.Name() == ownerName) {
			copied, owned = copied || arriving, owned || e.Name() == ownerName
			if fi.ModTime().After(last) {
				last = fi.ModTime()
			}
		}
		if arriving || e.Name() == oldName {
			n, _ := diskUse(root, e.Name())
			r.Bytes += n
		}
	}
	switch idle := time.Since(last); {
	case copied && idle < abandoned, owned && idle < silentBeats*beatEvery:
		return r, false
	case isThere(root, oldName) || isThere(root, swapName) || isThere(root, fillName):
		r.What = "what a newer version replaced"
	case copied:
		r.What = fmt.Sprintf("half copied since %s", last.Format(time.DateOnly))
	default:
		r.What = "the folder of a copy that is done"
	}
	return r, true
}

// cleanLanding ends a swap that was interrupted there and removes the rest.
func cleanLanding(ctx context.Context, parent *os.Root, base string, dry bool) error {
	l := newLanding(parent, base, nil, nil)
	var err error
	if l.root, err = openWithin(parent, stagingName(base)); err != nil {
		return explain(err, "open", l.path("."))
	}
	defer l.root.Close()
	// By the file system's clock, which is not this machine's; the owner writes every few seconds.
	if fi, err := l.root.Lstat(ownerName); err == nil && time.Since(fi.ModTime()) < silentBeats*beatEvery {
		return ErrInUse
	}
	if dry {
		return nil
	}
	if err := l.root.Remove(ownerName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(err, "remove", l.path(ownerName))
	}
	owner, err := l.tryClaim(newToken(), beatEvery)
	if err != nil {
		return err
	}
	if owner == nil {
		return ErrInUse
	}
	err = l.settle(ctx)
	if err == nil {
		err = l.clearArrivals("")
	}
	err = errors.Join(err, owner.release())
	if err == nil {
		err = explain(removeFolder(parent, stagingName(base)), "remove", l.path("."))
	}
	return err
}

// tidyLanding removes what this machine may have left beside a destination where the tree stands already, when it died or
// could not write just after that. Another machine that copies is left alone.
func (t *Tree) tidyLanding(base string) {
	if !t.elsewhere() || !isThere(t.parent, stagingName(base)) {
		return
	}
	l := newLanding(t.parent, base, nil, t.o.Log)
	root, err := openWithin(t.parent, stagingName(base))
	if err != nil || isThere(root, recordName) {
		if err == nil {
			root.Close()
		}
		return
	}
	l.root = root
	owner, err := l.tryClaim(t.token, t.o.beat)
	if err == nil && owner == nil {
		root.Close()
		return
	}
	if err == nil {
		t.land, t.owner = l, owner
		err = t.leaveLanding()
	} else {
		root.Close()
	}
	if err != nil {
		t.o.Log.Warn("the landing could not be cleared", "tree", t.dest, "err", err)
	}
}

package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// moveIn lets what lies at from in the staging folder appear at the destination. If something is there already and
// replace is set, both change places by two renames under a note in the record, which settle reads after a crash
// between them; dropOld ends the swap.
func (s *staging) moveIn(ctx context.Context, from string, replace bool) error {
	dest := filepath.Join(s.parent.Name(), s.base)
	there, err := occupied(s.parent, s.base)
	if err != nil {
		return explain(err, "look at", dest)
	}
	if !there {
		if err := s.parent.Remove(s.base); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty folder, at most
			return explain(err, "remove the empty folder", dest)
		}
		return explain(s.rename(ctx, path.Join(s.name, from), s.base), "publish", dest)
	}
	if !replace {
		return explain(ErrExists, "publish", dest)
	}
	if err := s.put(map[string][]byte{keySwap: []byte(from)}); err != nil {
		return err
	}
	old := path.Join(s.name, oldName)
	if err := s.rename(ctx, s.base, old); err != nil {
		return explain(errors.Join(err, s.put(map[string][]byte{keySwap: nil})), "move away", dest)
	}
	if err := s.rename(ctx, path.Join(s.name, from), s.base); err != nil {
		undo := s.rename(context.WithoutCancel(ctx), old, s.base)
		return explain(errors.Join(err, undo), "publish", dest)
	}
	return nil
}

// dropOld removes what stood at the destination before the swap.
func (s *staging) dropOld() error {
	if s.get(keySwap) == nil {
		return nil
	}
	if err := s.remove(oldName); err != nil {
		return err
	}
	return s.put(map[string][]byte{keySwap: nil})
}

// settle ends a swap that was interrupted. The tree that was to come in had been finished and flushed by then, so the
// swap goes forward unless that tree has vanished.
func (s *staging) settle(ctx context.Context) error {
	from := s.get(keySwap)
	if from == nil {
		return nil
	}
	dest := filepath.Join(s.parent.Name(), s.base)
	destThere, err := exists(s.parent, s.base)
	if err != nil {
		return explain(err, "look at", dest)
	}
	oldThere, err := exists(s.root, oldName)
	if err != nil {
		return explain(err, "look at", s.path(oldName))
	}
	if oldThere && !destThere {
		err := s.rename(ctx, path.Join(s.name, string(from)), s.base)
		if errors.Is(err, fs.ErrNotExist) {
			err = s.rename(ctx, path.Join(s.name, oldName), s.base)
		}
		if err == nil {
			err = syncFolder(s.parent)
		}
		if err != nil {
			return explain(err, "finish the swap of", dest)
		}
	}
	return s.dropOld()
}

// rename renames within the destination's folder. On Windows it fails while anybody, most often a virus scanner, has a
// file of a folder open, and mostly works a little later.
func (s *staging) rename(ctx context.Context, from, to string) error {
	for wait := 50 * time.Millisecond; ; wait *= 2 {
		err := s.parent.Rename(from, to)
		if err == nil || !isPassing(err) {
			return err
		}
		if wait > time.Second || ctx.Err() != nil {
			return inUse(filepath.Join(s.parent.Name(), filepath.FromSlash(from)), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func exists(root *os.Root, name string) (bool, error) {
	_, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// occupied reports whether something is at name that would be lost if a tree took its place. An empty folder is not: it
// is what is left of "make the folder, then fetch into it", and goes.
func occupied(root *os.Root, name string) (bool, error) {
	fi, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !fi.IsDir() {
		return err == nil, err
	}
	f, err := root.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	if err == io.EOF {
		return false, nil
	}
	return err == nil, err
}

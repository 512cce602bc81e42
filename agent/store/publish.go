package store

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"
)

// Publish gives the complete tree its last touch and lets it appear at its destination, whole. ErrIncomplete: pieces are
// missing. ErrExists: something has come to be at the destination since Open. ErrInUse: a file there is open (Windows);
// the error names it, and Publish may be tried again. Reads wait while the tree moves. An error may also
// come after that, when the publication cannot be made to last: Published tells. A tree that is published already is left
// alone.
func (t *Tree) Publish(ctx context.Context) error {
	t.ending.Lock()
	defer t.ending.Unlock()
	if t.Published() {
		return nil
	}
	if t.at == nil {
		return ErrClosed
	}
	if missing := t.Missing().Count(); missing > 0 {
		return fmt.Errorf("publish %s: %w: %d of %d pieces are missing", t.dest, ErrIncomplete, missing, t.goal.wanted.Count())
	}
	if err := t.flusher.flush(); err != nil {
		return err
	}
	t.flusher.halt() // nothing is written any more
	if t.elsewhere() {
		return t.publishAcross(ctx)
	}
	t.narrow()
	stamps, err := t.at.finish(ctx)
	if err != nil {
		return explain(err, "publish", t.dest)
	}
	if err := t.at.syncAll(); err != nil {
		return explain(err, "flush", t.dest)
	}
	if err := t.move(ctx, stamps); err != nil {
		return err
	}
	return t.settleIn()
}

// narrow makes of a tree with all files of the package one of those that are to be published: finish removes the others.
func (t *Tree) narrow() {
	if t.at.layout == t.goal {
		return
	}
	t.moving.Lock()
	defer t.moving.Unlock()
	t.at.files.closeIdle()
	t.at.dirs.closeIdle()
	t.at.layout = t.goal
}

// move takes the finished tree to its destination, where its files have the modification times stamps.
func (t *Tree) move(ctx context.Context, stamps []time.Time) error {
	from := treeName
	if t.m.Single {
		from = path.Join(treeName, t.m.Files[0].Path)
	}
	t.moving.Lock()
	defer t.moving.Unlock()
	t.at.close() // Windows renames no folder in which anything is open
	if err := t.land.moveIn(ctx, from, t.o.Replace); errors.Is(err, errHalfway) {
		t.at = nil
		return err
	} else if err != nil {
		root, err2 := openWithin(t.stage.root, treeName)
		if err2 != nil {
			t.at = nil
			return errors.Join(err, err2)
		}
		links := t.at.linked
		t.at = newPlace(t.goal, t.dest, root, "", t.o.MaxOpen)
		t.at.linked = links
		return err
	}
	at, err := openIn(t.parent, t.base, t.goal, t.dest, t.o.MaxOpen)
	if err != nil {
		t.at = nil
		return wrap(err, "open after publication", t.dest)
	}
	t.topUp(at)
	at.stamps = stamps
	t.show(at)
	return nil
}

// settleIn makes the publication last and clears up after it.
func (t *Tree) settleIn() error {
	if err := syncFolder(t.parent); err != nil {
		return explain(err, "flush the folder of", t.dest)
	}
	if err := t.land.dropOld(); err != nil {
		t.o.Log.Warn("the replaced tree could not be removed", "tree", t.dest, "err", err)
	}
	if t.o.Keep {
		return t.keep()
	}
	t.dropStaging()
	return nil
}

// dropStaging removes the staging folder of a published tree. That it can't be done takes nothing from the tree.
func (t *Tree) dropStaging() {
	if err := t.stage.discard(); err != nil {
		t.o.Log.Warn("the staging folder could not be removed", "tree", t.dest, "err", err)
	}
	t.stage = nil
}

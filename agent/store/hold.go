package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"handout/manifest"
)

// Reopen opens what stands at dest, as a Tree with Options.Keep left it, and hashes nothing. fs.ErrNotExist: nothing is kept
// there. ErrChanged: what is there is not known to be m. ErrInUse as for Open. Whatever it finds it leaves alone.
//
// After a run that did not come to its end each piece is hashed before it is read out for the first time.
func Reopen(ctx context.Context, m *manifest.Manifest, dest string, o Options) (*Tree, error) {
	o.Keep, o.Stage = true, ""
	t, base, err := newTree(m, dest, o)
	if err != nil {
		return nil, err
	}
	if t.stage, err = lockStaging(t.parent, base); err == nil {
		err = t.reopen(ctx, base)
	}
	if err != nil {
		if t.stage != nil {
			t.stage.close()
		}
		t.closeFolders()
		return nil, wrap(err, "open again", t.dest)
	}
	return t, nil
}

func (t *Tree) reopen(ctx context.Context, base string) error {
	if err := t.settle(ctx, base); err != nil {
		return err
	}
	at, err := openIn(t.parent, t.base, t.goal, t.dest, t.o.MaxOpen)
	if err == errNotFolder {
		return ErrChanged
	}
	if err != nil {
		return err
	}
	v, err := at.look(ctx)
	if err == nil && !(v.Matches() && t.trusted(v)) {
		err = ErrChanged
	}
	if err == nil {
		err = t.stage.put(map[string][]byte{keyOpen: {1}})
	}
	if err != nil {
		at.close()
		return err
	}
	at.stamps = times(v.files)
	t.show(at)
	return nil
}

// LetGo gives up the record of a published tree, so that another version may be opened for the same destination. What is
// published can be read on, until that version takes its place.
func (t *Tree) LetGo() error {
	t.ending.Lock()
	defer t.ending.Unlock()
	t.moving.Lock()
	defer t.moving.Unlock()
	if t.stage == nil || !t.Published() {
		return nil
	}
	err := t.stage.close()
	t.stage, t.land = nil, nil
	return err
}

// Recheck hashes a complete piece again. False: it is not what it was, or cannot be read, and no longer counts as complete.
// Of a published tree then nothing is known any more: the next Open hashes all of it. Of a piece that
// never can be read out nothing is said.
func (t *Tree) Recheck(i manifest.PieceIndex) (bool, error) {
	if int(i) >= t.m.NumPieces() {
		return false, fmt.Errorf("check piece %d of %s: %w", i, t.dest, fs.ErrInvalid)
	}
	release, err := t.claim(i)
	if err != nil {
		return false, err
	}
	defer release()
	if !t.goal.offers(i) {
		return true, nil
	}
	if !t.Has(i) {
		return false, nil
	}
	ok, err := t.at.verify(i)
	if err != nil && !errors.Is(err, ErrChanged) {
		t.o.Log.Warn("piece can't be read", "tree", t.dest, "piece", i, "err", err)
	}
	t.mu.Lock()
	t.doubt.Clear(i)
	if !ok {
		t.have.Clear(i)
	}
	t.mu.Unlock()
	if !ok && t.stage != nil && t.Published() {
		return false, t.stage.put(map[string][]byte{keyPublished: nil})
	}
	return ok, nil
}

// vouch makes sure of a piece that a run which did not come to its end has left.
func (t *Tree) vouch(i manifest.PieceIndex) error {
	t.mu.Lock()
	doubtful := t.doubt.Has(i)
	t.mu.Unlock()
	if !doubtful {
		return nil
	}
	if ok, err := t.Recheck(i); ok || err != nil {
		return err
	}
	return fmt.Errorf("read piece %d of %s: %w", i, t.dest, ErrCorrupt)
}

// Doubtful is a piece that nothing vouches for, because the last run did not come to its end; false: there is none.
func (t *Tree) Doubtful() (manifest.PieceIndex, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.doubt.All {
		return i, true
	}
	return 0, false
}

// Damaged reports whether a piece of a published tree was found to be wrong.
func (t *Tree) Damaged() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.published {
		return false
	}
	missing := t.goal.wanted.Clone()
	missing.Without(t.have)
	return missing.Count() > 0
}

// Used notes that a kept tree was of use just now.
func (t *Tree) Used() error {
	t.moving.RLock()
	defer t.moving.RUnlock()
	if t.stage == nil {
		return nil
	}
	return explain(touch(t.stage.root, usedName, time.Now()), "write", t.stage.path(usedName))
}

// Checked is when a published tree was last hashed from end to end (zero: never since it was published), and the piece that
// comes next in the round that has begun since.
func (t *Tree) Checked() (last time.Time, next manifest.PieceIndex) {
	t.moving.RLock()
	defer t.moving.RUnlock()
	if t.stage == nil {
		return time.Now(), 0
	}
	if b := t.stage.get(keyChecked); len(b) == 12 {
		if s := int64(binary.LittleEndian.Uint64(b)); s != 0 {
			last = time.Unix(s, 0)
		}
		next = manifest.PieceIndex(binary.LittleEndian.Uint32(b[8:]))
	}
	return last, next
}

// SetChecked records what Checked returns.
func (t *Tree) SetChecked(last time.Time, next manifest.PieceIndex) error {
	t.moving.RLock()
	defer t.moving.RUnlock()
	if t.stage == nil {
		return nil
	}
	var s int64
	if !last.IsZero() {
		s = last.Unix()
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(s))
	return t.stage.put(map[string][]byte{keyChecked: binary.LittleEndian.AppendUint32(b, uint32(next))})
}

package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"handout/agent/plan"
	"handout/manifest"
)

// Open prepares the tree of m for the destination dest: a folder, or of a one-file package the file itself. Missing
// folders above it are made. The outcomes:
//   - a Tree to fill, with whatever an earlier run has left;
//   - a Tree that is published already, because dest matches m (see Report.Matches): every byte was hashed or, with the
//     record kept by Options.Keep, every file has the size and time it was published with;
//   - ErrExists: dest is something else, and neither Options.Replace nor Options.Repair lets it be replaced. An empty
//     folder is nothing;
//   - ErrInUse: another Tree is open for dest, here or in another process;
//   - ErrNotWritable, ErrNoSpace: the latter before the first byte, if the file system says what is free;
//   - any other error, ctx's among them.
//
// The caller must Close the Tree.
func Open(ctx context.Context, m *manifest.Manifest, dest string, o Options) (*Tree, error) {
	t, base, err := newTree(m, dest, o)
	if err != nil {
		return nil, err
	}
	if err := t.open(ctx, base); err != nil {
		t.closeFolders()
		return nil, err
	}
	if !t.published {
		err := t.reuse(ctx)
		if err == nil {
			err = t.fillZeros(ctx)
		}
		if err == nil {
			err = t.roomFor(0)
		}
		if err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	return t, nil
}

// newTree makes the folders above dest and opens them; base is dest's name.
func newTree(m *manifest.Manifest, dest string, o Options) (t *Tree, base string, err error) {
	if err := checkNames(m); err != nil {
		return nil, "", fmt.Errorf("open %s: %w", dest, err)
	}
	if o.Only != nil && o.Keep {
		return nil, "", fmt.Errorf("open %s: %w", dest, errors.New("no record is kept of a part of a package"))
	}
	abs, parent, base, err := seatOf(dest, m.Single)
	if errors.Is(err, fs.ErrNotExist) {
		dir := filepath.Dir(abs)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, "", unreachable(abs, explain(err, "make", dir))
		}
		abs, parent, base, err = seatOf(dest, m.Single)
	}
	if err == nil && base == itself {
		err = checkInside(m)
	}
	if err != nil {
		return nil, "", unreachable(abs, explain(err, "open", abs))
	}
	t = &Tree{
		m:      m,
		o:      o.withDefaults(),
		lay:    newLayout(m, nil),
		dest:   abs,
		base:   base,
		parent: parent,
		claims: make([]sync.Mutex, m.NumPieces()),
		have:   plan.NewBitfield(m.NumPieces()),
		doubt:  plan.NewBitfield(m.NumPieces()),
	}
	if t.goal = t.lay; o.Only != nil {
		t.goal = newLayout(m, o.Only)
	}
	if err := t.chooseStage(base); err != nil {
		parent.Close()
		return nil, "", err
	}
	return t, base, nil
}

func (t *Tree) open(ctx context.Context, base string) error {
	staged, err := exists(t.around, t.stageName)
	if err == nil && !staged && t.elsewhere() {
		staged, err = t.landed(base)
	}
	if err != nil {
		return explain(err, "look at", t.dest)
	}
	looked := false
	if !staged && !t.o.Keep {
		// A destination that matches can be read where nothing can be written; one that doesn't is not littered.
		if done, err := t.adopt(ctx, base); done || err != nil {
			return err
		}
		looked = true
	}
	if t.stage, err = openStaging(t.around, t.stageName); err != nil {
		if errors.Is(err, ErrInUse) && !looked && !t.o.Keep {
			// Whoever holds it may have published it: to read it no lock is needed.
			if done, err2 := t.adopt(ctx, base); done && err2 == nil {
				return nil
			}
		}
		if !t.elsewhere() {
			err = unreachable(t.dest, err)
		}
		return err
	}
	known, err := exists(t.stage.root, treeName)
	if err == nil {
		err = t.openStaged(ctx, base, looked)
	}
	if err != nil {
		if t.at != nil {
			t.at.close()
			t.at = nil
		}
		if t.stage.fresh && !known {
			t.stage.discard()
		} else {
			t.stage.close()
		}
	}
	return err
}

// openStaged is open with the lock held.
func (t *Tree) openStaged(ctx context.Context, base string, looked bool) error {
	if err := t.settle(ctx, base); err != nil {
		return err
	}
	if err := t.stage.remove(evictedName); err != nil {
		return err
	}
	if !looked {
		if _, kept := t.stage.standing(); kept != nil && t.o.Repair && t.o.Only == nil {
			t.o.Keep = true // whose record it is, he keeps it
		}
		done, err := t.adopt(ctx, base)
		if err != nil {
			return err
		}
		if done {
			t.tidyLanding(base)
		}
		if done && t.o.Keep {
			return t.keep()
		}
		if done {
			t.dropStaging()
			return nil
		}
	}
	return t.resume(ctx)
}

// adopt reports whether the destination is the tree already; then t is it.
func (t *Tree) adopt(ctx context.Context, base string) (done bool, err error) {
	at, err := t.standing(ctx, base)
	if at != nil {
		t.show(at)
	}
	return at != nil, err
}

// standing returns the tree at the destination if that is this one and whole; nil: it may come to be there.
func (t *Tree) standing(ctx context.Context, base string) (*place, error) {
	at, err := openIn(t.parent, base, t.goal, t.dest, t.o.MaxOpen)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var v *view
	if err == nil {
		v, err = at.look(ctx)
		if err == nil && !v.Matches() {
			err = ErrCorrupt
		}
		if err == nil && (t.o.Repair || !t.trusted(v)) {
			err = at.hash(ctx, v, true, t.o.Progress)
		}
		if err == nil {
			at.stamps = times(v.files)
			// The mode alone may be of an older publication of the same content, or of a run that was killed.
			if err = at.touchTop(); err != nil && t.o.Repair {
				at.close()
				return nil, explain(err, "repair", t.dest)
			}
			return at, nil
		}
		at.close()
	}
	if err != errNotFolder && err != ErrCorrupt {
		return nil, wrap(err, "compare", t.dest)
	}
	there, err := occupied(t.parent, base)
	if err != nil {
		return nil, explain(err, "look at", t.dest)
	}
	if there && !t.o.Replace {
		switch {
		case t.o.Only != nil && !t.o.Repair:
			return nil, t.occupiedBy(v)
		case !t.o.Repair || v == nil:
			return nil, t.occupiedBy(v)
		case len(v.Extra) > 0:
			holds := fmt.Sprintf("holds what is not of %s: %s", title(t.m), some(v.Extra))
			return nil, &Occupied{Dest: t.dest, Holds: holds, Comes: title(t.m)}
		}
		t.o.Replace = true // by the same package
	}
	if there {
		return nil, refuseMounts(t.dest)
	}
	return nil, nil
}

// trusted reports whether the kept record knows every file as it is. What a file says of its own time is believed of
// files in an agent's own cache: nobody else writes there.
func (t *Tree) trusted(v *view) bool {
	if t.stage == nil || t.o.Only != nil {
		return false
	}
	hash, stamps := t.stage.standing()
	known := stamps != nil && hash == t.m.InfoHash && slices.EqualFunc(unpackTimes(stamps), times(v.files), time.Time.Equal)
	if known && t.stage.get(keyOpen) != nil {
		t.doubt.SetAll()
	}
	return known
}

// keep records that the tree at the destination is this one and whole.
func (t *Tree) keep() error {
	if err := t.stage.keepManifest(standingName, t.m); err != nil {
		return err
	}
	err := t.stage.put(map[string][]byte{
		keyPublished: packTimes(append([]byte(nil), t.m.InfoHash[:]...), t.at.stamps),
		keyOpen:      {1},
	})
	if err != nil {
		return err
	}
	if !isThere(t.stage.root, usedName) {
		if err := touch(t.stage.root, usedName, time.Now()); err != nil {
			return explain(err, "write", t.stage.path(usedName))
		}
	}
	return t.stage.dropGrowing()
}

// resume makes the staging tree ready, with all that is worth keeping of it.
func (t *Tree) resume(ctx context.Context) error {
	s := t.stage
	if !s.fresh && infoHash(s) != t.m.InfoHash {
		if err := s.dropGrowing(); err != nil {
			return err
		}
	}
	if err := s.put(map[string][]byte{keyInfoHash: t.m.InfoHash[:]}); err != nil {
		return err
	}
	if err := s.keepManifest(growingName, t.m); err != nil {
		return err
	}
	if err := t.dropLinks(); err != nil {
		return err
	}
	err := s.root.Mkdir(treeName, 0o777)
	found := errors.Is(err, fs.ErrExist)
	if err != nil && !found {
		return explain(err, "make", s.path(treeName))
	}
	if !found {
		// What leads to the tree must outlast a power cut as the tree does.
		if err := errors.Join(syncFolder(s.root), syncFolder(s.parent)); err != nil {
			return explain(err, "flush", s.path("."))
		}
	}
	root, err := openWithin(s.root, treeName)
	if err != nil {
		return explain(err, "open", s.path(treeName))
	}
	t.at = newPlace(t.lay, t.dest, root, "", t.o.MaxOpen)
	t.at.names.Store(true) // made above, or of a run that could not flush
	t.flusher = newFlusher(t, plan.NewBitfield(t.m.NumPieces()))
	if found {
		if err := t.recover(ctx); err != nil {
			return err
		}
	}
	if err := s.openJournal(); err != nil {
		return err
	}
	go t.flusher.run()
	return nil
}

// recover finds out which pieces an earlier run has left: those in the record, of which the data was flushed before, and
// those that prove right when hashed: the ones it noted or, if the record is lost, all.
func (t *Tree) recover(ctx context.Context) error {
	v, err := t.at.look(ctx)
	if err == nil {
		err = t.at.clear(v)
	}
	if err != nil {
		return explain(err, "resume", t.dest)
	}
	n := t.m.NumPieces()
	recorded, suspect := unpackBits(t.stage.get(keyPieces), n), plan.NewBitfield(n)
	if t.stage.fresh {
		suspect.SetAll()
	} else if err := t.stage.noted(suspect); err != nil {
		return err
	}
	for file := range t.m.Files {
		if t.m.Files[file].Length > 0 && !v.present(file) {
			first, last := t.lay.pieces(file)
			for i := first; i <= last; i++ {
				recorded.Clear(i)
				suspect.Clear(i)
			}
		}
	}
	suspect.Without(recorded)
	t.flusher.recorded = recorded
	t.have.Or(recorded)
	return t.at.eachPiece(ctx, suspect, t.o.Progress, func(i manifest.PieceIndex) error {
		ok, err := t.at.verify(i)
		if ok && err == nil {
			t.mu.Lock()
			t.have.Set(i)
			t.mu.Unlock()
			t.flusher.wrote(t.m.Spans(t.m.PieceOffset(i), t.m.PieceSize(i)))
			t.flusher.verified(i)
		}
		return err
	})
}

// clear removes from a staging tree what has no business there, the symlinks of an interrupted publication among it, and
// makes its folders writable again.
func (p *place) clear(v *view) error {
	remove := append([]string(nil), v.Extra...)
	for i, fi := range v.files {
		if fi != nil && !fi.Mode().IsRegular() {
			remove = append(remove, p.m.Files[i].Path)
		}
	}
	for i, fi := range v.dirs {
		if fi != nil && !fi.IsDir() {
			remove = append(remove, p.m.Dirs[i].Path)
		} else if fi != nil && fi.Mode()&0o700 != 0o700 {
			if err := p.root.Chmod(p.m.Dirs[i].Path, 0o700|fi.Mode()&fs.ModeSetgid); err != nil {
				return err
			}
		}
	}
	for _, path := range remove {
		if err := removeAll(p.root, path); err != nil {
			return err
		}
	}
	return nil
}

func infoHash(s *staging) (h manifest.InfoHash) {
	copy(h[:], s.get(keyInfoHash))
	return h
}

func times(infos []fs.FileInfo) []time.Time {
	times := make([]time.Time, len(infos))
	for i, fi := range infos {
		if fi != nil {
			times[i] = fi.ModTime()
		}
	}
	return times
}

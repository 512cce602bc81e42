package store

import (
	"context"
	"encoding/binary"
	"io/fs"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"handout/agent/plan"
)

// place brings whole files into the staging tree without copying them, where that can be done: clones where the file
// system has them, else links to files of the old tree where mayLink allows. The rest is copied piece by piece.
func (r *reuse) place(ctx context.Context) error {
	have := r.t.here()
	var clones, links []int
	for file, w := range r.files {
		switch {
		case !w.fresh || w.from.info.Size() != r.t.m.Files[file].Length || r.t.begun(have, file):
		case r.mayLink(file, w.from):
			links = append(links, file)
		default:
			clones = append(clones, file)
		}
	}
	if err := r.each(ctx, clones, r.clone); err != nil {
		return err
	}
	if len(links) == 0 {
		return nil
	}
	if err := r.each(ctx, links, r.clone); err != nil {
		return err
	}
	links = slices.DeleteFunc(links, func(file int) bool { return r.files[file].placed == cloned })
	// Noted before they are made: the next Open must know them from files that may be written to.
	if err := r.t.stage.noteLinks(r.t.at.linked, links); err != nil {
		return err
	}
	if err := r.each(ctx, links, r.link); err != nil {
		return err
	}
	return r.t.stage.noteLinks(r.t.at.linked, nil)
}

// each calls do for every file, on all cores.
func (r *reuse) each(ctx context.Context, files []int, do func(file int) error) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	for _, file := range files {
		work.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return do(file)
		})
	}
	return work.Wait()
}

// begun reports whether a piece with a part of the file is complete: then the file in the staging tree must stay.
func (t *Tree) begun(have plan.Bitfield, file int) bool {
	first, last := t.lay.pieces(file)
	for i := first; i <= last; i++ {
		if have.Has(i) {
			return true
		}
	}
	return false
}

// clone makes the staging tree's file share the blocks of its candidate. Where that does not work nothing is changed: it
// will be copied.
func (r *reuse) clone(file int) error {
	w := r.files[file]
	d := w.from.donor
	r.mu.Lock()
	cloneless := d.cloneless
	r.mu.Unlock()
	if cloneless {
		return nil
	}
	from, err := r.file(w.from)
	if err != nil {
		return nil
	}
	defer r.open.release(from)
	at := r.t.at
	dir, err := at.makeFolder(at.home[file])
	if err != nil {
		return explain(err, "make the folder of", at.say(file))
	}
	defer at.dirs.release(dir)
	if err := at.drop(dir.v, file); err != nil {
		return explain(err, "remove", at.say(file))
	}
	to, err := dir.v.OpenFile(at.base(file), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return explain(err, "make", at.say(file))
	}
	err = cloneFile(to, from.v.File)
	if err == nil {
		err = at.fullSize(to, r.t.m.Files[file].Length) // it may have grown meanwhile
	}
	to.Close()
	if err != nil {
		r.mu.Lock()
		d.cloneless = true
		r.mu.Unlock()
		return explain(at.drop(dir.v, file), "remove", at.say(file))
	}
	at.names.Store(true)
	w.placed = cloned
	return nil
}

// mayLink reports whether the new tree's file may be the very file of the old one: it goes with the old tree when the new
// one comes, it has all it should have already, and nobody else has a name for it or owns it.
func (r *reuse) mayLink(file int, c *candidate) bool {
	f := &r.t.m.Files[file]
	return c.donor.old && !r.t.elsewhere() && c.info.Mode() == f.Mode.Perm() && c.info.Size() == f.Length &&
		!f.ModTime.IsZero() && c.info.ModTime().Equal(f.ModTime.Truncate(timeGrain)) && isOursAlone(c.info) && hasGroupOf(r.t.at.root, c.info)
}

// link gives a file of the old tree a second name in the staging tree. Where that does not work it will be copied.
func (r *reuse) link(file int) error {
	w, at := r.files[file], r.t.at
	dir, err := at.makeFolder(at.home[file])
	if err != nil {
		return explain(err, "make the folder of", at.say(file))
	}
	defer at.dirs.release(dir)
	if err := at.drop(dir.v, file); err != nil {
		return explain(err, "remove", at.say(file))
	}
	from := path.Join(r.t.base, w.from.path)
	if w.from.donor.only != "" {
		from = w.from.path
	}
	if r.t.parent.Link(from, path.Join(r.t.stage.name, treeName, r.t.m.Files[file].Path)) != nil {
		return nil
	}
	fi, err := dir.v.Lstat(at.base(file))
	if err != nil || !os.SameFile(fi, w.from.info) || !isStill(fi, w.from.info) {
		return explain(at.drop(dir.v, file), "remove", at.say(file))
	}
	at.names.Store(true)
	w.placed = linked
	r.mu.Lock()
	at.linked[file] = struct{}{}
	r.mu.Unlock()
	return nil
}

func isStill(fi, as fs.FileInfo) bool {
	return fi.Mode() == as.Mode() && fi.Size() == as.Size() && fi.ModTime().Equal(as.ModTime())
}

// drop removes what lies at a file's place; nobody may be using it.
func (p *place) drop(dir *os.Root, file int) error {
	p.files.forget(fileKey{file, false})
	p.files.forget(fileKey{file, true})
	return dir.RemoveAll(p.base(file))
}

// settleLinks decides about linked files. They are never written to, so each must be right from its first byte to its last,
// also where it reaches into pieces that are still to come; one that isn't gives way to copies of what is right of it.
// Only then do the pieces count. It reports whether such files have to be tried again.
func (r *reuse) settleLinks(ctx context.Context) (again bool, err error) {
	doubtful := make(map[int]struct{})
	for i := range r.t.Missing().All {
		for _, s := range r.t.spans(i) {
			if w := r.files[s.File]; w.placed == linked && !w.proven && !r.held.Has(i) {
				doubtful[s.File] = struct{}{}
			}
		}
	}
	for _, w := range r.files {
		w.proven = w.placed == linked // which is not yet true of the doubtful ones
	}
	wrong := make(map[int]struct{})
	err = r.each(ctx, slices.Collect(maps.Keys(doubtful)), func(file int) error {
		ok, err := r.t.at.verifyFile(ctx, file)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !ok || err != nil {
			r.mu.Lock()
			wrong[file] = struct{}{}
			r.mu.Unlock()
		}
		return nil
	})
	if err == nil && len(wrong) > 0 {
		err = r.unlink(wrong)
	}
	for i := range r.held.All {
		if err == nil {
			err = r.complete(i)
		}
		r.held.Clear(i)
	}
	return len(wrong) > 0, err
}

// unlink gives linked files up. Their pieces have to be put together anew.
func (r *reuse) unlink(files map[int]struct{}) error {
	at := r.t.at
	for file := range files {
		if err := removeAll(at.root, at.m.Files[file].Path); err != nil {
			return explain(err, "remove", at.say(file))
		}
		at.files.forget(fileKey{file, false})
		delete(at.linked, file)
		w := r.files[file]
		w.placed, w.proven, w.fresh = notPlaced, false, true
		first, last := r.t.lay.pieces(file)
		for i := first; i <= last; i++ {
			r.held.Clear(i)
		}
	}
	return r.t.stage.noteLinks(at.linked, nil)
}

// noteLinks records which files are linked, or are about to be.
func (s *staging) noteLinks(linked map[int]struct{}, more []int) error {
	var packed []byte
	for _, file := range append(slices.Collect(maps.Keys(linked)), more...) {
		packed = binary.LittleEndian.AppendUint32(packed, uint32(file))
	}
	return s.put(map[string][]byte{keyLinks: packed})
}

// dropLinks removes the linked files an earlier run has left: whoever changes the old tree changes them too. The pieces
// are forgotten before, and the files are known for linked until they are gone.
func (t *Tree) dropLinks() error {
	packed := t.stage.get(keyLinks)
	if len(packed) == 0 {
		return nil
	}
	var files []int
	pieces := unpackBits(t.stage.get(keyPieces), t.m.NumPieces())
	for ; len(packed) >= 4; packed = packed[4:] {
		file := int(binary.LittleEndian.Uint32(packed))
		if file >= len(t.m.Files) || t.m.Files[file].Length == 0 {
			continue
		}
		files = append(files, file)
		first, last := t.lay.pieces(file)
		for i := first; i <= last; i++ {
			pieces.Clear(i)
		}
	}
	if err := t.stage.put(map[string][]byte{keyPieces: packBits(pieces)}); err != nil {
		return err
	}
	for _, file := range files {
		if err := t.stage.remove(path.Join(treeName, t.m.Files[file].Path)); err != nil {
			return err
		}
	}
	return t.stage.put(map[string][]byte{keyLinks: nil})
}

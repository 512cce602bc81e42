package store

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"handout/manifest"
)

// rot changes a byte of a file behind its modification time's back, as a failing disk does.
func rot(t *testing.T, path string, off int64) {
	t.Helper()
	fi, err := os.Stat(path)
	must(t, err)
	must(t, poke(path, off))
	must(t, os.Chtimes(path, fi.ModTime(), fi.ModTime()))
}

func (p packed) readPiece(tree *Tree, i manifest.PieceIndex) ([]byte, error) {
	b := make([]byte, p.m.PieceSize(i))
	_, err := tree.ReadAt(i, b, 0)
	return b, err
}

// keptBig is a kept package of one file of several pieces.
func keptBig(t *testing.T) (packed, string) {
	p := pack(t, map[string]entry{"big": file(200_000, 1)})
	dest := filepath.Join(fastDir(t), "dest")
	p.publish(t, dest, Options{Keep: true})
	return p, dest
}

// TestUncleanStopIsDoubted: after a power cut nobody knows what the disk did; nothing wrong may be served for it.
func TestUncleanStopIsDoubted(t *testing.T) {
	p, dest := keptBig(t)
	tree, err := Reopen(t.Context(), p.m, dest, Options{})
	must(t, err)
	tree.abandon()
	rot(t, filepath.Join(dest, "big"), 10)

	tree, err = Reopen(t.Context(), p.m, dest, Options{})
	must(t, err)
	if !tree.Published() || !tree.Have().Full() {
		t.Fatal("what is known by sizes and times is not there")
	}
	if got, err := p.readPiece(tree, 1); err != nil || !bytes.Equal(got, p.piece(1)) {
		t.Errorf("a right piece can't be read: %v", err)
	}
	must(t, tree.Close()) // pieces are still in doubt
	tree, err = Reopen(t.Context(), p.m, dest, Options{})
	must(t, err)
	if _, doubtful := tree.Doubtful(); !doubtful {
		t.Error("doubts are forgotten at an orderly end")
	}
	_, err = p.readPiece(tree, 0)
	wantErr(t, err, ErrCorrupt)
	if tree.Has(0) || !tree.Damaged() {
		t.Error("a piece that was found wrong still counts as complete")
	}
	if _, err := tree.WriteAt(0, []byte{1}, 0); err == nil {
		t.Error("a published file was written to")
	}
	if err := tree.Put(0, p.piece(0)); err == nil {
		t.Error("a published file was written to")
	}
	if ok, err := tree.Verify(0); ok || err == nil {
		t.Error("a wrong piece of a published tree was verified")
	}
	must(t, tree.Close())

	_, err = Reopen(t.Context(), p.m, dest, Options{})
	wantErr(t, err, ErrChanged)
	tree = p.open(t, dest, Options{Keep: true, Replace: true})
	if tree.Published() {
		t.Error("a damaged tree is taken for the package")
	}
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, dest)
	must(t, tree.Close())
}

// TestCleanStopIsTrusted: after an orderly end nothing is hashed.
func TestCleanStopIsTrusted(t *testing.T) {
	p, dest := keptBig(t)
	for range 2 {
		tree, err := Reopen(t.Context(), p.m, dest, Options{})
		must(t, err)
		if i, doubtful := tree.Doubtful(); doubtful {
			t.Errorf("piece %d is in doubt", i)
		}
		must(t, tree.Close())
	}
}

func TestReopenLeavesOthersAlone(t *testing.T) {
	p, dest := keptBig(t)
	_, err := Reopen(t.Context(), p.m, dest+"2", Options{})
	wantErr(t, err, fs.ErrNotExist)
	gone(t, stagingOf(dest+"2"))
	must(t, os.Chtimes(filepath.Join(dest, "big"), when, when))
	_, err = Reopen(t.Context(), p.m, dest, Options{})
	wantErr(t, err, ErrChanged)
	must(t, removeDest(dest))
	_, err = Reopen(t.Context(), p.m, dest, Options{})
	wantErr(t, err, fs.ErrNotExist)
}

// TestRecheck: what the disk lost since is found, and only that.
func TestRecheck(t *testing.T) {
	p, dest := keptBig(t)
	tree, err := Reopen(t.Context(), p.m, dest, Options{})
	must(t, err)
	rot(t, filepath.Join(dest, "big"), p.m.PieceLength+5)
	for i := range p.m.NumPieces() {
		ok, err := tree.Recheck(manifest.PieceIndex(i))
		must(t, err)
		if want := i != 1; ok != want || tree.Has(manifest.PieceIndex(i)) != want {
			t.Errorf("piece %d: %v, want %v", i, ok, want)
		}
	}
	now := time.Now()
	must(t, tree.SetChecked(now, 3))
	must(t, tree.Close())
	tree = p.open(t, dest, Options{Keep: true, Replace: true})
	if last, next := tree.Checked(); last.Unix() != now.Unix() || next != 3 || tree.Published() {
		t.Errorf("checked %v, next %d, published %v", last, next, tree.Published())
	}
	must(t, tree.Close())
}

// TestOldVersionIsReadUntilTheSwap: while a new version grows the old one serves.
func TestOldVersionIsReadUntilTheSwap(t *testing.T) {
	old, young, dest := twoVersions(t)
	was := old.open(t, dest, Options{Keep: true})
	old.fill(t, was)
	must(t, was.Publish(t.Context()))
	_, err := Open(t.Context(), young.m, dest, Options{Keep: true, Replace: true})
	wantErr(t, err, ErrInUse)

	must(t, was.LetGo())
	tree := young.open(t, dest, Options{Keep: true, Replace: true})
	young.fill(t, tree)
	for i := range old.m.NumPieces() {
		got, err := old.readPiece(was, manifest.PieceIndex(i))
		must(t, err)
		if !bytes.Equal(got, old.piece(i)) {
			t.Errorf("piece %d of the old version is wrong", i)
		}
	}
	must(t, was.Used()) // nothing to note it in, and no harm
	must(t, was.Close())
	must(t, tree.Publish(t.Context()))
	must(t, tree.Close())
	sameTree(t, young.dir, dest)
}

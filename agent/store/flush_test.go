package store

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"handout/agent/plan"
	"handout/manifest"
)

func recorded(tree *Tree) plan.Bitfield {
	return unpackBits(tree.stage.get(keyPieces), tree.m.NumPieces())
}

// TestRecordedInBatches: a verified piece waits for its batch, which goes after some time or some bytes.
func TestRecordedInBatches(t *testing.T) {
	p := pack(t, variety())
	dest := filepath.Join(fastDir(t), "dest")
	synctest.Test(t, func(t *testing.T) {
		tree, err := Open(t.Context(), p.m, dest, Options{FlushEvery: 5 * time.Second, FlushBytes: 5 * p.m.PieceLength})
		must(t, err)
		defer tree.Close()
		want := func(n int) {
			t.Helper()
			synctest.Wait()
			if r := recorded(tree); r.Count() != n {
				t.Errorf("%d pieces are recorded, want %d", r.Count(), n)
			}
		}
		put := func(from, to int) {
			for i := from; i < to; i++ {
				must(t, tree.Put(manifest.PieceIndex(i), p.piece(i)))
			}
		}
		put(0, 3)
		want(0)
		time.Sleep(5 * time.Second)
		want(3)
		put(3, 7)
		want(3)
		put(7, 8)
		want(8)
		put(8, 9)
		must(t, tree.Close())
	})
	tree := p.open(t, dest, Options{})
	if r := recorded(tree); r.Count() != 9 {
		t.Errorf("%d pieces were recorded by Close, want 9", r.Count())
	}
}

// TestFlushFails: a disk that cannot flush gets no more pieces, none of those it may have lost is recorded, and the next
// run finds out which are really there.
func TestFlushFails(t *testing.T) {
	p := pack(t, variety())
	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{FlushEvery: time.Hour})
	must(t, tree.Put(0, p.piece(0)))
	must(t, tree.flusher.flush())
	must(t, tree.Put(1, p.piece(1)))
	tree.at.names.Store(true)
	tree.at.root.Close() // no flush of the whole succeeds any more
	wantErr(t, tree.flusher.flush(), fs.ErrClosed)
	wantErr(t, tree.Put(2, p.piece(2)), fs.ErrClosed)
	if r := recorded(tree); r.Count() != 1 || !r.Has(0) {
		t.Errorf("%d pieces are recorded", r.Count())
	}
	if err := tree.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Close does not say so: %v", err)
	}
	tree = p.open(t, dest, Options{})
	if have := tree.Have(); have.Count() != 2 {
		t.Errorf("%d pieces are left, want 2", have.Count())
	}
}

package store

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"handout/manifest"
)

func TestOneAtATime(t *testing.T) {
	p := pack(t, variety())
	dest := filepath.Join(fastDir(t), "dest")
	first := p.open(t, dest, Options{})
	must(t, first.Put(0, p.piece(0)))
	_, err := Open(t.Context(), p.m, dest, Options{})
	wantErr(t, err, ErrInUse)
	must(t, first.Close())
	second := p.open(t, dest, Options{Keep: true})
	if !second.Has(0) {
		t.Error("the first one's piece was lost")
	}
	p.fill(t, second)
	must(t, second.Publish(t.Context()))
	_, err = Open(t.Context(), p.m, dest, Options{Keep: true})
	wantErr(t, err, ErrInUse)
	reader := p.open(t, dest, Options{}) // to read what is published no lock is needed
	if !reader.Published() {
		t.Error("a published tree that someone keeps is not taken for published")
	}
	must(t, reader.Close())
}

// TestFailedFetchLeavesNothing: without one complete piece there is nothing worth keeping.
func TestFailedFetchLeavesNothing(t *testing.T) {
	p := pack(t, variety())
	dir := fastDir(t)
	tree := p.open(t, filepath.Join(dir, "dest"), Options{})
	_, err := tree.WriteAt(0, []byte("block"), 0)
	must(t, err)
	must(t, tree.Close())
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
	_, err = tree.ReadAt(0, make([]byte, 1), 0)
	wantErr(t, err, ErrIncomplete)
	wantErr(t, tree.Put(0, p.piece(0)), ErrClosed)
	wantErr(t, tree.Publish(t.Context()), ErrClosed)
}

func TestKeptRecordSparesHashing(t *testing.T) {
	p := pack(t, variety())
	dest := filepath.Join(fastDir(t), "dest")
	p.publish(t, dest, Options{Keep: true})
	var hashed atomic.Int64
	keep := Options{Keep: true, Progress: func(done, total int64) {
		for before := hashed.Load(); before < done && !hashed.CompareAndSwap(before, done); before = hashed.Load() {
		}
	}}
	tree := p.open(t, dest, keep)
	if !tree.Published() || hashed.Load() != 0 {
		t.Errorf("published %v, %d bytes hashed", tree.Published(), hashed.Load())
	}
	must(t, tree.Close())

	// The same content with another time is no longer trusted, but right.
	must(t, os.Chtimes(filepath.Join(dest, "big.img"), when, when))
	tree = p.open(t, dest, keep)
	if !tree.Published() || hashed.Load() != p.m.Length {
		t.Errorf("published %v, %d bytes hashed", tree.Published(), hashed.Load())
	}
	must(t, tree.Close())
	hashed.Store(0)
	must(t, p.open(t, dest, keep).Close())
	if hashed.Load() != 0 {
		t.Error("the new time was not recorded")
	}

	// Other content, size and time restored, is what the record cannot see; other content alone is seen.
	must(t, os.WriteFile(filepath.Join(dest, "big.img"), p.bytes[:300_000], 0o644))
	_, err := Open(t.Context(), p.m, dest, keep)
	wantErr(t, err, ErrExists)

	// A destination that is gone is fetched again.
	must(t, removeDest(dest))
	p.publish(t, dest, keep)
	sameTree(t, p.dir, dest)
}

// TestChangedAfterPublication: a file that someone edits in the published tree is not handed out any more.
func TestChangedAfterPublication(t *testing.T) {
	p := pack(t, map[string]entry{"a": file(16<<10, 1), "b": file(16<<10, 2), "c": file(16<<10, 3)})
	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{})
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	buf := make([]byte, 16<<10)
	_, err := tree.ReadAt(0, buf, 0) // opens the file
	must(t, err)
	f, err := os.OpenFile(filepath.Join(dest, "a"), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("edited"), 100)
	must(t, errors.Join(err, f.Close()))
	_, err = tree.ReadAt(0, buf, 0)
	wantErr(t, err, ErrChanged)
	must(t, os.Remove(filepath.Join(dest, "b")))
	_, err = tree.ReadAt(1, buf, 0)
	wantErr(t, err, fs.ErrNotExist)
	_, err = tree.ReadAt(2, buf, 0)
	must(t, err)
}

func TestReadAtEnds(t *testing.T) {
	p := pack(t, map[string]entry{"a": file(20_000, 1)})
	tree := p.open(t, filepath.Join(fastDir(t), "dest"), Options{})
	p.fill(t, tree)
	last := p.piece(1)
	buf := make([]byte, len(last)+10)
	n, err := tree.ReadAt(1, buf, 0)
	if n != len(last) || err != io.EOF || !bytes.Equal(buf[:n], last) {
		t.Errorf("%d bytes, %v", n, err)
	}
	for _, off := range []int64{-1, int64(len(last)) + 1} {
		_, err = tree.ReadAt(1, buf, off)
		wantErr(t, err, fs.ErrInvalid)
		_, err = tree.WriteAt(1, buf[:1], off)
		wantErr(t, err, fs.ErrInvalid)
	}
	_, err = tree.WriteAt(1, buf, 0)
	wantErr(t, err, fs.ErrInvalid)
	wantErr(t, tree.Put(2, nil), fs.ErrInvalid)
	wantErr(t, tree.Put(0, last), fs.ErrInvalid)
	_, err = tree.Verify(2)
	wantErr(t, err, fs.ErrInvalid)
}

// TestRecordLost: a record that is no record any more costs time, not pieces.
func TestRecordLost(t *testing.T) {
	p := pack(t, variety())
	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{})
	for i := range p.m.NumPieces() / 2 {
		must(t, tree.Put(manifest.PieceIndex(i), p.piece(i)))
	}
	must(t, tree.Close())
	record := tree.stage.path(recordName)
	must(t, os.WriteFile(record, bytes.Repeat([]byte("not a record "), 10_000), 0o600))
	tree = p.open(t, dest, Options{})
	if have := tree.Have(); have.Count() != p.m.NumPieces()/2 {
		t.Errorf("%d of %d pieces are left", have.Count(), p.m.NumPieces()/2)
	}
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, dest)
}

// TestPowerCut: what was noted but never reached the disk is found out by hashing, and the rest is kept.
func TestPowerCut(t *testing.T) {
	p := pack(t, variety())
	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{FlushEvery: time.Hour})
	p.fill(t, tree)
	staged := tree.stage.path(treeName)
	tree.abandon()
	zeroed := filepath.Join(staged, "big.img")
	must(t, os.WriteFile(zeroed, make([]byte, 300_000), 0o600)) // sized, but its blocks were not written
	must(t, os.Remove(filepath.Join(staged, "small", "59")))
	f, err := os.OpenFile(tree.stage.path(journalName), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.Write([]byte("\xff\xff\xff\xffgarbage"))
	must(t, errors.Join(err, f.Close()))

	tree = p.open(t, dest, Options{})
	for i := range p.m.NumPieces() {
		lost := false
		for _, s := range p.m.Spans(p.m.PieceOffset(manifest.PieceIndex(i)), p.m.PieceSize(manifest.PieceIndex(i))) {
			name := p.m.Files[s.File].Path
			lost = lost || name == "big.img" || name == "small/59"
		}
		if tree.Has(manifest.PieceIndex(i)) == lost {
			t.Errorf("piece %d: lost is %v, but Has says %v", i, lost, !lost)
		}
	}
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, dest)
}

// TestSymlinkThenWriteThrough: someone who can write beside the destination puts a symlink where a folder of the tree is
// to be. Nothing is written outside, nothing through it, and it is not in the published tree.
func TestSymlinkThenWriteThrough(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symlinks need a privilege here")
	}
	p := pack(t, variety())
	outside := fastDir(t)
	for _, target := range []string{outside, "a"} {
		dest := filepath.Join(fastDir(t), "dest")
		tree := p.open(t, dest, Options{})
		must(t, tree.Put(0, p.piece(0)))
		staged := tree.stage.path(treeName)
		must(t, tree.Close())
		must(t, os.Symlink(target, filepath.Join(staged, "small")))
		os.Remove(filepath.Join(staged, "big.img"))
		must(t, os.Symlink(filepath.Join(outside, "new"), filepath.Join(staged, "big.img")))
		tree = p.open(t, dest, Options{})
		p.fill(t, tree)
		must(t, tree.Publish(t.Context()))
		sameTree(t, p.dir, dest)

		dest = filepath.Join(fastDir(t), "dest")
		tree = p.open(t, dest, Options{})
		must(t, os.Symlink(target, filepath.Join(tree.stage.path(treeName), "small")))
		for i := range p.m.NumPieces() {
			tree.Put(manifest.PieceIndex(i), p.piece(i)) // may fail
		}
		if err := tree.Publish(t.Context()); err == nil {
			t.Error("published a tree with a symlink for a folder")
		}
		if _, err := os.Lstat(dest); !errors.Is(err, fs.ErrNotExist) {
			t.Error("the destination is there")
		}
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("written outside: %v", entries)
	}
}

func TestNotWritable(t *testing.T) {
	if _, err := os.Stat("/sys/kernel"); err != nil {
		t.Skip("needs a place where even root may not write: /sys")
	}
	p := pack(t, map[string]entry{"a": file(10, 1)})
	for _, dest := range []string{"/sys/handout/dest", "/sys/handout"} {
		_, err := Open(t.Context(), p.m, dest, Options{})
		wantErr(t, err, ErrNotWritable)
	}
}

func TestDestinationWithoutFolder(t *testing.T) {
	p := pack(t, map[string]entry{"a": file(10, 1)})
	if _, err := Open(t.Context(), p.m, string(filepath.Separator), Options{Replace: true}); err == nil {
		t.Error("opened the root of the file system")
	}
}

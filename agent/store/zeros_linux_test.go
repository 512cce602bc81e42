package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"handout/manifest"
)

// sparseTree has a disk image with a few bytes in it, one without any, and small files of zeros.
func sparseTree(t *testing.T) packed {
	t.Helper()
	dir := filepath.Join(fastDir(t), "pkg")
	must(t, os.MkdirAll(dir, 0o755))
	disk, err := os.Create(filepath.Join(dir, "disk.img"))
	must(t, err)
	_, err = disk.WriteAt(bytes.Repeat([]byte("data"), 5000), 5<<20)
	must(t, err)
	must(t, disk.Truncate(20<<20))
	must(t, disk.Close())
	must(t, os.WriteFile(filepath.Join(dir, "hole"), nil, 0o640))
	must(t, os.Truncate(filepath.Join(dir, "hole"), 8<<20))
	must(t, os.WriteFile(filepath.Join(dir, "small"), make([]byte, 1000), 0o604))
	must(t, os.WriteFile(filepath.Join(dir, "text"), []byte("text"), 0o644))
	return packDir(t, dir, 64<<10)
}

func (p packed) zeros() (n int) {
	isZero := zeroPieces(p.m)
	for i := range p.m.NumPieces() {
		if isZero(manifest.PieceIndex(i)) {
			n++
		}
	}
	return n
}

// TestZerosAreHereAtOnce: what a sparse file does not have is neither fetched nor written.
func TestZerosAreHereAtOnce(t *testing.T) {
	p := sparseTree(t)
	if n := p.m.NumPieces() - p.zeros(); n < 1 || n > 4 {
		t.Fatalf("%d pieces have something in them", n)
	}
	for how, o := range map[string]Options{"beside": {}, "kept": {Keep: true}, "elsewhere": {Stage: fastDir(t)}} {
		dest := filepath.Join(fastDir(t), "dest")
		tree := p.open(t, dest, o)
		if here, all := tree.Bytes(); all-here > 4*p.m.PieceLength || tree.Have().Count() != p.zeros() {
			t.Errorf("%s: %d of %d bytes are here, %d pieces", how, here, all, tree.Have().Count())
		}
		p.fill(t, tree)
		must(t, tree.Publish(t.Context()))
		must(t, tree.Close())
		sameTree(t, p.dir, dest)
		r, err := Check(t.Context(), p.m, nil, dest, nil)
		if err != nil || !r.Matches() || r.Top != OK {
			t.Errorf("%s: %+v, %v", how, r, err)
		}
		for _, name := range []string{"disk.img", "hole"} {
			fi, err := os.Stat(filepath.Join(dest, name))
			must(t, err)
			if took := allocated(fi); how != "elsewhere" && took > 512<<10 {
				t.Errorf("%s: %s takes %d bytes", how, name, took)
			}
		}
	}
}

// TestZerosOverWhatWasNeverVerified: where an earlier run has left other bytes, zeros are written.
func TestZerosOverWhatWasNeverVerified(t *testing.T) {
	p := sparseTree(t)
	dest := filepath.Join(fastDir(t), "dest")
	must(t, p.open(t, dest, Options{}).Close())
	stage := filepath.Join(filepath.Dir(dest), stagingName("dest"))
	f, err := os.OpenFile(filepath.Join(stage, treeName, "hole"), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("garbage"), 3<<20)
	must(t, err)
	must(t, f.Close())
	must(t, os.Remove(filepath.Join(stage, recordName)))
	tree := p.open(t, dest, Options{})
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	must(t, tree.Close())
	sameTree(t, p.dir, dest)
}

// TestZerosAndAnOldTree: a new version takes what it can from the old one, and the zeros besides.
func TestZerosAndAnOldTree(t *testing.T) {
	p := sparseTree(t)
	dest := filepath.Join(fastDir(t), "dest")
	writeTree(t, dest, map[string]entry{"disk.img": file(1<<20, 1)})
	must(t, os.WriteFile(filepath.Join(dest, "text"), []byte("text"), 0o644))
	tree := p.open(t, dest, Options{Replace: true})
	if tree.Have().Count() < p.zeros() {
		t.Errorf("%d of %d pieces of zeros are here", tree.Have().Count(), p.zeros())
	}
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	must(t, tree.Close())
	sameTree(t, p.dir, dest)
}

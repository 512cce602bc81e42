package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"handout/manifest"
)

// TestAnyOrder: whatever comes in whatever order, with wrong and late blocks and restarts at any point, the published
// tree is byte-identical or absent, and nothing wrong is read out on the way.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(fastRoot(), "store")
		must(t, err)
		defer removeDest(dir)
		source := filepath.Join(dir, "source")
		if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
			e := file(rapid.IntRange(1, 60_000).Draw(t, "length"), 1)
			must(t, os.WriteFile(source, e.data, 0o640))
			must(t, os.Chtimes(source, when, when))
		} else {
			must(t, os.Mkdir(source, 0o755))
			writeTree(t, source, drawTree(t))
		}
		r := &run{p: packDir(t, source, manifest.MinPieceLength), dest: filepath.Join(dir, "dest")}
		r.reopen(t)
		defer func() { r.tree.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"put":     r.put,
			"block":   r.block,
			"verify":  r.verify,
			"read":    r.read,
			"flush":   func(t *rapid.T) { must(t, r.tree.flusher.flush()) },
			"close":   func(t *rapid.T) { must(t, r.tree.Close()); r.reopen(t) },
			"kill":    func(t *rapid.T) { r.tree.abandon(); r.reopen(t) },
			"publish": r.publish,
			"":        r.absent,
		})
		r.p.fill(t, r.tree)
		must(t, r.tree.Publish(context.Background()))
		r.same(t)
	})
}

func drawTree(t *rapid.T) map[string]entry {
	tree := map[string]entry{}
	sizes := []int{0, 1, 100, 5000, 16<<10 - 1, 16 << 10, 16<<10 + 1, 50_000}
	folders := []string{"", "a/", "a/b/", "c/d/e/f/"}
	for i := range rapid.IntRange(1, 20).Draw(t, "entries") {
		path := fmt.Sprintf("%s%d", rapid.SampledFrom(folders).Draw(t, "folder"), i)
		switch rapid.IntRange(0, 7).Draw(t, "entry") {
		case 0:
			tree[path] = entry{mode: fs.ModeDir | rapid.SampledFrom([]fs.FileMode{0o755, 0o555, 0o700}).Draw(t, "mode"), mtime: when}
		case 1:
			tree[path] = entry{target: "leads/nowhere", mtime: when}
		default:
			e := file(rapid.SampledFrom(sizes).Draw(t, "size"), uint64(i))
			e.mode = rapid.SampledFrom([]fs.FileMode{0o644, 0o755, 0o444, 0o600}).Draw(t, "mode")
			tree[path] = e
		}
	}
	return tree
}

// run is a package on its way, and what is known of it.
type run struct {
	p        packed
	dest     string
	tree     *Tree
	complete map[manifest.PieceIndex]bool
	opened   bool
}

func (r *run) reopen(t *rapid.T) {
	tree, err := Open(context.Background(), r.p.m, r.dest, Options{})
	must(t, err)
	r.tree = tree
	if !r.opened {
		r.complete, r.opened = map[manifest.PieceIndex]bool{}, true
	}
	for i := range r.complete {
		if !tree.Has(i) {
			t.Fatalf("piece %d was lost", i)
		}
	}
}

func (r *run) draw(t *rapid.T) manifest.PieceIndex {
	if r.p.m.NumPieces() == 0 {
		t.Skip("no pieces")
	}
	return manifest.PieceIndex(rapid.IntRange(0, r.p.m.NumPieces()-1).Draw(t, "piece"))
}

func spoilt(data []byte, at int) []byte {
	bad := bytes.Clone(data)
	bad[at%len(bad)] ^= 0x55
	return bad
}

func (r *run) put(t *rapid.T) {
	i := r.draw(t)
	data := r.p.piece(int(i))
	if rapid.Bool().Draw(t, "wrong") {
		wantErr(t, r.tree.Put(i, spoilt(data, rapid.IntRange(0, 1<<20).Draw(t, "where"))), ErrCorrupt)
		return
	}
	must(t, r.tree.Put(i, data))
	r.complete[i] = true
}

func (r *run) block(t *rapid.T) {
	i := r.draw(t)
	data := r.p.piece(int(i))
	if rapid.IntRange(0, 2).Draw(t, "wrong") == 0 {
		data = spoilt(data, rapid.IntRange(0, 1<<20).Draw(t, "where"))
	}
	off := 0
	if rapid.Bool().Draw(t, "part") {
		off = rapid.IntRange(0, len(data)-1).Draw(t, "off")
		data = data[:rapid.IntRange(off, len(data)).Draw(t, "end")]
	}
	_, err := r.tree.WriteAt(i, data[off:], int64(off))
	if r.complete[i] {
		wantErr(t, err, ErrComplete)
	} else {
		must(t, err)
	}
}

func (r *run) verify(t *rapid.T) {
	i := r.draw(t)
	ok, err := r.tree.Verify(i)
	must(t, err)
	if r.complete[i] && !ok {
		t.Fatalf("piece %d is no longer complete", i)
	}
	if ok {
		r.complete[i] = true
	}
}

func (r *run) read(t *rapid.T) {
	i := r.draw(t)
	data := r.p.piece(int(i))
	off := rapid.IntRange(0, len(data)-1).Draw(t, "off")
	b := make([]byte, rapid.IntRange(1, len(data)-off).Draw(t, "n"))
	_, err := r.tree.ReadAt(i, b, int64(off))
	if !r.complete[i] {
		wantErr(t, err, ErrIncomplete)
		return
	}
	must(t, err)
	if !bytes.Equal(b, data[off:off+len(b)]) {
		t.Fatalf("piece %d reads wrong at %d", i, off)
	}
}

func (r *run) publish(t *rapid.T) {
	err := r.tree.Publish(context.Background())
	if len(r.complete) < r.p.m.NumPieces() {
		wantErr(t, err, ErrIncomplete)
		return
	}
	must(t, err)
	r.same(t)
	// Begin anew, so that the rest of the run is not one of reading only.
	must(t, r.tree.Close())
	must(t, removeDest(r.dest))
	r.opened = false
	r.reopen(t)
}

func (r *run) same(t *rapid.T) {
	if r.p.m.Single {
		data, err := os.ReadFile(r.dest)
		must(t, err)
		fi, err := os.Stat(r.dest)
		must(t, err)
		if !bytes.Equal(data, r.p.bytes) || fi.Mode() != 0o640 || !fi.ModTime().Equal(when) {
			t.Fatalf("the file is not what it should be: %v %v", fi.Mode(), fi.ModTime())
		}
		return
	}
	sameTree(t, r.p.dir, r.dest)
}

func (r *run) absent(t *rapid.T) {
	if _, err := os.Lstat(r.dest); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the destination is there: %v", err)
	}
}

// removeDest removes a published tree, read-only folders and all.
func removeDest(dest string) error {
	parent, err := os.OpenRoot(filepath.Dir(dest))
	if err != nil {
		return err
	}
	defer parent.Close()
	return removeAll(parent, filepath.Base(dest))
}

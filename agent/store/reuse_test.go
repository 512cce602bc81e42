package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"handout/manifest"
)

// missingBytes is what would have to be fetched.
func missingBytes(tree *Tree) (n int64) {
	for i := range tree.Missing().All {
		n += tree.m.PieceSize(i)
	}
	return n
}

// standing packs an old and a new tree; the old one stands at dest.
func standing(t *testing.T, before, after map[string]entry) (p packed, dest string) {
	t.Helper()
	dest = filepath.Join(fastDir(t), "dest")
	must(t, os.Mkdir(dest, 0o755))
	writeTree(t, dest, before)
	return pack(t, after), dest
}

// copyOf is tree with other modification times, as a tree has that was copied without them.
func copyOf(tree map[string]entry) map[string]entry {
	c := maps.Clone(tree)
	for path, e := range c {
		e.mtime = e.mtime.AddDate(0, 0, 1)
		c[path] = e
	}
	return c
}

func (p packed) publishAs(t *testing.T, tree *Tree, dest string) {
	t.Helper()
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, dest)
	onlyThis(t, dest)
	for i := range p.m.NumPieces() {
		b := make([]byte, len(p.piece(i)))
		_, err := tree.ReadAt(manifest.PieceIndex(i), b, 0)
		must(t, err)
		if !bytes.Equal(b, p.piece(i)) {
			t.Fatalf("piece %d reads wrong", i)
		}
	}
}

// TestOldTreeIsTaken: renamed, moved and unchanged files of what stands at the destination need not come again.
func TestOldTreeIsTaken(t *testing.T) {
	before := map[string]entry{"keep/big": file(200_000, 1), "moved": file(90_000, 2), "small/1": file(10, 3), "small/2": file(20_000, 4)}
	after := map[string]entry{"keep/big": before["keep/big"], "else/where": before["moved"], "a/1": before["small/1"],
		"twice/1": before["small/2"], "twice/2": before["small/2"], "empty": file(0, 5), "link": {target: "empty", mtime: when}}
	for name, old := range map[string]map[string]entry{"linked or cloned": before, "copied": copyOf(before)} {
		t.Run(name, func(t *testing.T) {
			p, dest := standing(t, old, after)
			tree := p.open(t, dest, Options{Replace: true})
			if n := missingBytes(tree); n != 0 || tree.Reused() != p.m.Length {
				t.Fatalf("%d bytes are missing, %d of %d were reused", n, tree.Reused(), p.m.Length)
			}
			p.publishAs(t, tree, dest)
		})
	}
}

// TestMiddleOfLargeFile: of a large file only the pieces around a change are missing, also where bytes were put in.
func TestMiddleOfLargeFile(t *testing.T) {
	const piece = manifest.MinPieceLength
	e := file(40*piece, 1)
	written, longer, shorter := e, e, e
	written.data = bytes.Clone(e.data)
	copy(written.data[17*piece+5:], "changed")
	longer.data = slices.Insert(bytes.Clone(e.data), 20*piece+100, make([]byte, 3*piece)...)
	shorter.data = slices.Delete(bytes.Clone(e.data), 20*piece+100, 24*piece)
	for name, c := range map[string]struct {
		e   entry
		max int64
	}{"written": {written, piece}, "longer": {longer, 5 * piece}, "shorter": {shorter, 2 * piece}} {
		t.Run(name, func(t *testing.T) {
			p, dest := standing(t, map[string]entry{"big": e, "old": file(10, 2)}, map[string]entry{"big": c.e})
			tree := p.open(t, dest, Options{Replace: true})
			if n := missingBytes(tree); n > c.max {
				t.Errorf("%d bytes are missing, want at most %d", n, c.max)
			}
			p.publishAs(t, tree, dest)
		})
	}
}

// TestFewFilesChanged: a version in which 3 % of the files changed costs these files and the rest of the pieces they reach
// into, wherever the old version is: at the destination or in a folder that was named.
func TestFewFilesChanged(t *testing.T) {
	before, after := map[string]entry{}, map[string]entry{}
	var changed, borders int64
	for i := range 300 {
		e := file(1+(i*7919)%(4*manifest.MinPieceLength), uint64(i))
		name := fmt.Sprintf("%02d/%03d.dat", i%20, i)
		before[name], after[name] = e, e
		if i%33 == 7 {
			after[name] = file(len(e.data), uint64(1000+i))
			changed += int64(len(e.data))
			borders += 2 * manifest.MinPieceLength
		}
	}
	p, dest := standing(t, before, after)
	for name, c := range map[string]struct {
		dest    string
		options Options
	}{
		"at the destination": {dest, Options{Replace: true}},
		"in a folder":        {filepath.Join(fastDir(t), "dest"), Options{Reuse: []string{dest}}},
	} {
		tree := p.open(t, c.dest, c.options)
		n := missingBytes(tree)
		if n > changed+borders || n < changed {
			t.Errorf("%s: %d bytes are missing, of %d in changed files with %d at their borders", name, n, changed, borders)
		}
		t.Logf("%s: %.1f %% of the bytes are missing, %.1f %% are in changed files", name,
			100*float64(n)/float64(p.m.Length), 100*float64(changed)/float64(p.m.Length))
		must(t, tree.Close())
	}
}

// TestReuseFolder: folders that are named are looked through, also for a package of one file.
func TestReuseFolder(t *testing.T) {
	p := pack(t, variety())
	dir := fastDir(t)
	for path, e := range variety() {
		if e.mode.IsRegular() {
			must(t, os.MkdirAll(filepath.Join(dir, "deep", "in"), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "deep", "in", fmt.Sprintf("%x", path)), e.data, 0o644))
		}
	}
	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{Reuse: []string{filepath.Join(dir, "not there"), dir}})
	if n := missingBytes(tree); n != 0 {
		t.Errorf("%d bytes are missing", n)
	}
	p.publishAs(t, tree, dest)

	one := filepath.Join(dir, "new.img")
	image := file(100_000, 9).data
	must(t, os.WriteFile(one, image, 0o644))
	p = packDir(t, one, manifest.MinPieceLength)
	image = bytes.Clone(image)
	image[50_000] ^= 1
	older := filepath.Join(dir, "old.img")
	must(t, os.WriteFile(older, image, 0o644))
	tree = p.open(t, filepath.Join(fastDir(t), "image"), Options{Reuse: []string{older}})
	if n := missingBytes(tree); n != manifest.MinPieceLength {
		t.Errorf("%d bytes of the image are missing", n)
	}
}

// TestKeptRecordVouches: what the record knows of an older version is not hashed to be found again.
func TestKeptRecordVouches(t *testing.T) {
	before := map[string]entry{"a": file(100_000, 1), "b": file(100_000, 2), "c": file(100_000, 3)}
	old := pack(t, before)
	dest := filepath.Join(fastDir(t), "dest")
	tree := old.open(t, dest, Options{Keep: true})
	old.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	must(t, tree.Close())

	p := pack(t, map[string]entry{"x": before["c"], "y": before["a"], "z": before["b"]})
	hashed := false
	tree = p.open(t, dest, Options{Keep: true, Replace: true, Progress: func(done, total int64) { hashed = true }})
	if n := missingBytes(tree); n != 0 || hashed {
		t.Errorf("%d bytes are missing, hashed to look for files: %v", n, hashed)
	}
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, dest)
}

// TestAnyEdit: after any edit of a tree no more is missing than the files that changed and two pieces for every stretch
// of them, and what is published is the new tree.
func TestAnyEdit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(fastRoot(), "store")
		must(t, err)
		defer removeDest(dir)
		before := drawTree(t)
		after := edited(t, before)
		if rapid.Bool().Draw(t, "copied") {
			before = copyOf(before)
		}
		source, dest := filepath.Join(dir, "source"), filepath.Join(dir, "dest")
		for path, tree := range map[string]map[string]entry{source: after, dest: before} {
			must(t, os.Mkdir(path, 0o755))
			writeTree(t, path, tree)
		}
		p := packDir(t, source, manifest.MinPieceLength)
		o := Options{Replace: true}
		if rapid.Bool().Draw(t, "elsewhere") {
			must(t, os.Rename(dest, dest+".old"))
			o = Options{Reuse: []string{dest + ".old"}}
		}
		tree, err := Open(context.Background(), p.m, dest, o)
		must(t, err)
		defer func() { tree.Close() }()
		if most := changed(p.m, before); missingBytes(tree) > most {
			t.Fatalf("%d bytes are missing, want at most %d", missingBytes(tree), most)
		}
		if tree.Published() {
			return // nothing but times was edited, and those don't count in a tree that stands
		}
		if rapid.Bool().Draw(t, "killed") {
			tree.abandon()
			tree, err = Open(context.Background(), p.m, dest, o)
			must(t, err)
		}
		for i := range tree.Have().All {
			b := make([]byte, p.m.PieceSize(i))
			_, err := tree.ReadAt(i, b, 0)
			must(t, err)
			if !bytes.Equal(b, p.piece(int(i))) {
				t.Fatalf("piece %d reads wrong", i)
			}
		}
		p.fill(t, tree)
		must(t, tree.Publish(context.Background()))
		sameTree(t, source, dest)
	})
}

// edited is tree with files renamed, moved, changed, put in and taken out.
func edited(t *rapid.T, tree map[string]entry) map[string]entry {
	tree = maps.Clone(tree)
	for n := range rapid.IntRange(0, 6).Draw(t, "edits") {
		paths := slices.Sorted(maps.Keys(tree))
		fresh := fmt.Sprintf("%s%02d", rapid.SampledFrom([]string{"", "a/", "new/folder/", "z"}).Draw(t, "to"), 50+n)
		if len(paths) == 0 || rapid.IntRange(0, 4).Draw(t, "edit") == 0 {
			tree[fresh] = file(rapid.IntRange(0, 60_000).Draw(t, "size"), uint64(1000+n))
			continue
		}
		path := rapid.SampledFrom(paths).Draw(t, "path")
		e := tree[path]
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			delete(tree, path)
		case 1:
			delete(tree, path)
			tree[fresh] = e
		case 2:
			tree[fresh] = e
		case 3:
			if len(e.data) > 0 {
				e.data = spoilt(e.data, rapid.IntRange(0, 1<<20).Draw(t, "where"))
				if rapid.Bool().Draw(t, "touched") {
					e.mtime = e.mtime.AddDate(0, 1, 0)
				}
				tree[path] = e
			}
		}
	}
	return tree
}

// changed is the bound: the bytes of m's files that are not in tree, and two pieces for each stretch of them.
func changed(m *manifest.Manifest, tree map[string]entry) (most int64) {
	here := map[string]bool{}
	for _, e := range tree {
		here[string(e.data)] = true
	}
	sums := sumsOf(here)
	stretch := false
	for i := range m.Files {
		f := &m.Files[i]
		if f.Length == 0 {
			continue
		}
		if sums[f.SHA256] {
			stretch = false
			continue
		}
		most += f.Length
		if !stretch {
			most += 2 * m.PieceLength
		}
		stretch = true
	}
	return most
}

// oldAndNew is a tree that stands at a destination and a new one of which a part must come from elsewhere, in a piece that
// the unchanged file shares.
func oldAndNew(t *testing.T) (p packed, dest string) {
	before := map[string]entry{"a": file(20_000, 1), "b": file(20_000, 2)}
	after := map[string]entry{"a": before["a"], "b": file(20_000, 3)}
	return standing(t, before, after)
}

// TestWrongBlockSparesOldTree: a neighbour's wrong block for a piece that an unchanged file reaches into must not get into
// the old tree, which may have to stay.
func TestWrongBlockSparesOldTree(t *testing.T) {
	p, dest := oldAndNew(t)
	before := readTree(t, dest)
	tree := p.open(t, dest, Options{Replace: true})
	for i := range tree.Missing().All {
		_, err := tree.WriteAt(i, bytes.Repeat([]byte("wrong"), int(p.m.PieceSize(i)))[:p.m.PieceSize(i)], 0)
		must(t, err)
		if ok, err := tree.Verify(i); ok || err != nil {
			t.Fatalf("wrong blocks verify: %v, %v", ok, err)
		}
	}
	must(t, tree.Close())
	for path, e := range readTree(t, dest) {
		if !bytes.Equal(e.data, before[path].data) || !e.mtime.Equal(before[path].mtime) {
			t.Errorf("%s of the old tree was changed", path)
		}
	}
	tree = p.open(t, dest, Options{Replace: true})
	p.publishAs(t, tree, dest)
}

// TestSameSizeAndTimeOtherContent: a file that rotted looks like the one that is wanted in all but its bytes.
func TestSameSizeAndTimeOtherContent(t *testing.T) {
	tree := variety()
	p := pack(t, tree)
	big := tree["big.img"]
	big.data = spoilt(big.data, 123_456)
	rotten := maps.Clone(tree)
	rotten["big.img"] = big
	dest := filepath.Join(fastDir(t), "dest")
	must(t, os.Mkdir(dest, 0o755))
	writeTree(t, dest, rotten)
	got := p.open(t, dest, Options{Replace: true})
	if n := missingBytes(got); n == 0 || n > manifest.MinPieceLength {
		t.Errorf("%d bytes are missing", n)
	}
	p.publishAs(t, got, dest)
}

func sumsOf(contents map[string]bool) map[[32]byte]bool {
	sums := map[[32]byte]bool{}
	for c := range contents {
		sums[sha256.Sum256([]byte(c))] = true
	}
	return sums
}

// TestRepair: a tree that rotted is mended from itself and the pieces that are wrong, whatever the record says of it; what
// is right is left alone, and what is not of the package keeps it from being replaced.
func TestRepair(t *testing.T) {
	p := pack(t, variety())
	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{Keep: true})
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	must(t, tree.Close())
	tree = p.open(t, dest, Options{Repair: true})
	if !tree.Published() {
		t.Fatal("there is something to repair in a tree that is right")
	}
	must(t, tree.Close())

	big := filepath.Join(dest, "big.img")
	fi, err := os.Stat(big)
	must(t, err)
	must(t, os.WriteFile(big, spoilt(variety()["big.img"].data, 123_456), 0o644))
	must(t, os.Chtimes(big, fi.ModTime(), fi.ModTime()))
	trusting := p.open(t, dest, Options{Keep: true})
	if !trusting.Published() {
		t.Fatal("the record does not vouch for what has its size and time: this test shows nothing")
	}
	must(t, trusting.Close())

	mine := filepath.Join(dest, "mine")
	must(t, os.WriteFile(mine, nil, 0o644))
	_, err = Open(t.Context(), p.m, dest, Options{Repair: true})
	wantErr(t, err, ErrExists)
	must(t, os.Remove(mine))

	tree = p.open(t, dest, Options{Repair: true})
	if n := missingBytes(tree); n == 0 || n > manifest.MinPieceLength {
		t.Errorf("%d bytes are missing", n)
	}
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, dest)
	must(t, tree.Close())
	if again := p.open(t, dest, Options{Keep: true, Progress: func(_, _ int64) { t.Error("the record was lost") }}); !again.Published() {
		t.Error("the repaired tree is not known")
	}
}

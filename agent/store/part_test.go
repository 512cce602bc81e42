package store

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"handout/manifest"
)

// fillPart puts every piece that is missing, in random order, and nothing besides.
func (p packed) fillPart(t failer, tree *Tree) (bytes int64) {
	t.Helper()
	for _, i := range rand.Perm(p.m.NumPieces()) {
		if i := manifest.PieceIndex(i); tree.Lacks(i) {
			must(t, tree.Put(i, p.piece(int(i))))
			bytes += p.m.PieceSize(i)
		}
	}
	return bytes
}

// TestPartIsExactlyWhatWasSelected: whatever is selected, and however often the fetch is killed on the way, that part of
// the source stands there and nothing else; it is taken neither for the whole nor is the whole taken for it; and a piece
// that was readable once stays so.
func TestPartIsExactlyWhatWasSelected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(fastRoot(), "store")
		must(t, err)
		defer removeDest(dir)
		source, dest := filepath.Join(dir, "source"), filepath.Join(dir, "out", "dest")
		must(t, os.Mkdir(source, 0o755))
		drawn := drawTree(t)
		writeTree(t, source, drawn)
		p := packDir(t, source, manifest.MinPieceLength)
		var include []string
		chosen := map[string]bool{}
		for _, name := range slices.Sorted(maps.Keys(drawn)) {
			if !rapid.Bool().Draw(t, name) {
				continue
			}
			include = append(include, name)
			for ; name != "."; name = path.Dir(name) {
				chosen[name] = true
			}
		}
		if include == nil {
			t.Skip("nothing selected")
		}
		only, err := p.m.Select(include, nil)
		if only == nil {
			t.Skip("all, or only folders, selected")
		}
		must(t, err)
		o := Options{Only: only}
		if rapid.Bool().Draw(t, "elsewhere") {
			o.Stage = filepath.Join(dir, "stage")
			must(t, os.Mkdir(o.Stage, 0o755))
		}
		tree, err := Open(context.Background(), p.m, dest, o)
		must(t, err)
		defer func() { tree.Close() }()
		promised := map[manifest.PieceIndex]bool{}
		for _, i := range allPieces(t, p.m) {
			if !tree.Lacks(i) {
				if !tree.Has(i) && tree.Put(i, p.piece(int(i))) == nil && !tree.isHere(i) {
					t.Fatalf("piece %d is not wanted, and was taken", i)
				}
				continue
			}
			if rapid.IntRange(0, 9).Draw(t, "kill") == 0 {
				tree.abandon()
				tree, err = Open(context.Background(), p.m, dest, o)
				must(t, err)
			}
			wantErr(t, tree.Publish(context.Background()), ErrIncomplete)
			must(t, tree.Put(i, p.piece(int(i))))
			if tree.Has(i) {
				promised[i] = true
			}
		}
		must(t, tree.Publish(context.Background()))
		for i := range p.m.NumPieces() {
			i := manifest.PieceIndex(i)
			b := make([]byte, p.m.PieceSize(i))
			_, err := tree.ReadAt(i, b, 0)
			if !promised[i] {
				wantErr(t, err, ErrIncomplete)
				continue
			}
			must(t, err)
			if string(b) != string(p.piece(int(i))) {
				t.Fatalf("piece %d reads wrong", i)
			}
		}
		if tree.Damaged() {
			t.Fatal("the part is said to be damaged")
		}
		must(t, tree.Close())

		want := readTree(t, source)
		maps.DeleteFunc(want, func(name string, _ entry) bool { return !chosen[name] })
		equalTrees(t, want, readTree(t, dest))
		onlyThis(t, dest)
		again, err := Open(context.Background(), p.m, dest, Options{Only: only})
		must(t, err)
		if !again.Published() {
			t.Fatal("the same part is not known")
		}
		must(t, again.Close())
		_, err = Open(context.Background(), p.m, dest, Options{})
		wantErr(t, err, ErrExists)
		_, err = Open(context.Background(), p.m, source, Options{Only: only})
		wantErr(t, err, ErrExists)
	})
}

func allPieces(t *rapid.T, m *manifest.Manifest) []manifest.PieceIndex {
	var all []manifest.PieceIndex
	for i := range m.NumPieces() {
		all = append(all, manifest.PieceIndex(i))
	}
	return rapid.Permutation(all).Draw(t, "order")
}

// A part and then the whole at the same place: it is asked for by --replace, takes what lies there, and the other way round.
func TestWholeAfterPartTakesWhatIsThere(t *testing.T) {
	tree := map[string]entry{"a/1": file(100_000, 1), "a/2": file(120_001, 2), "b/3": file(70_003, 3), "c": file(90_000, 4)}
	p := pack(t, tree)
	only, err := p.m.Select([]string{"a/2", "b"}, nil)
	must(t, err)
	for _, stage := range []string{"", fastDir(t)} {
		dest := filepath.Join(fastDir(t), "dest")
		fetch := func(o Options) (reused, fetched int64) {
			o.Stage = stage
			tree := p.open(t, dest, o)
			fetched = p.fillPart(t, tree)
			must(t, tree.Publish(t.Context()))
			must(t, tree.Close())
			return tree.Reused(), fetched
		}
		if _, fetched := fetch(Options{Only: only}); fetched >= only.Bytes+2*p.m.PieceLength {
			t.Errorf("%d bytes were fetched for %d", fetched, only.Bytes)
		}
		_, err = Open(t.Context(), p.m, dest, Options{})
		wantErr(t, err, ErrExists)
		reused, fetched := fetch(Options{Replace: true, Keep: true})
		if reused+fetched != p.m.Length || reused <= only.Bytes-2*p.m.PieceLength {
			t.Errorf("for the whole %d bytes were reused, %d fetched", reused, fetched)
		}
		sameTree(t, p.dir, dest)
		_, err = Open(t.Context(), p.m, dest, Options{Only: only})
		wantErr(t, err, ErrExists)
		if _, fetched := fetch(Options{Only: only, Replace: true}); fetched != 0 {
			t.Errorf("for the part %d bytes were fetched though the whole was there", fetched)
		}
		for path, bad := range map[string]func(string) error{
			"a/2": func(f string) error { return os.WriteFile(f, make([]byte, 120_001), 0o644) },
			"d":   func(f string) error { return os.WriteFile(f, nil, 0o644) },
		} {
			report, err := Check(t.Context(), p.m, only, dest, nil)
			must(t, err)
			if !report.Matches() {
				t.Fatalf("the part differs: %+v", report)
			}
			if report, err = Check(t.Context(), p.m, nil, dest, nil); err != nil || report.Matches() {
				t.Errorf("the part passes for the whole: %v", err)
			}
			full := filepath.Join(dest, filepath.FromSlash(path))
			was, err := os.ReadFile(full)
			must(t, bad(full))
			if report, err := Check(t.Context(), p.m, only, dest, nil); err != nil || report.Matches() {
				t.Errorf("%s: the change is not seen: %v", path, err)
			}
			_, err2 := Open(t.Context(), p.m, dest, Options{Only: only})
			wantErr(t, err2, ErrExists)
			if err == nil {
				must(t, os.WriteFile(full, was, 0o644))
			} else {
				must(t, os.Remove(full))
			}
		}
	}
}

// What an interrupted part has left, border pieces too, serves the whole.
func TestInterruptedPartServesTheWhole(t *testing.T) {
	p := pack(t, map[string]entry{"a": file(100_000, 1), "b": file(120_001, 2), "c": file(70_003, 3)})
	only, err := p.m.Select([]string{"b"}, nil)
	must(t, err)
	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{Only: only})
	fetched := p.fillPart(t, tree)
	must(t, tree.Close())
	tree = p.open(t, dest, Options{})
	if missing := missingBytes(tree); missing != p.m.Length-fetched {
		t.Errorf("%d bytes are missing after %d of %d", missing, fetched, p.m.Length)
	}
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, dest)
}

// What an interrupted whole has left serves the part, and what is not of that is promised to nobody.
func TestInterruptedWholeServesThePart(t *testing.T) {
	p := pack(t, map[string]entry{"a": file(100_000, 1), "b": file(120_001, 2), "c": file(70_003, 3)})
	only, err := p.m.Select([]string{"b"}, nil)
	must(t, err)
	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{})
	p.fill(t, tree)
	must(t, tree.Close())
	tree = p.open(t, dest, Options{Only: only})
	before := tree.Have()
	if n := tree.Missing().Count(); n != 0 {
		t.Errorf("%d pieces are missing, and all were here", n)
	}
	must(t, tree.Publish(t.Context()))
	for i := range manifest.PieceIndex(p.m.NumPieces()) {
		_, err := tree.ReadAt(i, make([]byte, p.m.PieceSize(i)), 0)
		if before.Has(i) {
			must(t, err)
		} else {
			wantErr(t, err, ErrIncomplete)
		}
		if tree.Has(i) != before.Has(i) {
			t.Errorf("piece %d could be read: %v; now: %v", i, before.Has(i), tree.Has(i))
		}
	}
	if report, err := Check(t.Context(), p.m, only, dest, nil); err != nil || !report.Matches() {
		t.Errorf("%+v, %v", report, err)
	}
}

// A publication that failed when what is not of the part had gone already: it can be tried again, and what was left serves
// the whole, without the pieces that are no longer there in full.
func TestFailedPublicationOfAPart(t *testing.T) {
	p := pack(t, map[string]entry{"a": file(100_000, 1), "b": file(120_001, 2), "c": file(70_003, 3)})
	only, err := p.m.Select([]string{"b"}, nil)
	must(t, err)
	for _, again := range []bool{true, false} {
		dest := filepath.Join(fastDir(t), "dest")
		tree := p.open(t, dest, Options{Only: only})
		p.fillPart(t, tree)
		must(t, os.WriteFile(dest, nil, 0o644))
		wantErr(t, tree.Publish(t.Context()), ErrExists)
		must(t, os.Remove(dest))
		if again {
			must(t, tree.Publish(t.Context()))
			if report, err := Check(t.Context(), p.m, only, dest, nil); err != nil || !report.Matches() {
				t.Errorf("%+v, %v", report, err)
			}
			continue
		}
		must(t, tree.Close())
		tree = p.open(t, dest, Options{})
		for i := range manifest.PieceIndex(p.m.NumPieces()) {
			b := make([]byte, p.m.PieceSize(i))
			if _, err := tree.ReadAt(i, b, 0); tree.Has(i) && (err != nil || string(b) != string(p.piece(int(i)))) {
				t.Errorf("piece %d counts for complete: %v", i, err)
			}
		}
		p.fill(t, tree)
		must(t, tree.Publish(t.Context()))
		sameTree(t, p.dir, dest)
	}
}

// A part that lost a file is mended like a whole tree.
func TestRepairOfAPart(t *testing.T) {
	p := pack(t, map[string]entry{"a": file(100_000, 1), "b/1": file(120_001, 2), "b/2": file(50_000, 4), "c": file(70_003, 3)})
	only, err := p.m.Select([]string{"b"}, nil)
	must(t, err)
	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{Only: only})
	p.fillPart(t, tree)
	must(t, tree.Publish(t.Context()))
	must(t, tree.Close())
	must(t, os.Remove(filepath.Join(dest, "b", "2")))
	tree = p.open(t, dest, Options{Only: only, Repair: true})
	if fetched := p.fillPart(t, tree); fetched == 0 || fetched > 50_000+4*p.m.PieceLength {
		t.Errorf("%d bytes were fetched for a lost file of 50000", fetched)
	}
	must(t, tree.Publish(t.Context()))
	if report, err := Check(t.Context(), p.m, only, dest, nil); err != nil || !report.Matches() {
		t.Errorf("%+v, %v", report, err)
	}
}

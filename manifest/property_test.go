package manifest

import (
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// randomTree is a tree on disk, as rapid draws it, and what must come out of a manifest of it.
type randomTree struct {
	root    string
	files   map[string]File // Offset unset
	content map[string][]byte
	dirs    map[string]Dir
}

func drawTree(t *rapid.T, base string) randomTree {
	tree := randomTree{root: filepath.Join(base, "pkg"), files: map[string]File{}, content: map[string][]byte{}, dirs: map[string]Dir{}}
	check(t, os.MkdirAll(tree.root, 0o755))
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	folders := []string{""}
	taken := map[string]bool{}
	for range rapid.IntRange(0, 25).Draw(t, "entries") {
		name := rapid.SampledFrom([]string{"a", "b", "a-b", "ü", "u\u0308", "x y", "日本", "file.txt", "z", ".h"}).Draw(t, "name")
		p := path.Join(rapid.SampledFrom(folders).Draw(t, "folder"), name)
		if taken[p] {
			continue
		}
		taken[p] = true
		full := filepath.Join(tree.root, filepath.FromSlash(p))
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0, 1:
			folders = append(folders, p)
			tree.dirs[p] = Dir{}
			check(t, os.Mkdir(full, 0o755))
		case 2:
			target := rapid.SampledFrom(folders).Draw(t, "target")
			rel, err := filepath.Rel("/"+path.Dir(p), "/"+target)
			check(t, err)
			check(t, os.Symlink(rel, full))
			tree.files[p] = File{Path: p, Target: filepath.ToSlash(rel)}
		default:
			// From nothing to a few pieces, often exactly to the border of one.
			n := rapid.OneOf(rapid.IntRange(0, 50), rapid.IntRange(0, 3*MinPieceLength),
				rapid.SampledFrom([]int{MinPieceLength - 1, MinPieceLength, MinPieceLength + 1, 2 * MinPieceLength})).Draw(t, "size")
			content := make([]byte, n)
			for i := range content {
				content[i] = byte(random.Uint32())
			}
			mode := fs.FileMode(rapid.SampledFrom([]int{0o644, 0o755, 0o600, 0o444, 0o500}).Draw(t, "mode"))
			check(t, os.WriteFile(full, content, 0o600))
			check(t, os.Chmod(full, mode))
			stamp := time.Unix(rapid.Int64Range(-1<<31, 1<<33).Draw(t, "time"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
			check(t, os.Chtimes(full, stamp, stamp))
			tree.content[p] = content
			tree.files[p] = File{Path: p, Length: int64(n), SHA256: sha256.Sum256(content)}
		}
	}
	// What the file system made of modes and times (Windows keeps less than Linux) is what must be preserved.
	for p, f := range tree.files {
		info, err := os.Lstat(filepath.Join(tree.root, filepath.FromSlash(p)))
		check(t, err)
		f.Mode, f.ModTime = info.Mode().Perm(), info.ModTime().UTC()
		tree.files[p] = f
	}
	for p := range tree.dirs {
		info, err := os.Lstat(filepath.Join(tree.root, filepath.FromSlash(p)))
		check(t, err)
		tree.dirs[p] = Dir{Path: p, Mode: info.Mode().Perm(), ModTime: info.ModTime().UTC()}
	}
	return tree
}

func check(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestBuildThenOpen: any tree comes out as it went in, every hash is that of the bytes, and no change to the signed
// file goes unnoticed or makes it another.
func TestBuildThenOpen(t *testing.T) {
	private, public, err := GenerateKey()
	check(t, err)
	trust := Trust{Keys: []PublicKey{public}}
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		tree := drawTree(rt, filepath.Join(base, fmt.Sprint(n)))
		raw, err := Build(t.Context(), tree.root, BuildOptions{PieceLength: MinPieceLength, Created: time.Unix(1e9, 0)})
		check(rt, err)
		again, err := Build(t.Context(), tree.root, BuildOptions{PieceLength: MinPieceLength, Created: time.Unix(1e9, 0)})
		check(rt, err)
		if !slices.Equal(raw, again) {
			rt.Fatal("built twice, it differs")
		}
		raw, err = Sign(raw, private)
		check(rt, err)
		m, err := Open(raw, trust)
		check(rt, err)
		compareTree(rt, tree, m)
		checkInvariants(t, m)

		tampered := slices.Clone(raw)
		at := rapid.IntRange(0, len(raw)-1).Draw(rt, "at")
		tampered[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		refused(t, tampered, trust, m, "bit flipped", at)
		if _, err := Open(raw[:at], trust); err == nil {
			rt.Errorf("cut to %d of %d bytes: taken", at, len(raw))
		}
	})
}

func compareTree(t *rapid.T, tree randomTree, m *Manifest) {
	if len(m.Files) != len(tree.files) || len(m.Dirs) != len(tree.dirs) {
		t.Fatalf("%d files and %d folders went in, %d and %d came out", len(tree.files), len(tree.dirs), len(m.Files), len(m.Dirs))
	}
	var whole []byte
	for _, got := range m.Files {
		want := tree.files[got.Path]
		want.Offset = int64(len(whole))
		whole = append(whole, tree.content[got.Path]...)
		if got != want {
			t.Errorf("file\n%+v came out as\n%+v", want, got)
		}
	}
	for _, got := range m.Dirs {
		if want := tree.dirs[got.Path]; got != want {
			t.Errorf("folder %+v came out as %+v", want, got)
		}
	}
	for i := range m.NumPieces() {
		p := PieceIndex(i)
		piece := whole[m.PieceOffset(p):][:m.PieceSize(p)]
		if m.PieceSHA1(p) != sha1.Sum(piece) || m.PieceSHA256(p) != sha256.Sum256(piece) {
			t.Errorf("the hashes of piece %d are not of its bytes", p)
		}
	}
	off := rapid.Int64Range(-10, m.Length+10).Draw(t, "off")
	n := rapid.Int64Range(-10, m.Length+10).Draw(t, "n")
	var covered []byte
	for _, s := range m.Spans(off, n) {
		f := m.Files[s.File]
		if s.Length <= 0 || s.Offset < 0 || s.Offset+s.Length > f.Length {
			t.Fatalf("span %+v of %+v", s, f)
		}
		covered = append(covered, tree.content[f.Path][s.Offset:s.Offset+s.Length]...)
	}
	from := min(max(off, 0), m.Length)
	to := max(from, min(off+n, m.Length))
	if !slices.Equal(covered, whole[from:to]) {
		t.Errorf("the spans of [%d, %d+%d) hold %d bytes, not %d", off, off, n, len(covered), to-from)
	}
}

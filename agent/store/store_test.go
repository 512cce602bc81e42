package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"handout/manifest"
)

func TestMain(m *testing.M) {
	if pkg := os.Getenv(childVariable); pkg != "" {
		putUntilKilled(pkg)
	}
	if shared := os.Getenv(studentVariable); shared != "" {
		misbehave(shared)
	}
	goleak.VerifyTestMain(m)
}

// entry is what a test tree has under one path: a folder (mode with ModeDir), a symlink (target) or a file.
type entry struct {
	data   []byte
	mode   fs.FileMode
	target string
	mtime  time.Time
}

// when is a time with nanoseconds, which the file systems tests run on keep.
var when = time.Date(2023, 5, 6, 7, 8, 9, 123456700, time.UTC)

func file(n int, seed uint64) entry {
	data := make([]byte, n)
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	rand.NewChaCha8(key).Read(data)
	return entry{data: data, mode: 0o644, mtime: when.Add(time.Duration(seed) * time.Second)}
}

// variety is a small tree with one of everything.
func variety() map[string]entry {
	script := file(900, 1)
	script.mode = 0o755
	readOnly := file(70_000, 2)
	readOnly.mode = 0o444
	tree := map[string]entry{
		"bin/run.sh":     script,
		"bin/current":    {target: "../big.img", mtime: when},
		"read-only.cfg":  readOnly,
		"big.img":        file(300_000, 3),
		"a/b/c/d/e/deep": file(17, 4),
		"a/b/empty":      file(0, 5),
		"empty":          file(0, 6),
		"leer/noch leer": {mode: fs.ModeDir | 0o750, mtime: when},
		"a/closed":       {mode: fs.ModeDir | 0o555, mtime: when.Add(time.Hour)},
		"a/closed/file":  file(1234, 7),
		"Übung ü":        file(1, 8),
	}
	for i := range 60 {
		tree[fmt.Sprintf("small/%02d", i)] = file(i*i*3, uint64(100+i))
	}
	return tree
}

// writeTree writes a tree and gives every folder that is not listed a mode and a time too.
func writeTree(t failer, dir string, tree map[string]entry) {
	t.Helper()
	folders := map[string]entry{}
	for path, e := range tree {
		full := filepath.Join(dir, path)
		parent := full
		if !e.mode.IsDir() {
			parent = filepath.Dir(full)
		}
		must(t, os.MkdirAll(parent, 0o755))
		switch {
		case e.mode.IsDir():
		case e.target != "":
			must(t, os.Symlink(e.target, full))
			must(t, setTestLinkTime(full, e.mtime))
			continue
		default:
			must(t, os.WriteFile(full, e.data, 0o600))
			must(t, os.Chtimes(full, e.mtime, e.mtime))
			must(t, os.Chmod(full, e.mode.Perm()))
		}
	}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != dir {
			e, ok := tree[filepath.ToSlash(path[len(dir)+1:])]
			if !ok {
				e = entry{mode: 0o755, mtime: when.Add(-time.Hour)}
			}
			folders[path] = e
		}
		return err
	}))
	for _, path := range slices.Backward(slices.Sorted(maps.Keys(folders))) {
		must(t, os.Chtimes(path, folders[path].mtime, folders[path].mtime))
		must(t, os.Chmod(path, folders[path].mode.Perm()))
	}
}

// readTree is what really lies at dir.
func readTree(t failer, dir string) map[string]entry {
	t.Helper()
	tree := map[string]entry{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		e := entry{mode: fi.Mode(), mtime: fi.ModTime()}
		switch {
		case fi.Mode().Type() == fs.ModeSymlink:
			e.target, err = os.Readlink(path)
			if runtime.GOOS == "windows" {
				e.mtime = time.Time{}
			}
		case fi.Mode().IsRegular():
			e.data, err = os.ReadFile(path)
		}
		tree[filepath.ToSlash(path[len(dir)+1:])] = e
		return err
	}))
	return tree
}

// sameTree fails unless got is byte for byte want, with modes, times, symlinks and folders.
func sameTree(t failer, want, got string) {
	t.Helper()
	equalTrees(t, readTree(t, want), readTree(t, got))
}

func equalTrees(t failer, a, b map[string]entry) {
	t.Helper()
	for path, e := range a {
		g, ok := b[path]
		switch {
		case !ok:
			t.Errorf("%s is missing", path)
		case g.mode != e.mode || g.target != e.target || !g.mtime.Equal(e.mtime):
			t.Errorf("%s is %v %v %q, want %v %v %q", path, g.mode, g.mtime, g.target, e.mode, e.mtime, e.target)
		case !bytes.Equal(g.data, e.data):
			t.Errorf("%s has wrong content", path)
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			t.Errorf("%s is too much", path)
		}
	}
}

// packed is a source tree with its manifest and the bytes of all its pieces.
type packed struct {
	dir   string
	m     *manifest.Manifest
	bytes []byte
}

func pack(t testing.TB, tree map[string]entry) packed {
	t.Helper()
	dir := filepath.Join(fastDir(t), "source")
	must(t, os.Mkdir(dir, 0o755))
	writeTree(t, dir, tree)
	return packDir(t, dir, manifest.MinPieceLength)
}

// fastDir is a folder for a test: in memory where there is such a place, so that the test does not wait until the whole
// machine's disk is flushed.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(fastRoot(), "store")
	must(t, err)
	t.Cleanup(func() {
		parent, err := os.OpenRoot(filepath.Dir(dir))
		must(t, err)
		defer parent.Close()
		must(t, removeAll(parent, filepath.Base(dir)))
	})
	return dir
}

func fastRoot() string {
	if fi, err := os.Stat("/dev/shm"); err == nil && fi.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

func packDir(t failer, dir string, pieceLength int64) packed {
	t.Helper()
	p := packed{dir: dir, m: build(t, dir, pieceLength)}
	for i := range p.m.Files {
		f := &p.m.Files[i]
		if f.Target != "" {
			continue
		}
		path := filepath.Join(dir, f.Path)
		if p.m.Single {
			path = dir
		}
		data, err := os.ReadFile(path)
		must(t, err)
		p.bytes = append(p.bytes, data...)
	}
	return p
}

func build(t failer, dir string, pieceLength int64) *manifest.Manifest {
	t.Helper()
	raw, err := manifest.Build(context.Background(), dir, manifest.BuildOptions{PieceLength: pieceLength})
	must(t, err)
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
	must(t, err)
	return m
}

func (p packed) piece(i int) []byte {
	off := p.m.PieceOffset(manifest.PieceIndex(i))
	return p.bytes[off : off+p.m.PieceSize(manifest.PieceIndex(i))]
}

func (p packed) open(t testing.TB, dest string, o Options) *Tree {
	t.Helper()
	tree, err := Open(context.Background(), p.m, dest, o)
	must(t, err)
	t.Cleanup(func() { tree.Close() })
	return tree
}

// fill puts every piece that is missing, in random order.
func (p packed) fill(t failer, tree *Tree) {
	t.Helper()
	for _, i := range rand.Perm(p.m.NumPieces()) {
		if !tree.Has(manifest.PieceIndex(i)) {
			must(t, tree.Put(manifest.PieceIndex(i), p.piece(i)))
		}
	}
}

// failer is what testing.TB and rapid.T have in common.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

func must(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t failer, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

// onlyThis fails unless name is all there is in its folder: no staging folder is left.
func onlyThis(t failer, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != filepath.Base(path) {
		t.Errorf("beside %s lies %v", path, entries)
	}
}

func TestPutAndPublish(t *testing.T) {
	p := pack(t, variety())
	dest := filepath.Join(fastDir(t), "new", "folder", "dest")
	tree := p.open(t, dest, Options{})
	wantErr(t, tree.Publish(t.Context()), ErrIncomplete)
	p.fill(t, tree)
	if _, err := os.Lstat(dest); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("destination is there before publication: %v", err)
	}
	must(t, tree.Publish(t.Context()))
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, dest)
	onlyThis(t, dest)
	buf := make([]byte, p.m.PieceLength)
	for i := range p.m.NumPieces() {
		n, err := tree.ReadAt(manifest.PieceIndex(i), buf[:len(p.piece(i))], 0)
		must(t, err)
		if !bytes.Equal(buf[:n], p.piece(i)) {
			t.Fatalf("piece %d reads wrong after publication", i)
		}
	}
	must(t, tree.Close())
	must(t, tree.Close())

	again := p.open(t, dest, Options{})
	if !again.Published() || !again.Have().Full() {
		t.Error("a destination that matches is not taken for published")
	}
	onlyThis(t, dest)
}

func TestBlocksFromNeighbours(t *testing.T) {
	p := pack(t, variety())
	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{})
	for i := range p.m.NumPieces() {
		i, data := manifest.PieceIndex(i), p.piece(i)
		if ok, err := tree.Verify(i); ok || err != nil {
			t.Fatalf("nothing written, Verify says %v, %v", ok, err)
		}
		bad := bytes.Clone(data)
		bad[len(bad)/2] ^= 1
		for _, content := range [][]byte{bad, data} {
			for off := 0; off < len(content); off += 5000 {
				_, err := tree.WriteAt(i, content[off:min(off+5000, len(content))], int64(off))
				must(t, err)
			}
			ok, err := tree.Verify(i)
			must(t, err)
			if ok != bytes.Equal(content, data) {
				t.Fatalf("Verify says %v", ok)
			}
			_, err = tree.ReadAt(i, make([]byte, 1), 0)
			if ok {
				must(t, err)
			} else {
				wantErr(t, err, ErrIncomplete)
			}
		}
		_, err := tree.WriteAt(i, bad, 0)
		wantErr(t, err, ErrComplete)
	}
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, dest)
}

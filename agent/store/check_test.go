package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"handout/manifest"
)

// TestCheckUsesAllCores: as many pieces are hashed at a time as there are cores, also of one file.
func TestCheckUsesAllCores(t *testing.T) {
	const cores = 4
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	p := pack(t, map[string]entry{"one": file(16*manifest.MinPieceLength, 1)})
	var hashed sync.WaitGroup // by each core its first
	hashed.Add(cores)
	var first atomic.Int32
	all := make(chan struct{})
	go func() { hashed.Wait(); close(all) }()
	r, err := Check(t.Context(), p.m, nil, p.dir, func(int64, int64) {
		if first.Add(1) > cores {
			return
		}
		hashed.Done()
		select {
		case <-all:
		case <-time.After(10 * time.Second):
			t.Error("one waits for another")
		}
	})
	must(t, err)
	if !r.Matches() {
		t.Errorf("%+v", r)
	}
}

func TestCheck(t *testing.T) {
	p := pack(t, variety())
	for _, c := range []struct {
		what   string
		change func(dir string) error
		file   string
		want   Verdict
	}{
		{"nothing", func(string) error { return nil }, "big.img", OK},
		{"another time", func(dir string) error { return os.Chtimes(filepath.Join(dir, "big.img"), when, when) }, "big.img", OK},
		{"other bits of the mode", func(dir string) error { return os.Chmod(filepath.Join(dir, "big.img"), 0o600) }, "big.img", OK},
		{"no longer to be run", func(dir string) error { return os.Chmod(filepath.Join(dir, "bin/run.sh"), 0o644) }, "bin/run.sh", WrongMode},
		{"a file gone", func(dir string) error { return os.Remove(filepath.Join(dir, "small/30")) }, "small/30", Missing},
		{"an empty file gone", func(dir string) error { return os.Remove(filepath.Join(dir, "empty")) }, "empty", Missing},
		{"a byte of a large file", func(dir string) error { return poke(filepath.Join(dir, "big.img"), 150_000) }, "big.img", WrongContent},
		{"a byte of a small file", func(dir string) error { return poke(filepath.Join(dir, "small/30"), 0) }, "small/30", WrongContent},
		{"a longer file", func(dir string) error { return os.Truncate(filepath.Join(dir, "small/30"), 1<<20) }, "small/30", WrongSize},
		{"a folder for a file", func(dir string) error {
			os.Remove(filepath.Join(dir, "small/30"))
			return os.Mkdir(filepath.Join(dir, "small/30"), 0o755)
		}, "small/30", WrongKind},
		{"a file for a symlink", func(dir string) error {
			os.Remove(filepath.Join(dir, "bin/current"))
			return os.WriteFile(filepath.Join(dir, "bin/current"), nil, 0o644)
		}, "bin/current", WrongKind},
		{"a symlink elsewhere", func(dir string) error {
			os.Remove(filepath.Join(dir, "bin/current"))
			return os.Symlink("../empty", filepath.Join(dir, "bin/current"))
		}, "bin/current", WrongContent},
		{"a folder gone", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "a/b/c")) }, "a/b/c/d/e/deep", Missing},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := filepath.Join(fastDir(t), "tree")
			must(t, os.Mkdir(dir, 0o755))
			writeTree(t, dir, variety())
			must(t, c.change(dir))
			var done, total atomic.Int64
			report, err := Check(t.Context(), p.m, nil, dir, func(d, all int64) { done.Add(1); total.Store(all) })
			must(t, err)
			for i := range p.m.Files {
				want := OK
				if p.m.Files[i].Path == c.file {
					want = c.want
				}
				if report.Files[i] != want {
					t.Errorf("%s: %v, want %v", p.m.Files[i].Path, report.Files[i], want)
				}
			}
			if len(report.Extra) > 0 || report.Matches() != (c.want == OK) {
				t.Errorf("matches: %v, extra: %v", report.Matches(), report.Extra)
			}
			if int(done.Load()) != p.m.NumPieces() || total.Load() != p.m.Length {
				t.Errorf("progress was told %d times, total %d", done.Load(), total.Load())
			}
		})
	}
}

func poke(path string, off int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	f.ReadAt(b, off)
	b[0]++
	_, err = f.WriteAt(b, off)
	return err
}

func TestCheckFolders(t *testing.T) {
	p := pack(t, variety())
	must(t, os.Remove(filepath.Join(p.dir, "leer/noch leer")))
	must(t, os.MkdirAll(filepath.Join(p.dir, "small/more/of it"), 0o755))
	must(t, os.WriteFile(filepath.Join(p.dir, "thumbs.db"), nil, 0o644))
	report, err := Check(t.Context(), p.m, nil, p.dir, nil)
	must(t, err)
	if !slices.Equal(report.Extra, []string{"thumbs.db", "small/more"}) {
		t.Errorf("extra: %q", report.Extra)
	}
	for i, verdict := range report.Dirs {
		if want := p.m.Dirs[i].Path == "leer/noch leer"; (verdict == Missing) != want {
			t.Errorf("%s: %v", p.m.Dirs[i].Path, verdict)
		}
	}
	_, err = Check(t.Context(), p.m, nil, p.dir+"x", nil)
	wantErr(t, err, fs.ErrNotExist)
}

package atomicfile

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// number is a content of which not everything is one.
func number(into *int) func([]byte) error {
	return func(b []byte) error { return json.Unmarshal(b, into) }
}

// damages are what a disk, a power cut or a person makes of a file.
var damages = map[string]func(t *testing.T, path string){
	"empty":   content(""),
	"half":    content("[1,"),
	"garbage": content("\x7fELF\x02\x01 and so on"),
	"NULs":    content(strings.Repeat("\x00", 4096)),
	"foreign": content(`{"name":"another program's"}`),
	"too long": func(t *testing.T, path string) {
		content(strings.Repeat("1", 1000))(t, path)
	},
	"a folder": func(t *testing.T, path string) {
		must(t, errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Join(path, "something", "in it"), 0o755)))
	},
	"unreadable": func(t *testing.T, path string) {
		if os.Geteuid() == 0 {
			// Root reads everything, so what stands here for a file that can't be read is one that leads to itself.
			must(t, errors.Join(os.Remove(path), os.Symlink(filepath.Base(path), path)))
			return
		}
		must(t, os.Chmod(path, 0))
	},
}

func content(text string) func(*testing.T, string) {
	return func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(text), 0o600)) }
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamagedStateIsSetAside(t *testing.T) {
	for what, damage := range damages {
		for _, both := range []bool{false, true} {
			s := State{Path: filepath.Join(t.TempDir(), "n.json"), Mode: 0o640, Most: 100}
			must(t, s.Write([]byte("1\n")))
			must(t, s.Write([]byte("2\n")))
			damage(t, s.Path)
			if both {
				damage(t, s.Path+copyEnd)
			}
			n := 0
			if err := s.Look(number(&n)); (err == nil) == both || len(Aside(filepath.Dir(s.Path))) > 0 {
				t.Errorf("%s, both %v, looked at: %v", what, both, err)
			}
			n = 0
			err := s.Load(number(&n))
			d, ok := errors.AsType[*Damage](err)
			if !ok || d.Whole == both || d.Aside == "" || n != map[bool]int{false: 2, true: 0}[both] {
				t.Errorf("%s, both %v: %d, %v", what, both, n, err)
			}
			if both {
				if err := s.Load(number(&n)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: after it was set aside: %v", what, err)
				}
			} else if err := s.Load(number(&n)); err != nil {
				t.Errorf("%s: the copy did not take its place: %v", what, err)
			}
			must(t, s.Write([]byte("3\n")))
			if err := s.Load(number(&n)); err != nil || n != 3 {
				t.Errorf("%s, both %v, written again: %d, %v", what, both, n, err)
			}
		}
	}
}

// A copy alone is no state: somebody has removed the file. A damaged copy alone is noticed by nobody, and written anew.
func TestCopyCountsOnlyBesideItsFile(t *testing.T) {
	s := State{Path: filepath.Join(t.TempDir(), "n.json"), Mode: 0o640, Most: 100}
	var n int
	if err := s.Load(number(&n)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	must(t, s.Write([]byte("1")))
	must(t, os.Remove(s.Path))
	if err := s.Load(number(&n)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a copy alone: %v", err)
	}
	must(t, s.Write([]byte("1")))
	damages["a folder"](t, s.Path+copyEnd)
	if err := s.Load(number(&n)); err != nil {
		t.Errorf("a spoilt copy: %v", err)
	}
	must(t, s.Write([]byte("2")))
	damages["empty"](t, s.Path)
	if d, ok := errors.AsType[*Damage](s.Load(number(&n))); !ok || !d.Whole || n != 2 {
		t.Errorf("the copy was not written anew: %d, %v", n, d)
	}
}

func TestWriteLeavesTheOldContentOrTheNew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	must(t, Write(path, []byte("old"), 0o640))
	broken := errors.New("the disk is full")
	err := Fill(path, 0o600, func(f *os.File) error {
		f.WriteString("ne")
		return broken
	})
	if b, _ := os.ReadFile(path); !errors.Is(err, broken) || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	must(t, Write(path, []byte("new"), 0o600))
	info, err := os.Stat(path)
	must(t, err)
	if list, _ := os.ReadDir(dir); len(list) != 1 || filepath.Separator == '/' && info.Mode().Perm() != 0o600 {
		t.Errorf("%d files, mode %v", len(list), info.Mode())
	}
	// What a killed writer left goes, and nothing else.
	for _, name := range []string{".file.part-123", ".part-of-something", "mine.part-1"} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	Sweep(dir)
	list, _ := os.ReadDir(dir)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{".part-of-something", "file", "mine.part-1"}) {
		t.Errorf("left: %q", names)
	}
}

// A file that is damaged at every start must not fill the disk.
func TestFewAreKeptAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a[1]*.json")
	if filepath.Separator == '\\' {
		path = filepath.Join(t.TempDir(), "a.json")
	}
	for range asideMost + 3 {
		must(t, os.WriteFile(path, nil, 0o600))
		if _, err := SetAside(path); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(Aside(filepath.Dir(path))); n != asideMost {
		t.Errorf("%d are kept", n)
	}
}

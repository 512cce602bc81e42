package manifest

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// writeTree makes a tree named root: "path" is a file with that content, "path*" an executable one, "path>" a symlink
// to it, "path/" a folder.
func writeTree(t testing.TB, root string, entries map[string]string) string {
	t.Helper()
	tree := filepath.Join(t.TempDir(), root)
	if err := os.MkdirAll(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range entries {
		full := filepath.Join(tree, filepath.FromSlash(strings.TrimRight(name, "*>/")))
		folder := filepath.Dir(full)
		if strings.HasSuffix(name, "/") {
			folder = full
		}
		err := os.MkdirAll(folder, 0o755)
		if err == nil {
			switch name[len(name)-1] {
			case '/':
			case '>':
				err = os.Symlink(content, full)
			case '*':
				err = os.WriteFile(full, []byte(content), 0o755)
			default:
				err = os.WriteFile(full, []byte(content), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func build(t testing.TB, tree string, o BuildOptions) []byte {
	t.Helper()
	raw, err := Build(t.Context(), tree, o)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func open(t testing.TB, raw []byte) *Manifest {
	t.Helper()
	m, err := Open(raw, Trust{AllowUnsigned: true})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSingleFile(t *testing.T) {
	tree := writeTree(t, "pkg", map[string]string{"tool.exe*": "content", "link>": "tool.exe"})
	for _, name := range []string{"tool.exe", "link"} { // the tree's own name may be a symlink
		m := open(t, build(t, filepath.Join(tree, name), BuildOptions{Origins: []string{"http://origin.example/" + name}}))
		f := m.Files[0]
		if !m.Single || m.Root != name || len(m.Files) != 1 || f.Path != name || f.Length != 7 || f.Mode&0o100 == 0 || f.Target != "" {
			t.Errorf("%+v", m)
		}
		if f.SHA256 != sha256.Sum256([]byte("content")) || m.PieceSHA256(0) != f.SHA256 {
			t.Errorf("%s: wrong hashes", name)
		}
		checkInvariants(t, m)
	}
}

func TestNothingInIt(t *testing.T) {
	for name, entries := range map[string]map[string]string{
		"empty tree":   {},
		"only folders": {"a/b/c/": ""},
		"only empty":   {"a": "", "b/c": "", "l>": "a"},
	} {
		m := open(t, build(t, writeTree(t, "pkg", entries), BuildOptions{}))
		if m.Length != 0 || m.NumPieces() != 0 || len(m.Spans(0, 10)) != 0 {
			t.Errorf("%s: %+v", name, m)
		}
		for _, f := range m.Files {
			if f.Target == "" && f.SHA256 != sha256.Sum256(nil) {
				t.Errorf("%s: %+v", name, f)
			}
		}
		checkInvariants(t, m)
	}
}

// TestUnfitTrees: what can't be handed out is refused before the long work, by name.
func TestUnfitTrees(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a file system that takes such names")
	}
	for _, c := range []struct {
		what    string
		entries map[string]string
		reason  string
		waived  bool // goes with AllowNonWindowsNames
	}{
		{"a symlink out", map[string]string{"d/l>": "../../x"}, `"d/l" to "../../x": it leads out`, false},
		{"an absolute symlink", map[string]string{"l>": "/etc"}, `"l" to "/etc": the target is absolute`, false},
		{"a circle", map[string]string{"a>": "b", "b>": "a"}, `"a" to "b"`, false},
		{"a control character", map[string]string{"a\x1bb": ""}, `"a\x1bb"`, false},
		{"no UTF-8", map[string]string{"a\xff": ""}, `"a\xff"`, false},
		{"a colon", map[string]string{"a/b:c": ""}, `"a/b:c"`, true},
		{"a backslash", map[string]string{`a\b`: ""}, `"a\\b"`, true},
		{"a device", map[string]string{"a/aux.c": ""}, `"a/aux.c"`, true},
		{"a dot at the end", map[string]string{"a./b": ""}, `"a."`, true},
		{"two cases", map[string]string{"Makefile": "", "makefile": ""}, `"makefile"`, true},
	} {
		tree := writeTree(t, "pkg", c.entries)
		_, err := Build(t.Context(), tree, BuildOptions{})
		if err == nil || !strings.Contains(err.Error(), c.reason) || errors.Is(err, ErrWindowsName) != c.waived {
			t.Errorf("%s: %v", c.what, err)
		}
		raw, err := Build(t.Context(), tree, BuildOptions{AllowNonWindowsNames: true})
		if (err == nil) != c.waived {
			t.Errorf("%s, waived: %v", c.what, err)
		}
		if err == nil {
			if m := open(t, raw); !m.NonWindowsNames || m.CheckWindows() == nil {
				t.Errorf("%s, waived: the manifest doesn't tell", c.what)
			}
		}
	}
}

func TestUnfitOptions(t *testing.T) {
	tree := writeTree(t, "pkg", map[string]string{"a": "a"})
	for what, o := range map[string]BuildOptions{
		"pieces of an odd length": {PieceLength: 100_000},
		"pieces too short":        {PieceLength: 1024},
		"a password":              {Origins: []string{"https://me:secret@origin.example/pkg"}},
		"an origin twice":         {Origins: []string{"https://o.example/pkg", "https://o.example/pkg"}},
		"a name with an escape":   {Name: "\x1b[2J"},
		"a version with one":      {Version: "\x1b[2J"},
		"a root that leads out":   {Root: ".."},
		"a root of two elements":  {Root: "a/b"},
		"an end before the start": {Created: time.Unix(2000, 0), Expires: time.Unix(1000, 0)},
		"a serial too large":      {Serial: 1 << 63},
	} {
		_, err := Build(t.Context(), tree, o)
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := Build(t.Context(), filepath.Join(tree, "missing"), BuildOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no tree: %v", err)
	}
}

// TestFileChangesWhileHashed: half of one version and half of another is a package nobody can fetch.
func TestFileChangesWhileHashed(t *testing.T) {
	for what, change := range map[string]func(file string) error{
		"longer":   func(f string) error { return os.WriteFile(f, make([]byte, 60_000), 0o644) },
		"shorter":  func(f string) error { return os.WriteFile(f, make([]byte, 10), 0o644) },
		"gone":     os.Remove,
		"touched":  func(f string) error { return os.Chtimes(f, time.Unix(1, 0), time.Unix(1, 0)) },
		"replaced": func(f string) error { return replaceKeepingTime(f) },
	} {
		for _, size := range []int{0, 50_000} {
			tree := writeTree(t, "pkg", map[string]string{"a": "a", "changing": strings.Repeat("x", size), "z": "z"})
			m := &Manifest{Root: "pkg"}
			files, err := survey(t.Context(), tree, m, BuildOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.layOut(BuildOptions{PieceLength: MinPieceLength}); err != nil {
				t.Fatal(err)
			}
			if err := change(filepath.Join(tree, "changing")); err != nil {
				t.Fatal(err)
			}
			if err := hashTree(t.Context(), m, files, nil); err == nil || !strings.Contains(err.Error(), "changing") {
				t.Errorf("%s, %d bytes: %v", what, size, err)
			}
		}
	}
}

// replaceKeepingTime puts another file of the same size and time in f's place, as a restored backup does.
func replaceKeepingTime(f string) error {
	info, err := os.Stat(f)
	if err != nil {
		return err
	}
	other := f + ".new"
	if err := os.WriteFile(other, make([]byte, info.Size()), info.Mode()); err != nil {
		return err
	}
	if err := os.Chtimes(other, info.ModTime(), info.ModTime()); err != nil {
		return err
	}
	return os.Rename(other, f)
}

func TestProgressAndCancel(t *testing.T) {
	defer goleak.VerifyNone(t)
	tree := writeTree(t, "pkg", map[string]string{"a": strings.Repeat("x", 1<<20), "b": strings.Repeat("y", 1<<20)})
	var last int64
	build(t, tree, BuildOptions{PieceLength: MinPieceLength, Progress: func(done, total int64) {
		if done <= last || total != 2<<20 {
			t.Errorf("%d of %d after %d", done, total, last)
		}
		last = done
	}})
	if last != 2<<20 {
		t.Errorf("progress ended at %d", last)
	}

	ctx, cancel := context.WithCancel(t.Context())
	steps := 0
	_, err := Build(ctx, tree, BuildOptions{PieceLength: MinPieceLength, Progress: func(done, total int64) {
		steps++
		cancel()
	}})
	if !errors.Is(err, context.Canceled) || steps > 20 {
		t.Errorf("cancelled, it went on for %d pieces and said %v", steps, err)
	}
	if _, err := Build(ctx, tree, BuildOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before it began: %v", err)
	}
}

func TestWhatThePublisherSays(t *testing.T) {
	tree := writeTree(t, "pkg", map[string]string{"a": "a"})
	created, expires := time.Unix(1_700_000_000, 0), time.Unix(1_800_000_000, 0)
	m := open(t, build(t, tree, BuildOptions{
		Root: "other", Name: "Näme", Version: "24H2", Serial: 7, Created: created, Expires: expires, Interop: true,
		Origins: []string{"https://b.example/x", `\\server\share\pkg`, "https://a.example/x"}, Announce: "http://tracker.example/",
	}))
	if m.Root != "other" || m.Name != "Näme" || m.Version != "24H2" || m.Serial != 7 || !m.Created.Equal(created) ||
		!m.Expires.Equal(expires) || m.BlockSize != MinBlockSize || m.Origins[0] != "https://b.example/x" || len(m.Origins) != 3 {
		t.Errorf("%+v", m)
	}
	m = open(t, build(t, tree, BuildOptions{PieceLength: MaxPieceLength}))
	if m.Root != "pkg" || m.Name != "pkg" || !m.Expires.IsZero() || m.BlockSize != defaultBlockSize || time.Since(m.Created) > time.Minute {
		t.Errorf("%+v", m)
	}
	if m := open(t, build(t, tree, BuildOptions{PieceLength: MinPieceLength})); m.BlockSize != MinPieceLength {
		t.Errorf("blocks of %d in pieces of %d", m.BlockSize, m.PieceLength)
	}
}

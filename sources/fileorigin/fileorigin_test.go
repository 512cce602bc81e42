package fileorigin

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"handout/sources"
	"handout/sources/sourcetest"
)

func TestExam(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, files map[string][]byte) sources.Origin {
		dir := t.TempDir()
		for path, data := range files {
			name := filepath.Join(dir, filepath.FromSlash(path))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		o, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Close() })
		return o
	})
}

func mustOpen(t *testing.T, location string) *Origin {
	t.Helper()
	o, err := Open(location)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

func write(t *testing.T, name, data string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOneFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "one file")
	write(t, name, "0123456789")
	o := mustOpen(t, name)
	p := make([]byte, 3)
	if err := o.ReadRange(t.Context(), "", 4, p); err != nil || string(p) != "456" {
		t.Errorf("%q, %v", p, err)
	}
	if err := o.ReadRange(t.Context(), "below", 0, p); !errors.Is(err, sources.ErrMissing) {
		t.Errorf("below a file: %v", err)
	}
	if err := mustOpen(t, filepath.Dir(name)).ReadRange(t.Context(), "", 0, p); err == nil {
		t.Error("a folder was read as a file")
	}
	if err := mustOpen(t, name+" not").ReadRange(t.Context(), "", 0, p); !errors.Is(err, sources.ErrMissing) {
		t.Errorf("nothing there: %v", err)
	}
}

// A link in the folder must not show what lies outside of it; one that stays inside is the publisher's own business.
func TestLinksLeadingOut(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "secret"), "secret")
	write(t, filepath.Join(tree, "sub", "f"), "inside")
	for name, target := range map[string]string{"up": "../secret", "abs": filepath.Join(dir, "secret"), "folder": "..", "in": "sub/f"} {
		if err := os.Symlink(target, filepath.Join(tree, name)); err != nil {
			t.Skip("needs the right to make symlinks: ", err)
		}
	}
	if _, err := os.Stat(filepath.Join(tree, "in")); err != nil {
		t.Skipf("needs a system that follows symlinks, which Wine is not: %v", err)
	}
	o := mustOpen(t, tree)
	for _, path := range []string{"up", "abs", "folder/secret"} {
		p := make([]byte, 6)
		if err := o.ReadRange(t.Context(), path, 0, p); err == nil {
			t.Errorf("%s led out: %q", path, p)
		}
	}
	if err := o.ReadRange(t.Context(), "in", 0, make([]byte, 6)); err != nil {
		t.Error(err)
	}
}

func TestFileChangedUnderUs(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, name string){
		"longer":   func(t *testing.T, name string) { write(t, name, "0123456789ab") },
		"shorter":  func(t *testing.T, name string) { write(t, name, "01234") },
		"replaced": func(t *testing.T, name string) { os.Remove(name); write(t, name, "abc") },
		"touched": func(t *testing.T, name string) {
			if err := os.Chtimes(name, time.Time{}, time.Unix(1e9, 0)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "f")
			write(t, file, "0123456789")
			o := mustOpen(t, filepath.Dir(file))
			p := make([]byte, 3)
			if err := o.ReadRange(t.Context(), "f", 0, p); err != nil {
				t.Fatal(err)
			}
			o.Close() // Windows would not let an open file be replaced
			change(t, file)
			if err := o.ReadRange(t.Context(), "f", 0, p); !errors.Is(err, sources.ErrChanged) {
				t.Error(err)
			}
			if err := o.ReadRange(t.Context(), "f", 0, p); err != nil {
				t.Errorf("and from then on: %v", err)
			}
		})
	}
}

// However many files a package has, few are open at a time.
func TestHandlesAreBounded(t *testing.T) {
	dir := t.TempDir()
	o := mustOpen(t, dir)
	for i := range 5 * maxOpen {
		name := strconv.Itoa(i)
		write(t, filepath.Join(dir, name), "x")
		for _, path := range []string{name, "0"} {
			if err := o.ReadRange(t.Context(), path, 0, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if len(o.open) > maxOpen || o.open[len(o.open)-1].path != "0" {
			t.Fatalf("%d open", len(o.open))
		}
	}
	o.Close()
	if len(o.open) != 0 || o.root != nil {
		t.Error("something stays open")
	}
}

func TestLocations(t *testing.T) {
	for _, c := range []struct {
		location, unix, windows string // "": refused
	}{
		{"/srv/pkg", "/srv/pkg", "/srv/pkg"},
		{"pkg", "pkg", "pkg"},
		{`C:\pkg`, `C:\pkg`, `C:\pkg`},
		{`\\server\share\pkg`, `\\server\share\pkg`, `\\server\share\pkg`},
		{"file:///srv/a%20b", "/srv/a b", ""},
		{"FILE://localhost/srv", "/srv", ""},
		{"file:///C:/pkg/a", "/C:/pkg/a", `C:\pkg\a`},
		{"file:/C:/pkg", "/C:/pkg", `C:\pkg`},
		{"file://server/share/pkg", "", `\\server\share\pkg`},
		{"file:////server/share", "//server/share", `\\server\share`},
		{"file://u:p@server/share", "", ""},
		{"file:relative", "", ""},
		{"file:///a?b", "", ""},
		{"file:///a%00b", "", ""},
		{"file://", "", ""},
		{"", "", ""},
	} {
		for _, windows := range []bool{false, true} {
			want := c.unix
			if windows {
				want = c.windows
			}
			got, err := pathOf(c.location, windows)
			if got != want || (err != nil) != (want == "") {
				t.Errorf("%q, Windows %v: %q, %v, want %q", c.location, windows, got, err, want)
			}
		}
	}
}

// A read that waits its turn ends with its context.
func TestCancelWhileWaiting(t *testing.T) {
	o := mustOpen(t, t.TempDir())
	o.turn <- struct{}{} // another read is under way
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := o.ReadRange(ctx, "f", 0, make([]byte, 1)); !errors.Is(err, why) {
		t.Error(err)
	}
	<-o.turn
}

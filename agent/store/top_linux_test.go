package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"handout/manifest"
)

func modeOf(t testing.TB, path string) fs.FileMode {
	t.Helper()
	fi, err := os.Stat(path)
	must(t, err)
	return fi.Mode().Perm()
}

// TestRootMode: who may look into the tree is the publisher's word, whatever the umask of the machine that fetches it.
func TestRootMode(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	when := time.Unix(1e9, 5e8)
	for _, c := range []struct{ published, want fs.FileMode }{
		{0o700, 0o700}, {0o755, 0o755}, {0o777, 0o777}, {0o555, 0o555}, {0o500, 0o500}, {0o070, 0o570},
	} {
		dir := filepath.Join(fastDir(t), "pkg")
		writeTree(t, dir, variety())
		must(t, os.Chtimes(dir, when, when))
		must(t, os.Chmod(dir, c.published))
		p := packDir(t, dir, manifest.MinPieceLength)
		for how, o := range map[string]Options{
			"beside": {}, "kept": {Keep: true}, "elsewhere": {Stage: fastDir(t)}, "a part": {Only: part(t, p.m)},
		} {
			dest := filepath.Join(fastDir(t), "dest")
			fetch := func(o Options) {
				t.Helper()
				tree := p.open(t, dest, o)
				if !tree.Published() {
					p.fill(t, tree)
					must(t, tree.Publish(t.Context()))
				}
				must(t, tree.Close())
			}
			fetch(o)
			if got := modeOf(t, dest); got != c.want {
				t.Errorf("%s: %04o became %04o", how, c.published, got)
			}
			if fi, err := os.Stat(dest); err != nil || !fi.ModTime().Equal(when) && how != "a part" {
				t.Errorf("%s: %v, %v", how, fi.ModTime(), err)
			}
			check := func(want Verdict) {
				t.Helper()
				r, err := Check(t.Context(), p.m, o.Only, dest, nil)
				if err != nil || r.Top != want || !r.Matches() {
					t.Errorf("%s: %v, %v", how, r.Top, err)
				}
			}
			check(OK)
			if how == "a part" {
				continue
			}
			must(t, os.Chmod(dest, 0o711))
			check(WrongMode)
			o.Repair = true
			fetch(o)
			check(OK)
			// A new version takes the place of one that may not be written to.
			must(t, os.Chmod(filepath.Join(dest), 0o755))
			must(t, os.WriteFile(filepath.Join(dest, "more"), nil, 0o600))
			must(t, os.Chmod(dest, 0o555))
			o.Repair, o.Replace = false, true
			fetch(o)
			check(OK)
		}
	}
}

// part is some of a package.
func part(t testing.TB, m *manifest.Manifest) *manifest.Selection {
	t.Helper()
	only, err := m.Select(nil, []string{m.Files[0].Path})
	must(t, err)
	return only
}

// TestRootModeUnsaid: an older manifest says nothing of the root, and nothing is done to it.
func TestRootModeUnsaid(t *testing.T) {
	defer unix.Umask(unix.Umask(0o027))
	p := pack(t, variety())
	m := *p.m
	m.Top = nil
	p.m = &m
	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{})
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	must(t, tree.Close())
	if got := modeOf(t, dest); got != 0o750 {
		t.Errorf("%04o", got)
	}
	must(t, os.Chmod(dest, 0o711))
	must(t, p.open(t, dest, Options{Repair: true}).Close())
	if r, err := Check(t.Context(), p.m, nil, dest, nil); err != nil || r.Top != OK || modeOf(t, dest) != 0o711 {
		t.Errorf("%v, %v, %04o", r.Top, err, modeOf(t, dest))
	}
}

// TestSingleFileMode: of one file it is the file's own mode.
func TestSingleFileMode(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	file := filepath.Join(fastDir(t), "tool")
	must(t, os.WriteFile(file, []byte("content"), 0o600))
	must(t, os.Chmod(file, 0o754))
	p := packDir(t, file, manifest.MinPieceLength)
	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{})
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	must(t, tree.Close())
	if got := modeOf(t, dest); got != 0o754 {
		t.Errorf("%04o", got)
	}
}

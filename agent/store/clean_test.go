package store

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"handout/manifest"
)

var anybody = manifest.Trust{AllowUnsigned: true}

// stagingOf is the staging folder of dest.
func stagingOf(dest string) string {
	return filepath.Join(filepath.Dir(dest), stagingName(filepath.Base(dest)))
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); err == nil {
		t.Errorf("%s is still there", path)
	}
}

// age makes everything that tells when a tree last grew so old.
func age(t *testing.T, dest string, d time.Duration) {
	t.Helper()
	then := time.Now().Add(-d)
	for _, name := range []string{treeName, growingName, journalName} {
		if err := os.Chtimes(filepath.Join(stagingOf(dest), name), then, then); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

func TestListSaysWhatIsThere(t *testing.T) {
	old, young, dest := twoVersions(t)
	dir := filepath.Dir(dest)
	must(t, os.Mkdir(filepath.Join(dir, "stranger"), 0o755))
	old.publish(t, dest, Options{Keep: true})
	must(t, Pin(dest, true))
	half := filepath.Join(dir, "half")
	tree := young.open(t, half, Options{})
	must(t, tree.Put(0, young.piece(0)))
	old.publish(t, filepath.Join(dir, "lost"), Options{Keep: true})
	must(t, removeDest(filepath.Join(dir, "lost")))

	list, err := List(dir, anybody)
	must(t, err)
	if len(list) != 3 {
		t.Fatalf("%d entries: %+v", len(list), list)
	}
	d, h, l := list[0], list[1], list[2]
	if d.Dest != dest || d.State != Complete || d.Standing.InfoHash != old.m.InfoHash || d.Growing != nil ||
		d.Bytes != old.m.Length || !d.Pinned || time.Since(d.Used) > time.Hour {
		t.Errorf("what is complete is listed as %+v", d)
	}
	if h.Dest != half || h.State != Unfinished || h.Standing != nil || h.Growing.InfoHash != young.m.InfoHash || h.Bytes != 0 ||
		h.Growth == 0 || h.Pinned {
		t.Errorf("what grows is listed as %+v", h)
	}
	if l.State != Remains {
		t.Errorf("what is gone is listed as %+v", l)
	}
	must(t, Pin(dest, false))
	list, err = List(dir, manifest.Trust{})
	must(t, err)
	if d := list[0]; d.Standing != nil || d.State != Complete || d.Bytes == 0 || d.Pinned {
		t.Errorf("a package of a stranger is listed as %+v", d)
	}
	wantErr(t, Pin(filepath.Join(dir, "stranger"), true), fs.ErrNotExist)
	must(t, tree.Close())
}

func TestEvict(t *testing.T) {
	p := pack(t, variety())
	dir := fastDir(t)
	dest := filepath.Join(dir, "dest")
	p.publish(t, dest, Options{Keep: true})

	must(t, Pin(dest, true))
	wantErr(t, Evict(t.Context(), dest), ErrPinned)
	must(t, Pin(dest, false))
	tree := p.open(t, dest, Options{Keep: true})
	wantErr(t, Evict(t.Context(), dest), ErrInUse)
	must(t, tree.Close())
	sameTree(t, p.dir, dest)

	must(t, Evict(t.Context(), dest))
	empty(t, dir)
	wantErr(t, Evict(t.Context(), dest), fs.ErrNotExist)
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left in %s: %v", dir, left)
	}
}

// TestCrashInEviction: a machine that dies between any two steps of an eviction has the whole tree or none, and what is
// left goes with the next Clean, or makes room for the next Open.
func TestCrashInEviction(t *testing.T) {
	p := pack(t, variety())
	steps := []func(s *staging) error{
		func(s *staging) error { return s.parent.Rename("dest", s.name+"/"+evictedName) },
		func(s *staging) error { return s.remove(evictedName + "/bin") },
		func(s *staging) error { return s.remove(evictedName) },
		func(s *staging) error { return s.remove(standingName) },
		func(s *staging) error { return s.removeAllBut(recordName) },
	}
	for crash := range len(steps) + 1 {
		for _, then := range []string{"clean", "open"} {
			dir := fastDir(t)
			dest := filepath.Join(dir, "dest")
			p.publish(t, dest, Options{Keep: true})
			parent, err := os.OpenRoot(dir)
			must(t, err)
			s, err := lockStaging(parent, "dest")
			must(t, err)
			for _, step := range steps[:crash] {
				must(t, step(s))
			}
			must(t, s.close())
			if crash == 0 {
				sameTree(t, p.dir, dest)
			} else {
				gone(t, dest)
			}
			if then == "open" {
				p.publish(t, dest, Options{Keep: true})
				sameTree(t, p.dir, dest)
				found, err := Clean(t.Context(), dir, 0, true)
				must(t, err)
				if len(found) > 0 {
					t.Errorf("crash %d: left behind: %+v", crash, found)
				}
			} else {
				found, err := Clean(t.Context(), dir, time.Hour, false)
				must(t, err)
				if crash > 0 {
					if len(found) != 1 || found[0].Err != nil {
						t.Errorf("crash %d: cleaned %+v", crash, found)
					}
					empty(t, dir)
				}
			}
			parent.Close()
		}
	}
}

// TestCleanTakesOnlyWhatIsAbandoned: what grew lately, what somebody holds and what stands are left alone.
func TestCleanTakesOnlyWhatIsAbandoned(t *testing.T) {
	old, young, dest := twoVersions(t)
	dir := filepath.Dir(dest)
	half := func(dest string) *Tree {
		tree := young.open(t, dest, Options{Keep: true, Replace: true})
		must(t, tree.Put(0, young.piece(0)))
		return tree
	}
	old.publish(t, dest, Options{Keep: true})
	must(t, half(dest).Close()) // grows beside what stands
	age(t, dest, 48*time.Hour)
	recent, abandoned, held := filepath.Join(dir, "recent"), filepath.Join(dir, "abandoned"), filepath.Join(dir, "held")
	must(t, half(recent).Close())
	must(t, half(abandoned).Close())
	age(t, abandoned, 48*time.Hour)
	holder := half(held)
	age(t, held, 48*time.Hour)

	for _, dry := range []bool{true, false} {
		found, err := Clean(t.Context(), dir, 24*time.Hour, dry)
		must(t, err)
		if len(found) != 3 {
			t.Fatalf("dry %v: found %+v", dry, found)
		}
		for i, want := range []struct {
			dest string
			err  error
		}{{abandoned, nil}, {dest, nil}, {held, ErrInUse}} {
			f := found[i]
			if f.Dest != want.dest || f.Bytes == 0 || f.What == "" {
				t.Errorf("dry %v: found %+v, not %s", dry, f, want.dest)
			}
			wantErr(t, f.Err, want.err)
		}
	}
	gone(t, stagingOf(abandoned))
	sameTree(t, old.dir, dest)
	wantManifest(t, old.m, dest, Standing, anybody)
	wantManifest(t, nil, dest, Growing, anybody)
	if tree := young.open(t, recent, Options{}); !tree.Has(0) {
		t.Error("what grew lately was cleaned away")
	} else {
		must(t, tree.Close())
	}
	if !holder.Has(0) {
		t.Error("what somebody holds was cleaned away")
	}
	must(t, holder.Put(1, young.piece(1)))
	must(t, holder.Close())
}

func TestCleanEndsWhenAsked(t *testing.T) {
	p := pack(t, variety())
	dest := filepath.Join(fastDir(t), "dest")
	p.publish(t, dest, Options{Keep: true})
	must(t, removeDest(dest))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	found, err := Clean(ctx, filepath.Dir(dest), 0, false)
	wantErr(t, err, context.Canceled)
	if len(found) > 0 {
		t.Errorf("cleaned %+v", found)
	}
}

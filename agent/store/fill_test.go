package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// onlyThese fails unless a folder has just these entries.
func onlyThese(t failer, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var there []string
	for _, e := range entries {
		there = append(there, e.Name())
	}
	if !slices.Equal(there, names) {
		t.Errorf("%s holds %q, want %q", dir, there, names)
	}
}

// exchanged are two versions between which everything happens that can: a folder for a file, a file for a folder, a file and a
// folder that go, that come, and that are the same, deep and shallow.
func exchanged(t *testing.T) (old, young packed) {
	same := file(20_000, 9)
	old = pack(t, map[string]entry{"a": file(20_000, 1), "becomes folder": file(300, 2), "becomes file/x/y": file(40, 3),
		"goes": file(10, 4), "goes too/deep/er": file(10, 5), "sub/same": same, "sub/other": file(70_000, 6),
		"sub/deep/goes": file(5, 7), "sub/deep/stays": file(5, 8), "link": {target: "a", mtime: when}, "same": same})
	young = pack(t, map[string]entry{"a": file(30_000, 11), "becomes folder/x": file(300, 12), "becomes file": file(40, 13),
		"comes": file(10, 14), "comes too/deep/er": file(10, 15), "sub/same": same, "sub/other": file(60_000, 16),
		"sub/deep/stays": file(5, 8), "sub/deep/comes": file(5, 17), "sub/closed": {mode: os.ModeDir | 0o555, mtime: when},
		"link": {target: "comes", mtime: when}, "same": same})
	return old, young
}

// TestWorkingFolderStays: who sits in the destination, or deep in it, finds himself in the new tree.
func TestWorkingFolderStays(t *testing.T) {
	old, young := exchanged(t)
	for _, at := range []string{".", "sub", "sub/deep"} {
		dest := filepath.Join(fastDir(t), "dest")
		must(t, os.Mkdir(dest, 0o755))
		t.Chdir(dest)
		old.publish(t, ".", Options{})
		onlyThis(t, dest)
		t.Chdir(filepath.Join(dest, at))
		young.publish(t, dest, Options{Replace: true})
		sameTree(t, young.dir, dest)
		onlyThis(t, dest)
		here, err := os.Stat(".")
		must(t, err)
		there, err := os.Stat(filepath.Join(dest, at))
		must(t, err)
		if !os.SameFile(here, there) {
			t.Errorf("the working directory is no longer %s", at)
		}
	}
}

var errStep = errors.New("the machine dies here")

// TestFillDiesAtEveryStep: a machine that dies before any step of a filling has a destination that the next run for the old
// version finds filled with the new one, and the next run for the new version finds done.
func TestFillDiesAtEveryStep(t *testing.T) {
	old, young := exchanged(t)
	for _, at := range []string{".", "sub/deep"} {
		for crash := 1; ; crash++ {
			dest := filepath.Join(fastDir(t), "dest")
			old.publish(t, dest, Options{})
			t.Chdir(filepath.Join(dest, at))
			tree := young.open(t, dest, Options{Replace: true})
			young.fill(t, tree)
			steps := 0
			tree.land.step = func() error {
				if steps++; steps == crash {
					return errStep
				}
				return nil
			}
			err := tree.Publish(t.Context())
			died := errors.Is(err, errStep)
			if !died {
				must(t, err)
			}
			tree.abandon()
			t.Chdir(filepath.Dir(dest))
			if crash > 1 { // before, nothing is noted
				probe := old.open(t, dest, Options{Replace: true})
				if probe.Published() {
					t.Fatalf("died at step %d: the old tree stands again", crash)
				}
				sameTree(t, young.dir, dest)
				must(t, probe.Close())
			}
			last := young.open(t, dest, Options{Replace: true})
			if died && crash > 1 && !last.Published() {
				t.Errorf("died at step %d: the new tree is not recognised", crash)
			}
			young.fill(t, last)
			must(t, last.Publish(t.Context()))
			must(t, last.Close())
			sameTree(t, young.dir, dest)
			onlyThis(t, dest)
			if t.Failed() {
				t.Fatalf("died at step %d", crash)
			}
			if !died {
				if crash < 12 {
					t.Errorf("a filling has more than %d steps", crash)
				}
				break
			}
		}
	}
}

// TestFillGoesOnAfterError: a filling that fails half way is no tree that is given to anybody, and the next run ends it.
func TestFillGoesOnAfterError(t *testing.T) {
	old, young := exchanged(t)
	dest := filepath.Join(fastDir(t), "dest")
	old.publish(t, dest, Options{})
	t.Chdir(dest)
	tree := young.open(t, dest, Options{Replace: true})
	young.fill(t, tree)
	steps := 0
	tree.land.step = func() error {
		if steps++; steps > 6 {
			return errStep
		}
		return nil
	}
	err := tree.Publish(t.Context())
	wantErr(t, err, errStep)
	wantErr(t, err, errHalfway)
	if _, err := tree.ReadAt(0, make([]byte, 10), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("read after a half: %v", err)
	}
	must(t, tree.Close())
	t.Chdir(filepath.Dir(dest))
	left, err := Clean(context.Background(), filepath.Dir(dest), 0, false)
	must(t, err)
	if len(left) != 1 || left[0].Err != nil {
		t.Errorf("gc says %v", left)
	}
	sameTree(t, young.dir, dest)
	must(t, Evict(t.Context(), dest))
}

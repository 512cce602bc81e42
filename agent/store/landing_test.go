package store

import (
	"os"
	"path/filepath"
	"testing"
)

func twoVersions(t *testing.T) (old, young packed, dest string) {
	old = pack(t, map[string]entry{"a": file(20_000, 1), "sub/b": file(100, 2), "gone/closed": {mode: os.ModeDir | 0o555, mtime: when}})
	young = pack(t, map[string]entry{"a": file(30_000, 3), "sub/c": file(100, 4)})
	dest = filepath.Join(fastDir(t), "dest")
	return old, young, dest
}

func (p packed) publish(t *testing.T, dest string, o Options) {
	t.Helper()
	tree := p.open(t, dest, o)
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	must(t, tree.Close())
}

func TestReplace(t *testing.T) {
	old, young, dest := twoVersions(t)
	old.publish(t, dest, Options{})
	_, err := Open(t.Context(), young.m, dest, Options{})
	wantErr(t, err, ErrExists)
	onlyThis(t, dest)
	_, err = Open(t.Context(), young.m, dest, Options{Keep: true})
	wantErr(t, err, ErrExists)
	onlyThis(t, dest)

	tree := young.open(t, dest, Options{Replace: true})
	young.fill(t, tree)
	sameTree(t, old.dir, dest)
	must(t, tree.Publish(t.Context()))
	sameTree(t, young.dir, dest)
	onlyThis(t, dest)
}

func TestDestinationIsLink(t *testing.T) {
	old, young, dest := twoVersions(t)
	old.publish(t, dest+".real", Options{})
	must(t, os.Symlink("dest.real", dest))
	_, err := Open(t.Context(), old.m, dest, Options{})
	wantErr(t, err, ErrLink) // what a symlink leads to is not the tree at dest
	_, err = Open(t.Context(), young.m, dest, Options{Replace: true})
	wantErr(t, err, ErrLink) // and the link is nothing to be replaced
	sameTree(t, old.dir, dest+".real")
	onlyThese(t, filepath.Dir(dest), "dest", "dest.real")
}

// TestCrashInSwap: a machine that dies between any two steps of a swap has the old or the new tree after the next Open,
// and what was asked for in the end.
func TestCrashInSwap(t *testing.T) {
	old, young, _ := twoVersions(t)
	steps := []func(l *landing) error{
		func(l *landing) error { return l.beginSwap(treeName) },
		func(l *landing) error { return l.rename(t.Context(), l.destination(), l.in(oldName)) },
		func(l *landing) error { return l.rename(t.Context(), l.in(treeName), l.destination()) },
		func(l *landing) error { return l.dropOld() },
	}
	for crash := range len(steps) + 1 {
		for _, reopened := range []packed{old, young} {
			dest := filepath.Join(fastDir(t), "dest")
			old.publish(t, dest, Options{})
			tree := young.open(t, dest, Options{Replace: true})
			young.fill(t, tree)
			must(t, tree.flusher.flush())
			_, err := tree.at.finish(t.Context())
			must(t, err)
			for _, step := range steps[:crash] {
				must(t, step(tree.land))
			}
			tree.abandon()

			after, err := Open(t.Context(), reopened.m, dest, Options{Replace: true})
			must(t, err)
			standing := young
			if crash < 2 {
				standing = old
			}
			sameTree(t, standing.dir, dest)
			if after.Published() != (standing.m == reopened.m) {
				t.Errorf("crash after step %d: published is %v", crash, after.Published())
			}
			reopened.fill(t, after)
			must(t, after.Publish(t.Context()))
			sameTree(t, reopened.dir, dest)
			must(t, after.Close())
			onlyThis(t, dest)
		}
	}
}

// TestSwapUndone: the new tree has vanished while nothing stood at the destination, so the old one comes back.
func TestSwapUndone(t *testing.T) {
	old, young, dest := twoVersions(t)
	old.publish(t, dest, Options{})
	tree := young.open(t, dest, Options{Replace: true})
	must(t, tree.land.beginSwap(treeName))
	must(t, tree.land.rename(t.Context(), tree.land.destination(), tree.land.in(oldName)))
	must(t, tree.stage.remove(treeName))
	tree.abandon()
	again := old.open(t, dest, Options{})
	if !again.Published() {
		t.Error("the old tree was not brought back")
	}
	onlyThis(t, dest)
}

func TestEmptyFolderIsNothing(t *testing.T) {
	_, young, dest := twoVersions(t)
	must(t, os.Mkdir(dest, 0o755))
	young.publish(t, dest, Options{})
	sameTree(t, young.dir, dest)
}

// TestDestinationTakenMeanwhile: what came to be at the destination while we fetched is not lost.
func TestDestinationTakenMeanwhile(t *testing.T) {
	_, young, dest := twoVersions(t)
	tree := young.open(t, dest, Options{})
	young.fill(t, tree)
	must(t, os.WriteFile(dest, []byte("mine"), 0o644))
	wantErr(t, tree.Publish(t.Context()), ErrExists)
	if data, _ := os.ReadFile(dest); string(data) != "mine" {
		t.Error("it was lost")
	}
	got := make([]byte, 10)
	_, err := tree.ReadAt(0, got, 0)
	must(t, err)
	must(t, os.Remove(dest))
	must(t, tree.Publish(t.Context()))
	sameTree(t, young.dir, dest)
}

func TestOtherVersionIsDiscarded(t *testing.T) {
	old, young, dest := twoVersions(t)
	tree := old.open(t, dest, Options{})
	old.fill(t, tree)
	must(t, tree.Close())
	tree = young.open(t, dest, Options{})
	if have := tree.Have(); have.Count() != 0 {
		t.Errorf("%d pieces of another version were taken over", have.Count())
	}
	young.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	sameTree(t, young.dir, dest)
}

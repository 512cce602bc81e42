package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"handout/manifest"
)

// TestStagedElsewhere: the destination's folder is left alone until the package is complete; then the whole tree appears
// there and nothing else, is served until Close, and no copy stays behind.
func TestStagedElsewhere(t *testing.T) {
	p := pack(t, variety())
	dest, stage := filepath.Join(fastDir(t), "dest"), filepath.Join(fastDir(t), "new", "stage")
	var moved, total atomic.Int64
	tree := p.open(t, dest, Options{Stage: stage, Moving: func(done, all int64) {
		moved.Store(max(moved.Load(), done))
		total.Store(all)
	}})
	wantErr(t, tree.Publish(t.Context()), ErrIncomplete)
	p.fill(t, tree)
	empty(t, filepath.Dir(dest))
	must(t, tree.Publish(t.Context()))
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, dest)
	onlyThis(t, dest)
	if moved.Load() != p.m.Length || total.Load() != p.m.Length {
		t.Errorf("told of %d of %d bytes moved, want %d", moved.Load(), total.Load(), p.m.Length)
	}
	must(t, os.WriteFile(filepath.Join(dest, "big.img"), []byte("changed"), 0o644))
	p.readAll(t, tree) // not from the destination
	must(t, tree.Close())
	empty(t, stage)
}

func (p packed) readAll(t *testing.T, tree *Tree) {
	t.Helper()
	buf := make([]byte, p.m.PieceLength)
	for i := range p.m.NumPieces() {
		n, err := tree.ReadAt(manifest.PieceIndex(i), buf[:len(p.piece(i))], 0)
		must(t, err)
		if !bytes.Equal(buf[:n], p.piece(i)) {
			t.Fatalf("piece %d reads wrong", i)
		}
	}
}

// TestStagedElsewhereAndKept: the agent keeps one copy, at the destination, and its record here.
func TestStagedElsewhereAndKept(t *testing.T) {
	p := pack(t, variety())
	dest, stage := filepath.Join(fastDir(t), "dest"), fastDir(t)
	p.publish(t, dest, Options{Stage: stage, Keep: true})
	onlyThis(t, dest)
	if isThere(openedRoot(t, stage), stageName(dest)+"/"+treeName) {
		t.Error("there is a second copy")
	}
	var hashed atomic.Int64
	again := p.open(t, dest, Options{Stage: stage, Keep: true, Progress: func(done, total int64) { hashed.Store(done) }})
	if !again.Published() || hashed.Load() != 0 {
		t.Errorf("published %v, %d bytes hashed", again.Published(), hashed.Load())
	}
	p.readAll(t, again)
	must(t, again.Close())
	_, young, _ := twoVersions(t)
	young.publish(t, dest, Options{Stage: stage, Keep: true, Replace: true})
	sameTree(t, young.dir, dest)
	onlyThis(t, dest)
}

func openedRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

func TestStagedElsewhereOddTrees(t *testing.T) {
	for name, tree := range map[string]map[string]entry{
		"only empty files": {"a": file(0, 1), "b/c": file(0, 2)},
		"only folders":     {"a/b": {mode: os.ModeDir | 0o711, mtime: when}},
		"large files":      {"a": file(largeFile, 1), "b": file(largeFile+1, 2), "c": file(3*copyBuffer+5, 3), "d": file(1, 4)},
	} {
		t.Run(name, func(t *testing.T) {
			p := pack(t, tree)
			dest, stage := filepath.Join(fastDir(t), "dest"), fastDir(t)
			p.publish(t, dest, Options{Stage: stage})
			sameTree(t, p.dir, dest)
			onlyThis(t, dest)
			empty(t, stage)
		})
	}
	t.Run("one file", func(t *testing.T) {
		source := filepath.Join(fastDir(t), "source.img")
		must(t, os.WriteFile(source, file(100_000, 9).data, 0o600))
		p := packDir(t, source, manifest.MinPieceLength)
		dest, stage := filepath.Join(fastDir(t), "other.img"), fastDir(t)
		must(t, os.WriteFile(dest, []byte("something else"), 0o600))
		p.publish(t, dest, Options{Stage: stage, Replace: true})
		got, err := os.ReadFile(dest)
		must(t, err)
		if !bytes.Equal(got, p.bytes) {
			t.Error("arrived with other bytes")
		}
		onlyThis(t, dest)
		empty(t, stage)
	})
}

// TestWrongByteAfterTheMove: a network file system that garbles a byte is found out by reading back, and what was wrong is
// copied again. One that goes on garbling gets nothing published.
func TestWrongByteAfterTheMove(t *testing.T) {
	p := pack(t, variety())
	for _, garbles := range []int{1, 100} {
		dest, stage := filepath.Join(fastDir(t), "dest"), fastDir(t)
		var tree *Tree
		tree = p.open(t, dest, Options{Stage: stage, Moving: func(done, total int64) {
			if done == total && garbles > 0 {
				garbles--
				flip(t, filepath.Join(filepath.Dir(dest), stagingName("dest"), tree.arrival(), "read-only.cfg"))
			}
		}})
		p.fill(t, tree)
		err := tree.Publish(t.Context())
		if garbles > 0 {
			wantErr(t, err, ErrNotWritable)
			if !strings.Contains(err.Error(), "read-only.cfg") || tree.Published() {
				t.Errorf("published %v; error %v", tree.Published(), err)
			}
			if _, err := os.Lstat(dest); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("at the destination: %v", err)
			}
			garbles = 0
			err = tree.Publish(t.Context()) // the same again, when the trouble is over
		}
		must(t, err)
		sameTree(t, p.dir, dest)
		onlyThis(t, dest)
		must(t, tree.Close())
	}
}

// flip changes a byte in the middle of a file, and nothing else.
func flip(t *testing.T, path string) {
	t.Helper()
	fi, err := os.Stat(path)
	must(t, err)
	data, err := os.ReadFile(path)
	must(t, err)
	data[len(data)/2] ^= 1
	must(t, os.Chmod(path, 0o600))
	must(t, os.WriteFile(path, data, 0o600))
	must(t, os.Chmod(path, fi.Mode()))
	must(t, os.Chtimes(path, fi.ModTime(), fi.ModTime()))
}

// TestMoveGoesOn: what an earlier run copied is not copied again if it is right, a file of which a part is there is
// continued, and what is there but wrong is found out.
func TestMoveGoesOn(t *testing.T) {
	p := pack(t, map[string]entry{
		"whole": file(20_000, 1), "half": file(4*copyBuffer, 2), "wrong": file(20_000, 3), "missing": file(20_000, 4),
	})
	dest, stage := filepath.Join(fastDir(t), "dest"), fastDir(t)
	first := p.open(t, dest, Options{Stage: stage})
	p.fill(t, first)
	arriving := filepath.Join(filepath.Dir(dest), stagingName("dest"), first.arrival())
	first.abandon()
	must(t, os.MkdirAll(arriving, 0o700))
	for name, n := range map[string]int{"whole": 20_000, "half": 3 * copyBuffer, "wrong": 20_000} {
		data, err := os.ReadFile(filepath.Join(p.dir, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(arriving, name), data[:n], 0o600))
	}
	flip(t, filepath.Join(arriving, "wrong"))
	inode, err := os.Stat(filepath.Join(arriving, "whole"))
	must(t, err)

	var mu sync.Mutex
	var told []int64
	tree := p.open(t, dest, Options{Stage: stage, Moving: func(done, total int64) {
		mu.Lock()
		told = append(told, done)
		mu.Unlock()
	}})
	if have := tree.Have(); !have.Full() {
		t.Fatalf("%d pieces of %d are still here", have.Count(), have.Len())
	}
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, dest)
	onlyThis(t, dest)
	now, err := os.Stat(filepath.Join(dest, "whole"))
	must(t, err)
	if !os.SameFile(inode, now) {
		t.Error("what was there was copied again")
	}
	for _, done := range told {
		if done > 0 && done <= copyBuffer && done != 20_000 && done != 40_000 && done != 60_000 {
			t.Errorf("the part that was there was copied again: %d bytes moved", done)
		}
	}
}

// TestCrashInSwapAcross: as TestCrashInSwap, but the staging folder was lost with the crash. The note beside the
// destination is enough to have the old tree or the new one.
func TestCrashInSwapAcross(t *testing.T) {
	old, young, _ := twoVersions(t)
	for crash := range 4 {
		for _, lost := range []bool{false, true} {
			dest, stage := filepath.Join(fastDir(t), "dest"), fastDir(t)
			o := Options{Stage: stage, Replace: true, beat: time.Millisecond}
			old.publish(t, dest, o)
			tree := young.open(t, dest, o)
			young.fill(t, tree)
			must(t, tree.enterLanding(t.Context(), "dest"))
			to, err := tree.openArrival()
			must(t, err)
			_, err = tree.carry(t.Context(), to)
			must(t, err)
			to.close()
			l := tree.land
			for _, step := range []func() error{
				func() error { return l.beginSwap(tree.arrival()) },
				func() error { return l.rename(t.Context(), l.destination(), l.in(oldName)) },
				func() error { return l.rename(t.Context(), l.in(tree.arrival()), l.destination()) },
			}[:crash] {
				must(t, step())
			}
			tree.owner.stopBeating()
			l.root.Close()
			tree.abandon()
			if lost {
				must(t, os.RemoveAll(stage))
			}

			after := old.open(t, dest, o)
			standing := young
			if crash < 2 {
				standing = old
			}
			sameTree(t, standing.dir, dest)
			if after.Published() != (crash < 2) {
				t.Errorf("crash after step %d: published is %v", crash, after.Published())
			}
			old.fill(t, after)
			must(t, after.Publish(t.Context()))
			sameTree(t, old.dir, dest)
			must(t, after.Close())
			if !lost && crash >= 2 {
				onlyThis(t, dest)
			}
		}
	}
}

// TestTwoMachinesOneDestination: each has a staging folder of its own. One copies, the other waits and finds it done.
func TestTwoMachinesOneDestination(t *testing.T) {
	p := pack(t, variety())
	dest := filepath.Join(fastDir(t), "dest")
	var copied atomic.Int32
	var g sync.WaitGroup
	for range 2 {
		stage := fastDir(t)
		var first sync.Once
		tree := p.open(t, dest, Options{Stage: stage, beat: 20 * time.Millisecond, Moving: func(int64, int64) {
			first.Do(func() { copied.Add(1) })
		}})
		p.fill(t, tree)
		g.Go(func() {
			if err := tree.Publish(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	sameTree(t, p.dir, dest)
	onlyThis(t, dest)
	if copied.Load() != 1 {
		t.Errorf("%d copied", copied.Load())
	}
}

// TestMachineTakenForDead: a machine that hung so long that another took over writes nothing to what that one publishes.
func TestMachineTakenForDead(t *testing.T) {
	old, young, dest := twoVersions(t)
	hung := old.open(t, dest, Options{Stage: fastDir(t), beat: time.Hour})
	old.fill(t, hung)
	hung.o.Moving = func(done, total int64) {
		if done != total {
			return
		}
		quick := young.open(t, dest, Options{Stage: fastDir(t), beat: time.Millisecond})
		young.fill(t, quick)
		must(t, quick.Publish(t.Context()))
		must(t, quick.Close())
	}
	if err := hung.Publish(t.Context()); err == nil || hung.Published() {
		t.Errorf("published %v, %v", hung.Published(), err)
	}
	sameTree(t, young.dir, dest)
	must(t, hung.Close())
	onlyThis(t, dest)
}

// TestGrowthBesideIsContinued: what an earlier run fetched beside the destination is not fetched again because it would grow
// elsewhere today.
func TestGrowthBesideIsContinued(t *testing.T) {
	p := pack(t, variety())
	dest, stage := filepath.Join(fastDir(t), "dest"), fastDir(t)
	tree := p.open(t, dest, Options{})
	must(t, tree.Put(0, p.piece(0)))
	must(t, tree.Close())
	tree = p.open(t, dest, Options{Stage: stage})
	if !tree.Has(0) {
		t.Error("the piece is lost")
	}
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, dest)
	empty(t, stage)
}

// TestMountIsAway: where a network mount was when the run began there is an empty folder now. Nothing is written there.
func TestMountIsAway(t *testing.T) {
	p := pack(t, variety())
	parent, stage := fastDir(t), fastDir(t)
	dest := filepath.Join(parent, "dest")
	got, err := StageFor(p.m, dest, []string{stage})
	must(t, err)
	if got != "" {
		t.Errorf("a destination on a local disk is staged in %s", got)
	}
	tree := p.open(t, dest, Options{Stage: stage})
	must(t, tree.Put(0, p.piece(0)))
	must(t, tree.Close())
	_, err = StageFor(p.m, dest, []string{stage})
	must(t, err)
	sign := filepath.Join(stage, stageName(dest), destinationName)
	must(t, os.WriteFile(sign, []byte(dest+"\nfuse.sshfs\n"), 0o600))
	_, err = StageFor(p.m, dest, []string{stage})
	wantErr(t, err, ErrNotWritable)
	if !strings.Contains(err.Error(), "fuse.sshfs") {
		t.Error(err)
	}
	empty(t, parent)
}

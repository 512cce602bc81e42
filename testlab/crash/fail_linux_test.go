package crash

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ended is how the program ended, and what it said.
type ended struct {
	exit int
	said string
}

func ending(t testing.TB, cmd *exec.Cmd) ended {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Run()
	e := ended{cmd.ProcessState.ExitCode(), said.String()}
	if strings.Contains(e.said, "panic: ") || strings.Contains(e.said, "goroutine ") || e.exit < 0 {
		t.Fatalf("exit %d: %s", e.exit, e.said)
	}
	return e
}

const exitNoSpace = 6

// TestDiskFails: at operations of every name (ten of them, unless this is the long form) the disk is full, fails, is suddenly read-only, or takes only part of what is
// written, once or from then on. The program says so by its exit code and stops cleanly: what stands at the destination
// is absent or right. Once the disk is well again the next run goes on, and leaves nothing but the tree.
func TestDiskFails(t *testing.T) {
	mount(t) // or skip, before anything is built
	p := publish(t, written(t, 3, 1<<20))
	names := slices.Sorted(maps.Keys(namesOf(t, p)))
	if !soak { // some, others each time
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		names = names[:min(len(names), 10)]
	}
	errnos := []syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EROFS}
	tried := 0
	for i, n := range names {
		for j, errno := range errnos {
			for _, lasting := range []bool{false, true} {
				if !soak && (j != i%len(errnos) || lasting != (i%2 == 0)) {
					continue
				}
				what := fmt.Sprintf("%s fails with %v, lasting: %v", n, errno, lasting)
				failAt(t, p, n, errno, lasting, what)
				if tried++; t.Failed() {
					t.Fatal(what)
				}
			}
		}
	}
	t.Logf("%d faults at %d kinds of operations", tried, len(names))
	shortWrites(t, p)
}

// TestFarDiskFails is TestDiskFails for a destination on a network mount, where the package arrives staged and is moved. An
// operation that failed keeps nobody waiting afterwards. On this machine nothing is left, and there nothing that handout gc
// does not clean.
func TestFarDiskFails(t *testing.T) {
	mount(t) // or skip, before anything is built
	p := publish(t, written(t, 9, 1<<20))
	far := func(f func(d *Disk, fetch func() ended)) {
		dir := folder(t)
		defer os.RemoveAll(dir)
		d, err := newDiskOf(MountFar, dir)
		must(t, err)
		defer func() { must(t, d.Close()) }()
		stage := filepath.Join(dir, "stage")
		f(d, func() ended {
			return ending(t, bin(t).Fetch(t.Context(), p.Package, filepath.Join(d.Path, "dest"), "--no-peers", "--stage", stage, "--timeout", "60s"))
		})
		left, err := os.ReadDir(stage)
		must(t, err)
		if len(left) > 0 {
			t.Errorf("left on this machine: %v", left)
		}
	}
	seen := map[string]bool{}
	far(func(d *Disk, fetch func() ended) {
		d.Hook(func(op Op) Fault { seen[farName(op)] = true; return Fault{} })
		if e := fetch(); e.exit != 0 {
			t.Fatalf("exit %d: %s", e.exit, e.said)
		}
	})
	names := slices.Sorted(maps.Keys(seen))
	if !soak {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		names = names[:min(len(names), 6)]
	}
	tried, longest := 0, time.Duration(0)
	for i, n := range names {
		for j, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
			for _, lasting := range []bool{false, true} {
				if !soak && (j != i%3 || lasting != (i%2 == 0)) {
					continue
				}
				what := fmt.Sprintf("%s fails with %v, lasting: %v", n, errno, lasting)
				far(func(d *Disk, fetch func() ended) {
					failed := false
					d.Hook(func(op Op) Fault {
						if failed && !lasting || !failed && farName(op) != n {
							return Fault{}
						}
						failed = true
						return Fault{Errno: errno}
					})
					e := fetch()
					d.Hook(nil)
					if !failed || e.exit != 0 && e.exit != exitNoSpace {
						t.Errorf("%s: it came to that: %v; exit %d: %s", what, failed, e.exit, e.said)
					}
					began := time.Now()
					if e := fetch(); e.exit != 0 {
						t.Errorf("%s: afterwards exit %d: %s", what, e.exit, e.said)
					}
					longest = max(longest, time.Since(began))
					// Who died while it copied, or could not say that it was done, is believed to live for a while.
					then := time.Now().Add(-time.Hour)
					os.Chtimes(filepath.Join(d.Backing, ".dest.handout", "owner"), then, then)
					if e := ending(t, exec.CommandContext(t.Context(), string(bin(t)), "gc", "--cache-dir", d.Path)); e.exit != 0 {
						t.Errorf("%s: gc: exit %d: %s", what, e.exit, e.said)
					}
					same(t, p.dir, filepath.Join(d.Path, "dest"))
					onlyDest(t, d)
				})
				if tried++; t.Failed() {
					t.Fatal(what)
				}
			}
		}
	}
	t.Logf("%d faults at %d kinds of operations; the next run took %v at most", tried, len(names), longest)
}

// farName is name for a tree that arrives from elsewhere, under a name of its own.
func farName(op Op) string {
	role := func(p string) string {
		rest, landing := strings.CutPrefix(p, ".dest.handout/")
		if first, _, _ := strings.Cut(rest, "/"); landing && strings.HasPrefix(first, "arriving-") {
			return "arriving/…"
		}
		return p
	}
	op.Path, op.To = role(op.Path), role(op.To)
	return name(op)
}

// namesOf are the names of all operations of a fetch.
func namesOf(t *testing.T, p parcel) map[string]bool {
	d := mount(t)
	names := map[string]bool{}
	d.Hook(func(op Op) Fault { names[name(op)] = true; return Fault{} })
	if e := ending(t, bin(t).Fetch(t.Context(), p.Package, filepath.Join(d.Path, "dest"), "--no-peers")); e.exit != 0 {
		t.Fatalf("exit %d: %s", e.exit, e.said)
	}
	return names
}

func failAt(t *testing.T, p parcel, at string, errno syscall.Errno, lasting bool, what string) {
	dir := folder(t)
	defer os.RemoveAll(dir)
	d, err := newDisk(dir)
	must(t, err)
	defer func() { must(t, d.Close()) }()
	dest := filepath.Join(d.Path, "dest")
	failed := false
	d.Hook(func(op Op) Fault {
		if failed && !lasting || !failed && name(op) != at {
			return Fault{}
		}
		failed = true
		return Fault{Errno: errno}
	})
	e := ending(t, bin(t).Fetch(t.Context(), p.Package, dest, "--no-peers"))
	d.Hook(nil)
	_, err = os.Lstat(dest)
	stands := err == nil
	if stands {
		same(t, p.dir, dest)
	}
	switch {
	case !failed:
		t.Errorf("%s: it never came to that", what)
	case e.exit == 0 && !stands:
		t.Errorf("%s: exit 0, and there is no tree: %s", what, e.said)
	case e.exit != 0 && e.exit != 1 && e.exit != exitNoSpace:
		t.Errorf("%s: exit %d: %s", what, e.exit, e.said)
	case e.exit == 1 && errno != syscall.EIO && !stands:
		t.Errorf("%s: exit 1, not %d: %s", what, exitNoSpace, e.said)
	}
	if e := ending(t, bin(t).Fetch(t.Context(), p.Package, dest, "--no-peers")); e.exit != 0 {
		t.Errorf("%s: afterwards exit %d: %s", what, e.exit, e.said)
	}
	same(t, p.dir, dest)
	onlyDest(t, d)
}

// shortWrites: a disk that takes little at a time gets the rest too.
func shortWrites(t *testing.T, p parcel) {
	d := mount(t)
	d.Hook(func(op Op) Fault { return Fault{Short: 1 + op.N%4096} })
	dest := filepath.Join(d.Path, "dest")
	if e := ending(t, bin(t).Fetch(t.Context(), p.Package, dest, "--no-peers")); e.exit != 0 {
		t.Errorf("short writes: exit %d: %s", e.exit, e.said)
	}
	same(t, p.dir, dest)
}

// tmpfs is a real file system with room for so many bytes.
func tmpfs(t *testing.T, size int64) string {
	t.Helper()
	mount(t) // or skip: it takes the same rights
	dir := folder(t)
	must(t, syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)))
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullDisk: a package that cannot fit is refused before the first byte. Where the disk fills up on the way the fetch
// stops with exit code 6, nothing stands at the destination, what is here is kept, and goes on when there is room.
func TestFullDisk(t *testing.T) {
	disk := tmpfs(t, 10<<20)
	p := publish(t, written(t, 4, 6<<20))
	ballast := filepath.Join(disk, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 5<<20), 0o600))
	dest := filepath.Join(disk, "dest")
	before := p.origin.Sent()
	e := ending(t, bin(t).Fetch(t.Context(), p.Package, dest, "--no-peers"))
	if e.exit != exitNoSpace || p.origin.Sent() != before {
		t.Errorf("exit %d, and the origin sent %d bytes: %s", e.exit, p.origin.Sent()-before, e.said)
	}
	if entries, _ := os.ReadDir(disk); len(entries) != 1 {
		t.Errorf("a fetch that was refused left %v", entries)
	}

	// There is room, until somebody else writes.
	must(t, os.Remove(ballast))
	p.origin.after(1<<20, func() { os.WriteFile(ballast, make([]byte, 6<<20), 0o600) })
	e = ending(t, bin(t).Fetch(t.Context(), p.Package, dest, "--no-peers"))
	if e.exit != exitNoSpace {
		t.Errorf("exit %d, not %d: %s", e.exit, exitNoSpace, e.said)
	}
	if _, err := os.Lstat(dest); err == nil {
		t.Error("there is a tree for which there was no room")
	}
	must(t, os.Remove(ballast))
	before = p.origin.Sent()
	e = ending(t, bin(t).Fetch(t.Context(), p.Package, dest, "--no-peers"))
	if e.exit != 0 {
		t.Fatalf("exit %d: %s", e.exit, e.said)
	}
	same(t, p.dir, dest)
	if sent := p.origin.Sent() - before; sent > p.m.Length-(512<<10) {
		t.Errorf("%d of %d bytes were fetched again, though 1 MiB had come before the disk was full", sent, p.m.Length)
	}
}

// TestFullDiskHarmsNoOther: an agent keeps two packages. There is no room for the one, and the other arrives all the same;
// and when there is room, the first does too.
func TestFullDiskHarmsNoOther(t *testing.T) {
	t.Parallel() // it mostly waits
	disk := tmpfs(t, 8<<20)
	large, small := publish(t, written(t, 5, 5<<20)), publish(t, written(t, 6, 1<<20))
	ballast := filepath.Join(disk, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 4<<20), 0o600))
	there := func(name string) func() bool {
		return func() bool { _, err := os.Lstat(filepath.Join(disk, name)); return err == nil }
	}
	a := runAgent(t, there("small"), map[string]parcel{filepath.Join(disk, "large"): large, filepath.Join(disk, "small"): small})
	if there("large")() {
		t.Error("there is a tree for which there was no room")
	}
	same(t, small.dir, filepath.Join(disk, "small"))
	must(t, os.Remove(ballast))
	a.wait(t, there("large"))
	same(t, large.dir, filepath.Join(disk, "large"))
	a.stop() // before the disk goes
}

// TestSmallFilesAreFlushedOnce: where each file takes a flush of its own, it costs one.
func TestSmallFilesAreFlushedOnce(t *testing.T) {
	d := mount(t)
	p := publish(t, written(t, 10, 1<<20))
	flushes := map[string]int{}
	d.Hook(func(op Op) Fault {
		if file, small := strings.CutPrefix(op.Path, ".dest.handout/tree/small/"); small && op.Kind == "fsync" {
			flushes[file]++
		}
		return Fault{}
	})
	if e := ending(t, bin(t).Fetch(t.Context(), p.Package, filepath.Join(d.Path, "dest"), "--no-peers")); e.exit != 0 {
		t.Fatalf("exit %d: %s", e.exit, e.said)
	}
	d.Hook(nil)
	files, err := os.ReadDir(filepath.Join(p.dir, "small"))
	must(t, err)
	for _, f := range files {
		if n := flushes[f.Name()]; n < 1 || n > 1 && !crosses(p, f.Name()) {
			t.Errorf("%s was flushed %d times", f.Name(), n)
		}
	}
}

// crosses reports whether a file lies in more than one piece, so that it is written more than once.
func crosses(p parcel, small string) bool {
	for _, f := range p.m.Files {
		if f.Path == "small/"+small && f.Length > 0 {
			return f.Offset/p.m.PieceLength != (f.Offset+f.Length-1)/p.m.PieceLength
		}
	}
	return false
}

package store

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"handout/agent/plan"
	"handout/manifest"
)

// TestLargeSparseFile: a file with a few bytes at the start, far out and at the end. What nobody wrote is a hole, reads
// as zeros, and takes no space before or after publication. With HANDOUT_SOAK set it has 6 GiB, which take minutes to
// hash on a busy machine.
func TestLargeSparseFile(t *testing.T) {
	size := int64(512 << 20)
	if os.Getenv("HANDOUT_SOAK") != "" {
		size = 6 << 30
	}
	dir := fastDir(t)
	source, dest := filepath.Join(dir, "disk.img"), filepath.Join(dir, "dest.img")
	marks := map[int64]string{0: "start", size/4*3 + 12345: "far out", size - 3: "end"}
	f, err := os.Create(source)
	must(t, err)
	must(t, f.Truncate(size))
	for off, mark := range marks {
		_, err := f.WriteAt([]byte(mark), off)
		must(t, err)
	}
	must(t, f.Close())
	m := build(t, source, 0)
	tree, err := Open(t.Context(), m, dest, Options{})
	must(t, err)
	defer tree.Close()
	for off, mark := range marks {
		_, err := tree.WriteAt(manifest.PieceIndex(off/m.PieceLength), []byte(mark), off%m.PieceLength)
		must(t, err)
	}
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	all := plan.NewBitfield(m.NumPieces())
	all.SetAll()
	for i := range all.All {
		work.Go(func() error {
			if ok, err := tree.Verify(i); !ok || err != nil {
				t.Errorf("piece %d: %v %v", i, ok, err)
			}
			return nil
		})
	}
	must(t, work.Wait())
	must(t, tree.Publish(t.Context()))
	for off, mark := range marks {
		got := make([]byte, len(mark))
		_, err := tree.ReadAt(manifest.PieceIndex(off/m.PieceLength), got, off%m.PieceLength)
		must(t, err)
		if string(got) != mark {
			t.Errorf("%q at %d, want %q", got, off, mark)
		}
	}
	var st syscall.Stat_t
	must(t, syscall.Stat(dest, &st))
	if st.Size != size || st.Blocks*512 > 1<<20 {
		t.Errorf("%d bytes take up %d", st.Size, st.Blocks*512)
	}
}

// smallDisk lets this test's goroutine see a folder with room for n bytes. Nobody else sees it, and it is gone with the
// goroutine.
func smallDisk(t *testing.T, n string) string {
	t.Helper()
	dir := fastDir(t)
	runtime.LockOSThread() // for ever: the thread is of no use to others any more
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		runtime.UnlockOSThread()
		t.Skip("needs root: sudo go test ./agent/store")
	}
	must(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	must(t, syscall.Mount("none", dir, "tmpfs", 0, "size="+n))
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	return dir
}

func TestNoSpace(t *testing.T) {
	source := map[string]entry{"large": file(500_000, 1)}
	for _, name := range []string{"a", "b", "c", "d"} {
		source[name] = file(9_000, 2)
	}
	p := pack(t, source)
	disk := smallDisk(t, "800k")
	ballast := filepath.Join(disk, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 400_000), 0o600))
	_, err := Open(t.Context(), p.m, filepath.Join(disk, "dest"), Options{})
	wantErr(t, err, ErrNoSpace)
	onlyThis(t, ballast)

	must(t, os.Remove(ballast))
	tree := p.open(t, filepath.Join(disk, "dest"), Options{})
	must(t, os.WriteFile(ballast, make([]byte, 400_000), 0o600))
	full := 0
	for i := range p.m.NumPieces() {
		if err := tree.Put(manifest.PieceIndex(i), p.piece(i)); err != nil {
			wantErr(t, err, ErrNoSpace)
			full++
			if tree.Has(manifest.PieceIndex(i)) {
				t.Errorf("piece %d has no room and is complete", i)
			}
		}
	}
	if full == 0 {
		t.Error("the disk was large enough")
	}
	must(t, os.Remove(ballast))
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, tree.Dest())
	buf := make([]byte, p.m.PieceLength)
	_, err = tree.ReadAt(0, buf, 0)
	must(t, err)
	if !bytes.Equal(buf, p.piece(0)) {
		t.Error("reads wrong")
	}
}

// TestMountKindOfThread: the first thread of the process may have other mounts than the one that asks. (It keeps those of
// a smallDisk whose goroutine ran on it.)
func TestMountKindOfThread(t *testing.T) {
	disk := smallDisk(t, "64k")
	var at syscall.Stat_t
	must(t, syscall.Stat(disk, &at))
	if kind := mountKind(at.Dev); kind != "tmpfs" {
		t.Errorf("%s is taken for %q", disk, kind)
	}
}

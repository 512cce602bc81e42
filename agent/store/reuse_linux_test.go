package store

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"handout/manifest"
)

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	fi, err := os.Stat(path)
	must(t, err)
	return fi.Sys().(*syscall.Stat_t).Ino
}

// TestHostileReuseFolder: whatever lies in a folder that is to be looked through, nothing outside it is read, nothing is
// waited for and nothing wrong is taken.
func TestHostileReuseFolder(t *testing.T) {
	secret := filepath.Join(fastDir(t), "secret")
	must(t, os.WriteFile(secret, file(20_000, 1).data, 0o600))
	p := pack(t, map[string]entry{"secret": file(20_000, 1), "pipe": file(20_000, 2), "closed": file(20_000, 3),
		"zero": file(20_000, 4), "dir/x": file(20_000, 5), "loop": file(20_000, 6), "fine": file(20_000, 7)})
	dir := fastDir(t)
	must(t, os.Symlink(secret, filepath.Join(dir, "secret")))
	must(t, os.Symlink(filepath.Dir(secret), filepath.Join(dir, "dir")))
	must(t, os.Symlink("..", filepath.Join(dir, "up")))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	if err := unix.Mknod(filepath.Join(dir, "zero"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))); err != nil {
		must(t, unix.Mkfifo(filepath.Join(dir, "zero"), 0o644))
	}
	must(t, os.WriteFile(filepath.Join(dir, "closed"), file(20_000, 3).data, 0))
	must(t, os.WriteFile(filepath.Join(dir, "fine"), file(20_000, 7).data, 0o644))
	must(t, os.Mkdir(filepath.Join(dir, "no way in"), 0))

	dest := filepath.Join(fastDir(t), "dest")
	tree := p.open(t, dest, Options{Reuse: []string{dir, "/proc/self/fd", filepath.Join(dir, "pipe")}})
	at := func(name string) (has bool) {
		for i := range p.m.Files {
			if first, last := tree.lay.pieces(i); p.m.Files[i].Path == name {
				for k := first; k <= last; k++ {
					has = has || tree.Has(k)
				}
			}
		}
		return has
	}
	if at("secret") || at("dir/x") || at("pipe") || at("zero") || at("loop") {
		t.Error("something was taken from where nothing should have been read")
	}
	p.publishAs(t, tree, dest)
}

// TestFileBecomesPipe: a candidate that is replaced by a pipe after it was seen is not waited for.
func TestFileBecomesPipe(t *testing.T) {
	p := pack(t, map[string]entry{"a": file(20_000, 1)})
	dir := fastDir(t)
	name := filepath.Join(dir, "a")
	must(t, os.WriteFile(name, file(20_000, 1).data, 0o644))
	tree := p.open(t, filepath.Join(fastDir(t), "dest"), Options{})
	r := &reuse{t: tree, open: newCache[*candidate, donated](1)}
	d, err := openDonor(dir)
	must(t, err)
	defer d.root.Close()
	defer r.open.closeIdle()
	fi, err := os.Lstat(name)
	must(t, err)
	must(t, os.Remove(name))
	must(t, unix.Mkfifo(name, 0o644))
	wantErr(t, r.read(&candidate{donor: d, path: "a", info: fi}, make([]byte, 10), 0), ErrChanged)
}

// linking opens a new version of a tree of which file a is unchanged, on a file system where it is linked.
func linking(t *testing.T) (p packed, dest string, tree *Tree) {
	p, dest = oldAndNew(t)
	tree = p.open(t, dest, Options{Replace: true})
	if len(tree.at.linked) == 0 {
		t.Skip("needs a file system with links and without clones under " + fastRoot())
	}
	return p, dest, tree
}

// TestLinkedOnlyWhereAlike: a file whose mode, time or owner differs, or that has another name, is copied.
func TestLinkedOnlyWhereAlike(t *testing.T) {
	p, dest, tree := linking(t)
	old := inode(t, filepath.Join(dest, "a"))
	p.publishAs(t, tree, dest)
	if inode(t, filepath.Join(dest, "a")) != old {
		t.Error("the unchanged file is not linked")
	}
	for name, spoil := range map[string]func(path string) error{
		"time":  func(path string) error { return os.Chtimes(path, when, when.Add(time.Minute)) },
		"mode":  func(path string) error { return os.Chmod(path, 0o666) },
		"setid": func(path string) error { return os.Chmod(path, 0o644|os.ModeSetgid) },
		"name": func(path string) error {
			return os.Link(path, filepath.Join(filepath.Dir(filepath.Dir(path)), "other"))
		},
		"owner": func(path string) error {
			if os.Geteuid() != 0 {
				t.Skip("needs root: sudo go test")
			}
			return os.Chown(path, 12345, -1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, dest := oldAndNew(t)
			a := filepath.Join(dest, "a")
			must(t, spoil(a))
			old := inode(t, a)
			tree := p.open(t, dest, Options{Replace: true})
			p.fill(t, tree)
			must(t, tree.Publish(t.Context()))
			sameTree(t, p.dir, dest)
			if inode(t, a) == old {
				t.Error("the file was linked")
			}
		})
	}
}

// TestOldTreeChangesUnderLink: somebody writes to the old tree while it is still there, through the name the new tree's file
// shares. What he wrote is neither read out nor published.
func TestOldTreeChangesUnderLink(t *testing.T) {
	p, dest, tree := linking(t)
	for _, again := range []bool{false, true} {
		if again { // linked anew
			must(t, os.WriteFile(filepath.Join(dest, "a"), file(20_000, 1).data, 0o644))
			must(t, os.Chtimes(filepath.Join(dest, "a"), when.Add(time.Second), when.Add(time.Second)))
			tree = p.open(t, dest, Options{Replace: true})
		}
		p.fill(t, tree)
		must(t, os.WriteFile(filepath.Join(dest, "a"), file(20_000, 99).data, 0o644))
		_, err := tree.ReadAt(0, make([]byte, 100), 0)
		wantErr(t, err, ErrChanged)
		wantErr(t, tree.Publish(t.Context()), ErrChanged)
		if again {
			tree.abandon()
		} else {
			must(t, tree.Close())
		}
	}
	tree = p.open(t, dest, Options{Replace: true})
	p.publishAs(t, tree, dest)
}

// TestCloned: on a file system that has clones, files are cloned, and writing to them leaves the old tree alone.
func TestCloned(t *testing.T) {
	dir := onBtrfs(t)
	before := map[string]entry{"a": file(200_000, 1), "b": file(20_000, 2)}
	changed := before["a"]
	changed.data = spoilt(changed.data, 100_000)
	p := pack(t, map[string]entry{"a": changed, "c": before["b"]})
	dest := filepath.Join(dir, "dest")
	must(t, os.Mkdir(dest, 0o755))
	writeTree(t, dest, before)
	tree := p.open(t, dest, Options{Replace: true})
	if n := missingBytes(tree); n != manifest.MinPieceLength || len(tree.at.linked) > 0 {
		t.Errorf("%d bytes are missing, %d files are linked", n, len(tree.at.linked))
	}
	for i := range tree.Missing().All {
		_, err := tree.WriteAt(i, make([]byte, p.m.PieceSize(i)), 0)
		must(t, err)
	}
	if got, err := os.ReadFile(filepath.Join(dest, "a")); err != nil || !bytes.Equal(got, before["a"].data) {
		t.Errorf("what was written to the clone got into the old tree (%v)", err)
	}
	p.publishAs(t, tree, dest)
}

// onBtrfs is a folder on a file system of its own.
func onBtrfs(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("mkfs.btrfs"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and btrfs-progs: make deps")
	}
	image, dir := filepath.Join(fastDir(t), "image"), t.TempDir()
	f, err := os.Create(image)
	must(t, err)
	must(t, errors.Join(f.Truncate(128<<20), f.Close()))
	for _, args := range [][]string{{"mkfs.btrfs", "-q", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("needs a machine that can mount files: %v: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// TestLinksOfKilledRun: what was linked by a run that was killed is looked at anew, and no piece of it counts on the word of
// the old record.
func TestLinksOfKilledRun(t *testing.T) {
	big := file(10*manifest.MinPieceLength, 1)
	p, dest := standing(t, map[string]entry{"a": big}, map[string]entry{"a": big, "b": file(20_000, 2)})
	tree := p.open(t, dest, Options{Replace: true})
	must(t, tree.flusher.flush())
	tree.abandon()
	must(t, os.WriteFile(filepath.Join(dest, "a"), make([]byte, len(big.data)), 0o644))
	for n := range 3 {
		tree = p.open(t, dest, Options{Replace: true})
		for i := range tree.Have().All {
			b := make([]byte, p.m.PieceSize(i))
			_, err := tree.ReadAt(i, b, 0)
			must(t, err)
			if !bytes.Equal(b, p.piece(int(i))) {
				t.Fatalf("piece %d reads wrong", i)
			}
		}
		if tree.Have().Count() != n {
			t.Fatalf("%d pieces are here, want %d", tree.Have().Count(), n)
		}
		must(t, tree.Put(manifest.PieceIndex(n), p.piece(n)))
		tree.abandon()
	}
	tree = p.open(t, dest, Options{Replace: true})
	p.publishAs(t, tree, dest)
}

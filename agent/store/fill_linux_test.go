package store

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mountAt mounts a file system, for as long as the test runs.
func mountAt(t *testing.T, point string, args ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: sudo go test")
	}
	must(t, os.MkdirAll(point, 0o755))
	if out, err := exec.Command("mount", append(args, point)...).CombinedOutput(); err != nil {
		t.Skipf("needs a machine that can mount: mount %s: %v: %s", strings.Join(args, " "), err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", point).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}

// overlay is a mount of which all that build makes lies in the lower layer.
func overlay(t *testing.T, build func(lower string)) (merged string) {
	t.Helper()
	dir := fastDir(t)
	lower, upper, work, merged := filepath.Join(dir, "l"), filepath.Join(dir, "u"), filepath.Join(dir, "w"), t.TempDir()
	for _, d := range []string{lower, upper, work} {
		must(t, os.Mkdir(d, 0o755))
	}
	build(lower)
	mountAt(t, merged, "-t", "overlay", "overlay", "-o", fmt.Sprintf("redirect_dir=off,lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work))
	return merged
}

// TestOverlay: a tree of an overlay's lower layer, of which no folder can be renamed, is replaced, repaired, kept, opened
// again and evicted; also where the folder around it is of that layer, and where only a single file is.
func TestOverlay(t *testing.T) {
	old, young := exchanged(t)
	merged := overlay(t, func(lower string) {
		for _, name := range []string{"dest", "around/dest", "kept", "evicted", "spoilt"} {
			must(t, os.MkdirAll(filepath.Join(lower, name), 0o755))
			writeTree(t, filepath.Join(lower, name), readTree(t, old.dir))
		}
		must(t, os.MkdirAll(filepath.Join(lower, "empty/dest"), 0o755))
		must(t, os.WriteFile(filepath.Join(lower, "spoilt/sub/other"), make([]byte, 70_000), 0o644))
		must(t, os.WriteFile(filepath.Join(lower, "single"), []byte("old"), 0o644))
	})
	if err := os.Rename(filepath.Join(merged, "dest"), filepath.Join(merged, "other")); !isCrossDevice(err) {
		t.Fatalf("a folder of the lower layer is renamed: %v", err)
	}
	for _, name := range []string{"dest", "around/dest", "empty/dest"} {
		dest := filepath.Join(merged, name)
		young.publish(t, dest, Options{Replace: true})
		sameTree(t, young.dir, dest)
		old.publish(t, dest, Options{Replace: true})
		sameTree(t, old.dir, dest)
	}
	onlyThese(t, filepath.Join(merged, "around"), "dest")

	dest := filepath.Join(merged, "spoilt")
	old.publish(t, dest, Options{Repair: true})
	sameTree(t, old.dir, dest)

	dest = filepath.Join(merged, "kept")
	young.publish(t, dest, Options{Replace: true, Keep: true})
	again, err := Reopen(t.Context(), young.m, dest, Options{})
	must(t, err)
	young.readAll(t, again)
	must(t, again.Close())
	must(t, Evict(t.Context(), dest))

	dest = filepath.Join(merged, "evicted")
	old.publish(t, dest, Options{Keep: true})
	must(t, Evict(t.Context(), dest))
	onlyThese(t, merged, "around", "dest", "empty", "single", "spoilt")

	source := filepath.Join(fastDir(t), "single")
	must(t, os.WriteFile(source, file(50_000, 3).data, 0o644))
	single := packDir(t, source, 1<<16)
	single.publish(t, filepath.Join(merged, "single"), Options{Replace: true})
	if got, err := os.ReadFile(filepath.Join(merged, "single")); err != nil || !bytes.Equal(got, single.bytes) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	onlyThese(t, merged, "around", "dest", "empty", "single", "spoilt")
}

// TestOverlayStagedInLower: what an interrupted run left is part of an image, and so in the lower layer itself.
func TestOverlayStagedInLower(t *testing.T) {
	old, young := exchanged(t)
	merged := overlay(t, func(lower string) {
		for _, name := range []string{"none", "dest"} {
			dest := filepath.Join(lower, name)
			if name == "dest" {
				old.publish(t, dest, Options{})
			}
			tree := young.open(t, dest, Options{Replace: true})
			young.fill(t, tree)
			must(t, tree.Close())
		}
	})
	for _, name := range []string{"none", "dest"} {
		dest := filepath.Join(merged, name)
		tree := young.open(t, dest, Options{Replace: true})
		if name == "none" && tree.Missing().Count() > 0 {
			t.Errorf("%d pieces are fetched again", tree.Missing().Count())
		}
		young.fill(t, tree) // what was linked to the old tree is looked at anew
		must(t, tree.Publish(t.Context()))
		must(t, tree.Close())
		sameTree(t, young.dir, dest)
	}
	onlyThese(t, merged, "dest", "none")
}

// TestOverlayFillDies: as TestFillDiesAtEveryStep, where each folder has to be filled.
func TestOverlayFillDies(t *testing.T) {
	old, young := exchanged(t)
	for crash := 2; ; crash += 3 {
		merged := overlay(t, func(lower string) {
			must(t, os.MkdirAll(filepath.Join(lower, "dest"), 0o755))
			writeTree(t, filepath.Join(lower, "dest"), readTree(t, old.dir))
		})
		dest := filepath.Join(merged, "dest")
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
		tree.abandon()
		last := young.open(t, dest, Options{})
		if !last.Published() {
			t.Fatalf("died at step %d: the new tree is not recognised", crash)
		}
		must(t, last.Close())
		sameTree(t, young.dir, dest)
		onlyThis(t, dest)
		if err == nil {
			break
		}
	}
}

// TestVolumes: the root of a volume is filled in place, whatever the folder around it can take, and what the volume has in
// its root for itself is left alone and no fault of the tree.
func TestVolumes(t *testing.T) {
	old, young := exchanged(t)
	image := func(mkfs ...string) func(t *testing.T) string {
		return func(t *testing.T) string {
			if _, err := exec.LookPath(mkfs[0]); err != nil {
				t.Skipf("needs %s: make deps", mkfs[0])
			}
			path := filepath.Join(fastDir(t), "image")
			must(t, os.WriteFile(path, nil, 0o600))
			must(t, os.Truncate(path, 128<<20))
			if out, err := exec.Command(mkfs[0], append(mkfs[1:], path)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			dest := t.TempDir()
			mountAt(t, dest, "-o", "loop", path)
			return dest
		}
	}
	for name, dest := range map[string]func(t *testing.T) string{
		"tmpfs in a full folder": func(t *testing.T) string {
			around := t.TempDir()
			mountAt(t, around, "-t", "tmpfs", "-o", "size=64k", "none")
			dest := filepath.Join(around, "data")
			mountAt(t, dest, "-t", "tmpfs", "-o", "size=8m", "none")
			return dest
		},
		"bind": func(t *testing.T) string {
			dest := filepath.Join(fastDir(t), "dest")
			must(t, os.Mkdir(dest, 0o755))
			mountAt(t, dest, "--bind", fastDir(t))
			return dest
		},
		"in a folder that is read only": func(t *testing.T) string {
			around := fastDir(t)
			dest := filepath.Join(around, "dest")
			must(t, os.Mkdir(dest, 0o755))
			mountAt(t, around, "--bind", around)
			mountAt(t, dest, "-t", "tmpfs", "none")
			if out, err := exec.Command("mount", "-o", "remount,bind,ro", around).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			return dest
		},
		"ext4": image("mkfs.ext4", "-q"),
		"Btrfs subvolume": func(t *testing.T) string {
			dest := filepath.Join(image("mkfs.btrfs", "-q")(t), "dest")
			if out, err := exec.Command("btrfs", "subvolume", "create", dest).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			return dest
		},
	} {
		t.Run(name, func(t *testing.T) {
			dest := dest(t)
			before, err := os.Stat(dest)
			must(t, err)
			same := func(p packed) {
				t.Helper()
				there := readTree(t, dest)
				delete(there, "lost+found")
				maps.DeleteFunc(there, func(p string, _ entry) bool { return strings.HasPrefix(p, insideName) })
				equalTrees(t, readTree(t, p.dir), there)
				r, err := Check(t.Context(), p.m, nil, dest, nil)
				if must(t, err); !r.Matches() {
					t.Errorf("verify says %v", r)
				}
				now, err := os.Stat(dest)
				if must(t, err); !os.SameFile(before, now) {
					t.Error("the folder is another")
				}
			}
			old.publish(t, dest, Options{})
			same(old)
			_, err = Open(t.Context(), young.m, dest, Options{})
			wantErr(t, err, ErrExists)
			half := young.open(t, dest, Options{Replace: true, Stage: fastDir(t)})
			young.fill(t, half)
			must(t, half.Publish(t.Context()))
			must(t, half.Close())
			same(young)
			must(t, os.Remove(filepath.Join(dest, "a")))
			young.publish(t, dest, Options{Repair: true})
			same(young)
			if isThere(mustRoot(t, dest), insideName) {
				t.Error("a staging folder is left")
			}
			old.publish(t, dest, Options{Replace: true, Keep: true})
			same(old)
			if m, err := Standing(dest, anybody); err != nil || m.InfoHash != old.m.InfoHash {
				t.Errorf("kept: %v", err)
			}
			kept, err := Reopen(t.Context(), old.m, dest, Options{})
			must(t, err)
			old.readAll(t, kept)
			must(t, kept.Close())
			must(t, Pin(dest, true))
			wantErr(t, Evict(t.Context(), dest), ErrPinned)
			must(t, Pin(dest, false))
			must(t, Evict(t.Context(), dest))
			if there, err := occupied(mustRoot(t, dest), itself); there || err != nil {
				t.Errorf("not empty after eviction: %v", err)
			}
		})
	}
}

func mustRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

// TestMountInTree: a tree in which something is mounted is neither replaced nor evicted: what is on that would go too.
func TestMountInTree(t *testing.T) {
	old, young, dest := twoVersions(t)
	old.publish(t, dest, Options{})
	mountAt(t, filepath.Join(dest, "sub", "in between"), "-t", "tmpfs", "none")
	precious := filepath.Join(dest, "sub", "in between", "precious")
	must(t, os.WriteFile(precious, []byte("mine"), 0o644))
	_, err := Open(t.Context(), young.m, dest, Options{Replace: true})
	wantErr(t, err, ErrInUse)
	if !strings.Contains(err.Error(), "in between is mounted") {
		t.Error(err)
	}
	_, err = Open(t.Context(), young.m, dest, Options{Replace: true, Keep: true})
	wantErr(t, err, ErrInUse)
	must(t, os.Mkdir(filepath.Join(filepath.Dir(dest), stagingName("dest")), 0o700))
	wantErr(t, Evict(t.Context(), dest), ErrInUse)
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

// as runs f as another user, on a thread of its own.
func as(t *testing.T, uid int, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: sudo go test")
	}
	must(t, syscall.Setresgid(-1, uid, -1))
	must(t, syscall.Setresuid(-1, uid, -1))
	defer func() {
		must(t, syscall.Setresuid(-1, 0, -1))
		must(t, syscall.Setresgid(-1, 0, -1))
	}()
	f()
}

// TestFolderOfOnesOwn: in a folder that may not be written to, perhaps not even read, an own one can be filled.
func TestFolderOfOnesOwn(t *testing.T) {
	old, young := exchanged(t)
	for _, mode := range []os.FileMode{0o755, 0o711, 0o777 | os.ModeSticky} {
		around := fastDir(t)
		dest := filepath.Join(around, "dest")
		must(t, os.Mkdir(dest, 0o777))
		must(t, os.Chmod(dest, 0o777))
		if mode&os.ModeSticky == 0 {
			must(t, os.Chown(dest, 54321, 54321))
		}
		must(t, os.Chmod(around, mode))
		first, second := readTree(t, old.dir), readTree(t, young.dir)
		as(t, 54321, func() {
			old.publish(t, dest, Options{})
			equalTrees(t, first, readTree(t, dest))
			young.publish(t, dest, Options{Replace: true})
			equalTrees(t, second, readTree(t, dest))
			must(t, os.WriteFile(filepath.Join(dest, "a"), []byte("wrong"), 0o644))
			young.publish(t, dest, Options{Repair: true})
			equalTrees(t, second, readTree(t, dest))
		})
		onlyThis(t, dest)
	}
	around := fastDir(t)
	must(t, os.Chmod(around, 0o755))
	as(t, 54321, func() {
		_, err := Open(t.Context(), old.m, filepath.Join(around, "dest"), Options{})
		wantErr(t, err, ErrNotWritable)
	})
}

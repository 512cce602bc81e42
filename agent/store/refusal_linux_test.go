package store

import (
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRefusals: whatever is in the way of a package is named as what it is, with the outcome that the exit code goes by.
func TestRefusals(t *testing.T) {
	old, young, _ := twoVersions(t)
	dir := fastDir(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.WriteFile(at("file"), []byte("x"), 0o644))
	must(t, unix.Mkfifo(at("pipe"), 0o644))
	must(t, os.Mkdir(at("foreign"), 0o755))
	for _, name := range []string{"a1", "b", "c", "d", "e"} {
		must(t, os.WriteFile(at("foreign/"+name), []byte("x"), 0o644))
	}
	must(t, os.Symlink("nowhere", at("dangling")))
	must(t, os.Symlink("foreign", at("link")))
	must(t, os.Symlink("file", at("file link")))
	must(t, os.Symlink("foreign", at("way")))
	old.publish(t, at("kept"), Options{Keep: true})
	old.publish(t, at("changed"), Options{Keep: true})
	must(t, os.WriteFile(at("changed/a"), []byte("x"), 0o644))
	for dest, want := range map[string]struct {
		kind  error
		words string
	}{
		"file":           {ErrExists, "file is a file"},
		"pipe":           {ErrExists, "pipe is a pipe"},
		"foreign":        {ErrExists, "of no package known here: "},
		"kept":           {ErrExists, "kept holds " + title(old.m)},
		"changed":        {ErrExists, "changed holds " + title(old.m)},
		"link":           {ErrLink, "link is a symbolic link to foreign"},
		"dangling":       {ErrLink, "is a symbolic link to nowhere, where nothing is"},
		"file link":      {ErrLink, "is a symbolic link to file, which is a file"},
		"dangling/below": {ErrLink, "is a symbolic link to nowhere, where nothing is"},
		"file/below":     {ErrNotWritable, "file is a file, not a folder"},
	} {
		before := slices.Sorted(maps.Keys(readTree(t, dir)))
		_, err := Open(t.Context(), young.m, at(dest), Options{Keep: true})
		wantErr(t, err, want.kind)
		if !strings.Contains(err.Error(), want.words) {
			t.Errorf("%s: %v", dest, err)
		}
		if now := slices.Sorted(maps.Keys(readTree(t, dir))); !slices.Equal(before, now) {
			t.Errorf("%s: %q became %q", dest, before, now)
		}
	}
	for link, leads := range map[string]string{"link": "foreign", "dangling": "nowhere", "file": "file", "file link": "file"} {
		got, err := Follow(at(link), true)
		if must(t, err); got != at(leads) {
			t.Errorf("%s leads to %s", link, got)
		}
	}
	must(t, os.Symlink("loop", at("loop")))
	_, err := Follow(at("loop"), true)
	wantErr(t, err, ErrLink)
	// A link on the way to the destination is one like any other program's.
	young.publish(t, at("way/below"), Options{})
	sameTree(t, young.dir, at("foreign/below"))
}

// TestRefusalsOfFileSystems: read-only, and out of files though not out of bytes.
func TestRefusalsOfFileSystems(t *testing.T) {
	p := pack(t, variety())
	few := t.TempDir()
	mountAt(t, few, "-t", "tmpfs", "-o", "nr_inodes=20", "none")
	_, err := Open(t.Context(), p.m, filepath.Join(few, "dest"), Options{})
	wantErr(t, err, ErrNoSpace)
	if !strings.Contains(err.Error(), "files and folders to come") {
		t.Error(err)
	}
	onlyThese(t, few)
	closed := t.TempDir()
	mountAt(t, closed, "-t", "tmpfs", "-o", "ro", "none")
	for _, name := range []string{"dest", "not there/dest"} {
		_, err = Open(t.Context(), p.m, filepath.Join(closed, name), Options{})
		wantErr(t, err, ErrNotWritable)
		if !strings.Contains(err.Error(), closed+" is on a read-only file system") {
			t.Error(err)
		}
	}
	around := fastDir(t)
	must(t, os.Chmod(around, 0o755))
	as(t, 54321, func() {
		_, err = Open(t.Context(), p.m, filepath.Join(around, "dest"), Options{})
	})
	if !errors.Is(err, ErrNotWritable) || !strings.Contains(err.Error(), "the folder around it must be writable") {
		t.Error(err)
	}
}

// TestGroupOfFolderAround: where the folder around a destination gives its group to what is made in it, all of the tree has
// that group, and its folders go on giving it, as if each had been made there; so it is with default access lists.
func TestGroupOfFolderAround(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: sudo go test")
	}
	const group = 54321
	old, young := exchanged(t)
	for _, o := range []Options{{Replace: true}, {Replace: true, Keep: true}, {Replace: true, Stage: fastDir(t)}} {
		around := fastDir(t)
		must(t, os.Chown(around, -1, group))
		must(t, os.Chmod(around, 0o775|os.ModeSetgid))
		acl := []byte{2, 0, 0, 0}
		for _, e := range [][3]uint32{{1, 7, ^uint32(0)}, {4, 5, ^uint32(0)}, {8, 7, 777}, {0x10, 7, ^uint32(0)}, {0x20, 5, ^uint32(0)}} {
			acl = binary.LittleEndian.AppendUint16(acl, uint16(e[0]))
			acl = binary.LittleEndian.AppendUint16(acl, uint16(e[1]))
			acl = binary.LittleEndian.AppendUint32(acl, e[2])
		}
		lists := unix.Setxattr(around, "system.posix_acl_default", acl, 0) == nil
		dest := filepath.Join(around, "dest")
		check := func() {
			t.Helper()
			must(t, filepath.WalkDir(around, func(path string, d os.DirEntry, err error) error {
				if err != nil {
					return err
				}
				fi, err := d.Info()
				if err != nil {
					return err
				}
				if gid := fi.Sys().(*syscall.Stat_t).Gid; gid != group || d.IsDir() && fi.Mode()&os.ModeSetgid == 0 {
					t.Errorf("%s has group %d and mode %v", path, gid, fi.Mode())
				}
				if n, err := unix.Getxattr(path, "system.posix_acl_access", nil); lists && d.Type().IsRegular() && (err != nil || n == 0) {
					t.Errorf("%s has no access list: %v", path, err)
				}
				return nil
			}))
		}
		// One version came before the folder was given to the group: its files are not taken over.
		must(t, os.Chmod(around, 0o775))
		old.publish(t, dest, Options{})
		must(t, os.Chmod(around, 0o775|os.ModeSetgid))
		young.publish(t, dest, o)
		check()
		old.publish(t, dest, o)
		check()
		if t.Failed() {
			t.Fatalf("with %+v", o)
		}
	}
}

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"handout/manifest"
)

// A destination is reached by a folder and its name in there: by the folder around it, in which its staging folder lies, and
// out of which the tree comes by rename. Some destinations can't be renamed: the root of a volume (a mount point, a Btrfs
// subvolume, a drive), and a folder of one's own in one that may not be written to. Such a destination is reached by itself:
// its name is itself, its staging folder lies in it, and the tree's entries are moved there one by one, see fill.
const itself = "."

// insideName names the staging folder in a destination that is reached by itself.
const insideName = stagingSuffix

// volumesOwn are what a file system has in its root for itself.
var volumesOwn = []string{"lost+found", "System Volume Information", "$RECYCLE.BIN", ".snapshots"}

// isOwn reports whether an entry of a destination is none of a package's business: its staging folder, or what a volume
// has in its root.
func isOwn(dest *os.Root, name string, volume bool) bool {
	if name != insideName && !(volume && slices.Contains(volumesOwn, name)) {
		return false
	}
	fi, err := dest.Lstat(name)
	return err == nil && fi.IsDir()
}

// seatOf opens the folder by which dest is reached. With single the destination is a file, which can't be filled. The
// outcomes are fs.ErrNotExist where the folder around it is missing, ErrLink, and what the system says.
func seatOf(dest string, single bool) (abs string, folder *os.Root, base string, err error) {
	if abs, err = absolute(dest); err != nil {
		return "", nil, "", err
	}
	dir, base := filepath.Dir(abs), filepath.Base(abs)
	if err := refuseLink(abs); err != nil {
		return abs, nil, "", err
	}
	if dir == abs {
		if single || runtime.GOOS != "windows" {
			return abs, nil, "", fmt.Errorf("%w: %s is the root of this machine's files: name a folder in it", ErrExists, abs)
		}
		folder, err = os.OpenRoot(abs)
		return abs, folder, itself, err
	}
	fi, err := os.Lstat(abs)
	isDir := err == nil && (fi.IsDir() || isMountedFolder(abs, fi)) && !single
	folder, err = os.OpenRoot(dir)
	if isDir && (err == nil && standsAlone(folder, abs, base) || errors.Is(err, fs.ErrPermission)) {
		if own, err2 := os.OpenRoot(abs); err2 == nil {
			if folder != nil {
				folder.Close()
			}
			return abs, own, itself, nil
		}
	}
	return abs, folder, base, err
}

// standsAlone reports whether the folder base is reached by itself. What an earlier run began is gone on with where it is.
func standsAlone(around *os.Root, abs, base string) bool {
	switch {
	case isVolume(around, abs, base):
		return true
	case isThere(around, stagingName(base)):
		return false
	}
	own, err := openWithin(around, base)
	if err != nil {
		return false
	}
	defer own.Close()
	return isThere(own, filepath.Join(insideName, recordName)) || !mayWrite(around) && mayWrite(own)
}

// checkInside refuses a package that has an entry where its staging folder would be.
func checkInside(m *manifest.Manifest) error {
	taken := func(p string) bool {
		first, _, _ := strings.Cut(p, "/")
		return strings.EqualFold(first, insideName)
	}
	if slices.ContainsFunc(m.Files, func(f manifest.File) bool { return taken(f.Path) }) ||
		slices.ContainsFunc(m.Dirs, func(d manifest.Dir) bool { return taken(d.Path) }) {
		return fmt.Errorf("%w: the package has an entry %s, which is where it would be put together: choose a folder that can be renamed",
			ErrNotWritable, insideName)
	}
	return nil
}

// occupied reports whether something is at name that would be lost if a tree took its place. An empty folder is not: it
// is what is left of "make the folder, then fetch into it". Nor is one that has only what is its volume's.
func occupied(parent *os.Root, name string) (bool, error) {
	fi, err := parent.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !fi.IsDir() {
		return err == nil, err
	}
	dest, err := openWithin(parent, name)
	if err != nil {
		return false, err
	}
	defer dest.Close()
	names, err := namesIn(dest, ".")
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(names, func(n string) bool { return !isOwn(dest, n, name == itself) }), nil
}

package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"handout/manifest"
)

// Entry is what a folder holds for one destination: the tree there, what grows to take its place, or both.
type Entry struct {
	Dest     string             // absolute
	Standing *manifest.Manifest // what was published there and is kept; nil: nothing, or nothing that a trusted key signed
	Growing  *manifest.Manifest // what an unfinished run left, or fills now; nil as before
	State    State
	Bytes    int64 // of the tree at Dest, roughly what it takes on the disk
	Growth   int64 // of what lies in the staging folder, as above
	Pinned   bool  // see Pin
	// Used is when a neighbour last asked for it, or when it was published, to the hour; zero: unknown.
	Used time.Time
}

// State is what an Entry is good for.
type State string

// The states.
const (
	Complete   State = "complete"   // a tree stands there
	Unfinished State = "unfinished" // something grows; a tree may stand there too
	Remains    State = "remains"    // of a tree that is gone: see Clean
)

// List says what lies in folder dir with a staging folder beside it, in the order of names. It takes no lock and changes
// nothing, so what it sees of a running agent is a moment old.
func List(dir string, t manifest.Trust) ([]Entry, error) {
	abs, root, err := openFolder(dir)
	if err != nil {
		return nil, wrap(err, "list", dir)
	}
	defer root.Close()
	bases, err := keptNames(root)
	if err != nil {
		return nil, wrap(err, "list", abs)
	}
	var list []Entry
	for _, base := range bases {
		e, err := look(root, abs, base, t)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, wrap(err, "look at", filepath.Join(abs, base))
		}
		list = append(list, e)
	}
	return list, nil
}

func openFolder(dir string) (abs string, root *os.Root, err error) {
	if abs, err = filepath.Abs(dir); err != nil {
		return "", nil, err
	}
	root, err = os.OpenRoot(abs)
	return abs, root, err
}

// keptNames are the destinations in a folder that have a staging folder beside them, in order.
func keptNames(root *os.Root) (bases []string, err error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	for _, name := range names {
		base, ok := strings.CutSuffix(name, stagingSuffix)
		if base, dot := strings.CutPrefix(base, "."); ok && dot && base != "" {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases, err
}

func look(parent *os.Root, dir, base string, t manifest.Trust) (Entry, error) {
	e := Entry{Dest: filepath.Join(dir, base)}
	stage, err := openWithin(parent, stagingName(base))
	if err != nil {
		return e, err
	}
	defer stage.Close()
	e.Standing, _ = readManifest(stage, standingName, t)
	e.Growing, _ = readManifest(stage, growingName, t)
	e.Pinned = isThere(stage, pinName)
	if fi, err := stage.Lstat(usedName); err == nil && fi.ModTime().Before(time.Now().Add(time.Hour)) { // else of a wrong clock
		e.Used = fi.ModTime()
	}
	switch stands := isThere(parent, base); {
	case isThere(stage, treeName):
		e.State = Unfinished
	case stands && isThere(stage, standingName):
		e.State = Complete
	default:
		e.State = Remains
	}
	if e.State != Remains {
		e.Bytes, err = standingBytes(parent, base, e.Standing)
	}
	if err == nil && e.State != Complete {
		e.Growth, err = diskUse(parent, stagingName(base))
	}
	return e, err
}

// standingBytes is the room a tree takes; one of a known package is not walked through.
func standingBytes(parent *os.Root, base string, m *manifest.Manifest) (int64, error) {
	if !isThere(parent, base) {
		return 0, nil
	}
	if m != nil {
		return m.Length, nil
	}
	return diskUse(parent, base)
}

// diskUse adds up what the files under name take on the disk; symlinks are not followed. What goes meanwhile doesn't count.
func diskUse(root *os.Root, name string) (bytes int64, err error) {
	err = fs.WalkDir(root.FS(), name, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if fi, err := d.Info(); err == nil {
			bytes += allocated(fi)
		}
		return nil
	})
	return bytes, err
}

func isThere(root *os.Root, name string) bool {
	_, err := root.Lstat(name)
	return err == nil
}

func readManifest(root *os.Root, name string, t manifest.Trust) (*manifest.Manifest, error) {
	raw, err := readAtMost(root, name, manifest.MaxSize)
	if err != nil {
		return nil, err
	}
	return manifest.Open(raw, t)
}

// Disk says how large the disk is that dir lies on and how much this user may still write to it, in bytes; -1: it does not
// say.
func Disk(dir string) (size, free int64, err error) {
	abs, root, err := openFolder(dir)
	if err != nil {
		return -1, -1, wrap(err, "look at", abs)
	}
	defer root.Close()
	return diskSize(root), freeSpace(root), nil
}

// Pin keeps a package in its cache, however scarce the room becomes, or lets it go again. It needs no lock, so it may be
// called while an agent runs. fs.ErrNotExist: no package is kept at dest.
func Pin(dest string, pinned bool) error {
	stage, err := openBeside(dest)
	if err != nil {
		return explain(err, "pin", dest)
	}
	defer stage.Close()
	if !pinned {
		err = stage.Remove(pinName)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return explain(err, "unpin", dest)
	}
	return explain(touch(stage, pinName, time.Now()), "pin", dest)
}

// touch makes an empty file, or gives it the time now.
func touch(root *os.Root, name string, now time.Time) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return root.Chtimes(name, now, now)
}

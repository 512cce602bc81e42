package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"handout/manifest"
)

// Occupied is the ErrExists of a destination: what is there, and what would take its place.
type Occupied struct {
	Dest  string
	Holds string // as "holds tools 1"
	Comes string // the package that was to go there: "tools 2"
	Same  bool   // it is this package that stands there, but not as it was published
}

func (o *Occupied) Error() string { return o.Dest + " " + o.Holds }

// Is lets it be asked for as ErrExists.
func (o *Occupied) Is(target error) bool { return target == ErrExists }

func title(m *manifest.Manifest) string { return strings.TrimSpace(m.Name + " " + m.Version) }

// occupiedBy says what is at the destination; v is what was seen of it, nil: it is no folder of a package.
func (t *Tree) occupiedBy(v *view) *Occupied {
	o := &Occupied{Dest: t.dest, Comes: title(t.m)}
	known := t.knownThere()
	files, right := 0, 0
	if v != nil {
		for _, i := range t.goal.members {
			files++
			if v.present(i) {
				right++
			}
		}
	}
	switch fi, err := t.parent.Lstat(t.base); {
	case err != nil:
		o.Holds = "holds something that can't be looked at"
	case fi.Mode().IsRegular() && t.m.Single && known == nil:
		o.Holds = "is another file than that of " + o.Comes
	case !fi.IsDir() && known == nil:
		o.Holds = "is " + kindOf(fi.Mode())
	case t.m.Single && known == nil:
		o.Holds = fmt.Sprintf("is a folder, and %s is one file", o.Comes)
	case known != nil && known.InfoHash == t.m.InfoHash && t.o.Only != nil:
		o.Holds = fmt.Sprintf("holds more of %s than the selected part", o.Comes)
	case known != nil && known.InfoHash == t.m.InfoHash:
		o.Holds, o.Same = fmt.Sprintf("holds %s, but not as it was published", o.Comes), true
	case known != nil:
		o.Holds = "holds " + title(known)
	case right > 0 && right == files && v != nil && len(v.Extra) > 0 && t.o.Only != nil:
		o.Holds = fmt.Sprintf("holds more of %s than the selected part: %s", o.Comes, some(v.Extra))
	case right > 0:
		o.Holds = fmt.Sprintf("holds %d of the %d files of %s as far as names and sizes tell, and what is not of it", right, files, o.Comes)
	default:
		o.Holds = "holds files that are of no package known here: " + some(t.namesThere())
	}
	return o
}

// knownThere is the package that a kept record says lies at the destination; nil: none is known.
func (t *Tree) knownThere() *manifest.Manifest {
	beside, err := openWithin(t.around, t.stageName)
	if err != nil {
		return nil
	}
	defer beside.Close()
	m, err := readManifest(beside, standingName, manifest.Trust{AllowUnsigned: true})
	if err != nil {
		return nil
	}
	return m
}

func (t *Tree) namesThere() (names []string) {
	dest, err := openWithin(t.parent, t.base)
	if err != nil {
		return nil
	}
	defer dest.Close()
	all, _ := namesIn(dest, ".")
	for _, name := range all {
		if !isOwn(dest, name, t.base == itself) {
			names = append(names, name)
		}
	}
	return names
}

// some names the first of many.
func some(names []string) string {
	const enough = 3
	if len(names) <= enough {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:enough], ", "), len(names)-enough)
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a file"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	default:
		return "neither a file nor a folder"
	}
}

// unreachable says why nothing can be made beside a destination, where the reason is plain; else it is err.
func unreachable(dest string, err error) error {
	there := filepath.Dir(dest)
	fi, err2 := os.Stat(there)
	for ; errors.Is(err2, fs.ErrNotExist) || errors.Is(err2, errNotFolder) || isNotFolder(err2); fi, err2 = os.Stat(there) {
		if link := refuseLink(there); link != nil {
			return fmt.Errorf("%s: %w", dest, link)
		}
		if filepath.Dir(there) == there {
			break
		}
		there = filepath.Dir(there)
	}
	missing := ""
	if there != filepath.Dir(dest) {
		missing = fmt.Sprintf(" (%s is not there, and can't be made)", filepath.Dir(dest))
	}
	switch {
	case err2 == nil && !fi.IsDir():
		return fmt.Errorf("%w: %s: %s is a file, not a folder", ErrNotWritable, dest, there)
	case isReadOnly(err):
		return fmt.Errorf("%w: %s is on a read-only file system%s: mount it for writing, or choose another place", ErrNotWritable, there, missing)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %s%s: a package is put together beside its destination, so the folder around it must be writable for this user, "+
			"or %s must be there and be this user's own", ErrNotWritable, there, missing, dest)
	}
	return err
}

// nodesFor is ErrNoSpace if so many files and folders can't be made on the file system that folder is on; tree, in folder, has
// some of them already.
func nodesFor(folder *os.Root, tree string, nodes int64) error {
	free := freeNodes(folder)
	if free < 0 || free >= nodes {
		return nil
	}
	fs.WalkDir(folder.FS(), path.Clean(tree), func(string, fs.DirEntry, error) error {
		nodes--
		return nil
	})
	if free < nodes {
		return fmt.Errorf("%w: %d files and folders to come, %d can still be made in %s, whatever their size (df -i)",
			ErrNoSpace, nodes, free, folder.Name())
	}
	return nil
}

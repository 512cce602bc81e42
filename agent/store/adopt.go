package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrForeign: a staging folder lies there that somebody else made, or could have put something into.
var ErrForeign = errors.New("a staging folder that others can write to is not used")

// closed is an error if the staging folder name in parent, or what is in it, is not this user's own: whoever made it
// beforehand, in a folder where everybody may, would own the tree that is published from it. What is judged was opened, so
// that it can't be exchanged.
//
// Some file systems know one owner only, and on Windows what is made in a folder may be open to whom that is open to: a folder
// that this user makes there now would look the same, and nothing can be told.
func closed(parent, opened *os.Root, name string) error {
	usual := usualIn(parent)
	fi, err := opened.Stat(".")
	if err != nil {
		return err
	}
	where := filepath.Join(parent.Name(), name)
	if err := mine(where, fi, 0); err != nil && !isUsual(err, usual()) {
		return foreign(where, err)
	}
	return fs.WalkDir(opened.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return nil // what can't be read is met again
		}
		fi, err := d.Info()
		if err != nil {
			return nil
		}
		at := filepath.Join(where, filepath.FromSlash(path))
		// What is published may be open to others, and a file of the last version have two names: nobody gets at them here.
		if err := owner(at, fi); err != nil && !isUsual(err, usual()) {
			return foreign(at, err)
		}
		return nil
	})
}

func foreign(where string, err error) error {
	return fmt.Errorf("%w: %w: %s %w. Remove it if it is of no use, or have the tree grow elsewhere (--stage)", ErrNotWritable, ErrForeign, where, err)
}

func isUsual(err, usual error) bool { return usual != nil && err.Error() == usual.Error() }

// usualIn is what is wrong with a folder that this user makes in parent now; it is made when that is first asked.
func usualIn(parent *os.Root) func() error {
	var usual error
	asked := false
	return func() error {
		if asked {
			return usual
		}
		asked = true
		name := ".probe-" + newToken() + stagingSuffix
		if parent.Mkdir(name, 0o700) != nil {
			return nil
		}
		defer parent.Remove(name)
		if fi, err := parent.Lstat(name); err == nil {
			usual = mine(filepath.Join(parent.Name(), name), fi, 0)
		}
		return usual
	}
}

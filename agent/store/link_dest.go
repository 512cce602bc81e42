package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrLink: a destination, or something above it that leads nowhere, is a symbolic link. Nothing is ever put in its place.
var ErrLink = errors.New("is a symbolic link")

// Follow is where a destination is that may be a symbolic link, or on Windows a junction: where it leads, though nothing may
// be there yet. Without follow a link is ErrLink. Links above the destination are followed as by any other program.
func Follow(dest string, follow bool) (string, error) {
	abs, err := absolute(dest)
	if err != nil {
		return "", err
	}
	const longest = 40 // links one behind the other, as Linux takes them
	for range longest {
		err := refuseLink(abs)
		if err == nil {
			return abs, nil
		}
		if !follow || !errors.Is(err, ErrLink) {
			return abs, err
		}
		target, err := os.Readlink(abs)
		if err != nil {
			return abs, err
		}
		if !filepath.IsAbs(target) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
			if err != nil {
				return abs, err
			}
			target = filepath.Join(dir, target)
		}
		abs = filepath.Clean(target)
	}
	return abs, fmt.Errorf("%s %w to a link, and so on without end", dest, ErrLink)
}

// absolute is filepath.Abs that takes the working directory as what it is: a shell says by which link one came there.
func absolute(dest string) (string, error) {
	if filepath.IsAbs(dest) {
		return filepath.Clean(dest), nil
	}
	abs, err := filepath.Abs(".")
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil || filepath.VolumeName(dest) != "" || dest != "" && os.IsPathSeparator(dest[0]) {
		return filepath.Abs(dest)
	}
	return filepath.Join(abs, dest), nil
}

// refuseLink is ErrLink if path is a link, and says where it leads.
func refuseLink(path string) error {
	fi, err := os.Lstat(path)
	if err != nil || fi.Mode().Type() != fs.ModeSymlink && !isJunction(path, fi) {
		return nil
	}
	target, err := os.Readlink(path)
	if err != nil {
		return fmt.Errorf("%s %w that can't be read: %w", path, ErrLink, err)
	}
	leads := ""
	switch fi, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		leads = ", where nothing is"
	case err != nil:
		leads = ", where nothing can be reached"
	case !fi.IsDir():
		leads = ", which is a file"
	}
	return fmt.Errorf("%s %w to %s%s", path, ErrLink, target, leads)
}

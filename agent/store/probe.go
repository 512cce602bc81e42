package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Probe tells whether a folder, which need not be there yet, could be written by this user: how much in bytes, -1 if the
// file system doesn't say, and which folder above it is there.
func Probe(dir string) (free int64, there string, err error) {
	if there, err = filepath.Abs(dir); err != nil {
		return 0, dir, err
	}
	for {
		info, err := os.Stat(there)
		if err == nil && !info.IsDir() {
			return 0, there, fmt.Errorf("%w: %s is no folder", ErrNotWritable, there)
		}
		if err == nil {
			break
		}
		above := filepath.Dir(there)
		if !errors.Is(err, fs.ErrNotExist) || above == there {
			return 0, there, err
		}
		there = above
	}
	root, err := os.OpenRoot(there)
	if err != nil {
		return 0, there, err
	}
	defer root.Close()
	f, err := os.CreateTemp(there, ".handout-probe-*")
	if err != nil {
		return 0, there, fmt.Errorf("%w: %w", ErrNotWritable, err)
	}
	err = errors.Join(f.Close(), os.Remove(f.Name()))
	return freeSpace(root), there, err
}

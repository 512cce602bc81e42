package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// checkTree says why files and folders cannot make one tree, or nil. Build asks before it hashes, Open before it
// believes. What holds afterwards: both lists ascend by path, no path comes twice, every parent is a listed folder
// (so nothing lies under a file or a symlink), no symlink leads out of the tree, and, unless waived, all of it can
// exist on Windows. Faults that a publisher's tree may have at this point go to fault.
func checkTree(files []File, dirs []Dir, windowsWaived bool, fault onFault) error {
	for i := range files {
		if err := CheckPath(files[i].Path); err != nil {
			return err
		}
		if files[i].Target != "" {
			if err := checkTarget(files[i].Path, files[i].Target); err != nil {
				return err
			}
		}
		if i > 0 {
			if err := checkOrder(files[i-1].Path, files[i].Path); err != nil {
				return err
			}
		}
	}
	for i := range dirs {
		if err := CheckPath(dirs[i].Path); err != nil {
			return err
		}
		if i > 0 {
			if err := checkOrder(dirs[i-1].Path, dirs[i].Path); err != nil {
				return err
			}
		}
	}
	if err := checkParents(files, dirs); err != nil {
		return err
	}
	astray := false
	err := checkLinks(files, func(s string) string { return s }, func(f *Fault) error {
		astray = true
		return fault(f)
	})
	if err != nil || windowsWaived {
		return err
	}
	return checkTreeWindows(files, dirs, astray, fault)
}

func checkOrder(before, path string) error {
	switch c := cmp.Compare(before, path); {
	case c == 0:
		return fmt.Errorf("path %s: it comes twice", quote(path))
	case c > 0:
		return fmt.Errorf("path %s: it comes after %s; paths must ascend", quote(path), quote(before))
	}
	return nil
}

func checkParents(files []File, dirs []Dir) error {
	known := "" // the folder found last: most files lie beside the one before
	check := func(path string) error {
		folder := parent(path)
		if folder == "" || folder == known {
			return nil
		}
		if findDir(dirs, folder) {
			known = folder
			return nil
		}
		// The nearest cause makes the clearest message: something in the way is worse than something forgotten.
		for at := folder; at != ""; at = parent(at) {
			if i, ok := findFile(files, at); ok && files[i].Target != "" {
				return fmt.Errorf("path %s: it lies under the symlink %s", quote(path), quote(at))
			} else if ok {
				return fmt.Errorf("path %s: it lies under the file %s", quote(path), quote(at))
			}
		}
		return fmt.Errorf("path %s: its folder %s is not listed", quote(path), quote(folder))
	}
	for i := range files {
		if err := check(files[i].Path); err != nil {
			return err
		}
	}
	for i := range dirs {
		if err := check(dirs[i].Path); err != nil {
			return err
		}
		if _, ok := findFile(files, dirs[i].Path); ok {
			return fmt.Errorf("path %s: it is a file and a folder", quote(dirs[i].Path))
		}
	}
	return nil
}

func findFile(files []File, path string) (int, bool) {
	return slices.BinarySearchFunc(files, path, func(f File, path string) int { return cmp.Compare(f.Path, path) })
}

func findDir(dirs []Dir, path string) bool {
	_, ok := slices.BinarySearchFunc(dirs, path, func(d Dir, path string) int { return cmp.Compare(d.Path, path) })
	return ok
}

// checkTreeWindows holds a tree that is otherwise right against Windows: each name, each symlink's target, and names
// that differ only in case, also on the way through symlinks, unless some of these lead astray anywhere.
func checkTreeWindows(files []File, dirs []Dir, astray bool, fault onFault) error {
	seen := make(map[string]string, len(files)+len(dirs))
	check := func(path string) error {
		err := CheckWindows(path)
		if err == nil {
			key := fold(path)
			other, twin := seen[key]
			if !twin {
				seen[key] = path
				return nil
			}
			astray = true // there is no telling which of two a symlink would lead through
			err = fmt.Errorf("path %s: %w: it differs from %s only in case", quote(path), ErrWindowsName, quote(other))
		}
		return fault(&Fault{BadOnWindows, path, err})
	}
	for i := range dirs { // folders first: the message then names the folders, not what lies in them
		if err := check(dirs[i].Path); err != nil {
			return err
		}
	}
	for i := range files {
		if err := check(files[i].Path); err != nil {
			return err
		}
		for element := range strings.SplitSeq(files[i].Target, "/") {
			if element == "." || element == ".." {
				continue
			}
			if reason := badOnWindows(element); reason != "" {
				err := fmt.Errorf("symlink %s to %s: %w: %s", quote(files[i].Path), quote(files[i].Target), ErrWindowsName, reason)
				if err := fault(&Fault{BadOnWindows, files[i].Path, err}); err != nil {
					return err
				}
				break
			}
		}
	}
	if astray {
		return nil
	}
	return checkLinks(files, fold, func(f *Fault) error {
		f.Kind, f.err = BadOnWindows, fmt.Errorf("%w: %w", ErrWindowsName, f.err)
		return fault(f)
	})
}

// CheckWindows says why the package cannot be laid out on Windows, or nil. It can fail only where NonWindowsNames is
// set: whoever writes a tree on Windows asks first. The error wraps ErrWindowsName and names the path.
func (m *Manifest) CheckWindows() error {
	if !m.NonWindowsNames {
		return nil // Open has looked
	}
	if err := CheckWindows(m.Root); err != nil {
		return err
	}
	return checkTreeWindows(m.Files, m.Dirs, false, firstFault)
}

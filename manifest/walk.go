package manifest

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// found is what lies on the publisher's disk behind Manifest.Files: the same index, the state it was found in.
type found struct {
	path string // for the operating system
	info fs.FileInfo
}

// walk fills in m.Single, m.Files and m.Dirs and returns what was found for the files. Nothing is read but names,
// symlinks and metadata. The tree's own name may be a symlink, nothing below it is followed.
func walk(ctx context.Context, tree string, m *Manifest) ([]found, error) {
	info, err := os.Stat(tree)
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() {
		m.Single = true
		m.Files = []File{describeFile(m.Root, info)}
		return []found{{tree, info}}, nil
	}
	if !info.IsDir() {
		return nil, unfit(tree, info)
	}
	if tree, err = filepath.EvalSymlinks(tree); err != nil {
		return nil, err
	}
	w := walker{ctx: ctx, m: m, found: map[string]found{}}
	if err := w.folder(tree, ""); err != nil {
		return nil, err
	}
	return w.sort(), nil
}

type walker struct {
	ctx   context.Context
	m     *Manifest
	found map[string]found
}

// folder takes in what lies in the folder at full, whose path in the tree is path.
func (w *walker) folder(full, path string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(full)
	if err != nil {
		return err
	}
	for _, e := range entries {
		inside, _ := step(path, e.Name())
		if err := w.entry(filepath.Join(full, e.Name()), inside); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(full, path string) error {
	// Checked here, although checkTree does it again: what follows is limited to paths that are.
	if err := CheckPath(path); err != nil {
		return err
	}
	// Lstat and not what the listing says: on Windows that may be out of date.
	info, err := os.Lstat(full)
	if err != nil {
		return err
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		if len(w.m.Dirs) == MaxDirs {
			return fmt.Errorf("more than %d folders", MaxDirs)
		}
		w.m.Dirs = append(w.m.Dirs, Dir{Path: path, Mode: info.Mode().Perm(), ModTime: storableTime(info.ModTime())})
		return w.folder(full, path)
	case 0, fs.ModeSymlink:
		if len(w.m.Files) == MaxFiles {
			return fmt.Errorf("more than %d files", MaxFiles)
		}
		f := describeFile(path, info)
		if info.Mode().Type() == fs.ModeSymlink {
			target, err := os.Readlink(full)
			if err != nil {
				return err
			}
			f.Target, f.Length = filepath.ToSlash(target), 0
			if f.Target == "" || filepath.IsAbs(target) {
				return fmt.Errorf("symlink %s to %s: the target is absolute", quote(path), quote(target))
			}
		}
		w.m.Files = append(w.m.Files, f)
		w.found[path] = found{full, info}
		return nil
	}
	return unfit(path, info)
}

func describeFile(path string, info fs.FileInfo) File {
	return File{Path: path, Length: info.Size(), Mode: info.Mode().Perm(), ModTime: storableTime(info.ModTime())}
}

func unfit(path string, info fs.FileInfo) error {
	return fmt.Errorf("path %s: it is neither a regular file nor a folder nor a symlink but %s",
		quote(path), kind(info.Mode()))
}

func kind(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return fmt.Sprintf("of type %v", mode.Type())
}

// sort puts files and folders in the order of the bytes of their whole paths, which is not the order of a walk:
// "a-b" comes before "a/b".
func (w *walker) sort() []found {
	slices.SortFunc(w.m.Dirs, func(a, b Dir) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(w.m.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	list := make([]found, len(w.m.Files))
	for i := range w.m.Files {
		list[i] = w.found[w.m.Files[i].Path]
	}
	return list
}

package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

// isVolume reports whether a folder is where a volume is mounted.
func isVolume(_ *os.Root, abs, _ string) bool {
	fi, err := os.Lstat(abs)
	return err == nil && isMountedFolder(abs, fi)
}

// isMountedFolder reports whether a folder is where a volume is mounted: a mount point in the words of Windows, as a junction
// is, but one that names a volume.
func isMountedFolder(path string, fi fs.FileInfo) bool {
	return isReparse(fi) && strings.Contains(strings.ToLower(targetOf(path)), `volume{`)
}

// isJunction reports whether a folder is a junction to another one.
func isJunction(path string, fi fs.FileInfo) bool {
	return isReparse(fi) && targetOf(path) != "" && !isMountedFolder(path, fi)
}

func isReparse(fi fs.FileInfo) bool { return fi.Mode()&fs.ModeIrregular != 0 }

func targetOf(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	return target
}

// mayWrite reports whether this user may make entries in a folder: only trying it tells.
func mayWrite(folder *os.Root) bool {
	f, err := os.CreateTemp(folder.Name(), ".handout-probe-*")
	if err != nil {
		return false
	}
	f.Close()
	return os.Remove(f.Name()) == nil
}

// mountsIn: RemoveAll removes a junction or a mounted folder, and not what is in it.
func mountsIn(string) []string { return nil }

// workingFolders is the working directory of this process. Those of others are not told.
func workingFolders() []string {
	dir, err := os.Getwd()
	if err != nil {
		return nil
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return []string{dir}
}

// isImmovable: a folder that can't be renamed has something open in it, and mostly not for long.
func isImmovable(err error) bool { return isCrossDevice(err) }

func isCrossDevice(err error) bool { return errors.Is(err, windows.ERROR_NOT_SAME_DEVICE) }

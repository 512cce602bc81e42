package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/windows"
)

// patience is how long a rename waits for whoever has one of the files open: virus scanners look into each new one.
const patience = 2 * time.Second

// replace renames from to to, in one folder, and returns when a power cut can't undo it.
func replace(from, to string) error {
	const flags = windows.MOVEFILE_REPLACE_EXISTING | windows.MOVEFILE_WRITE_THROUGH
	wide, err := widen(from, to)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	for end, pause := time.Now().Add(patience), time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err = windows.MoveFileEx(wide[0], wide[1], flags)
		if err == nil || !isPassing(err) || isFolder(to) || time.Now().After(end) {
			break
		}
		time.Sleep(pause)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	syncFolder(filepath.Dir(to)) // WRITE_THROUGH waits for the file; not every file system waits for its name too
	return nil
}

// isPassing: somebody has the file open, perhaps only a virus scanner.
func isPassing(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_LOCK_VIOLATION) ||
		errors.Is(err, windows.ERROR_ACCESS_DENIED)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// syncFolder flushes a folder. Where the user may not, the journal of NTFS has its names in order all the same.
func syncFolder(dir string) {
	wide, err := widen(dir)
	if err != nil {
		return
	}
	h, err := windows.CreateFile(wide[0], windows.GENERIC_WRITE,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return
	}
	windows.FlushFileBuffers(h)
	windows.CloseHandle(h)
}

// longest is how long a path may be that goes without the prefix of long ones (a folder: MAX_PATH less an 8.3 name).
const longest = 247

func widen(paths ...string) (wide []*uint16, err error) {
	for _, p := range paths {
		if p, err = filepath.Abs(p); err != nil {
			return nil, err
		}
		if len(p) > longest && !strings.HasPrefix(p, `\\?\`) {
			if unc, ok := strings.CutPrefix(p, `\\`); ok {
				p = `\\?\UNC\` + unc
			} else {
				p = `\\?\` + p
			}
		}
		w, err := windows.UTF16PtrFromString(p)
		if err != nil {
			return nil, err
		}
		wide = append(wide, w)
	}
	return wide, nil
}

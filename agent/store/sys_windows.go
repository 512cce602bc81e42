package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"handout/manifest"
)

// modeAtOnce: a read-only file can no longer be flushed, so the attribute comes last.
const modeAtOnce = false

// timeGrain is the finest difference between modification times.
const timeGrain = 100 * time.Nanosecond

func checkNames(m *manifest.Manifest) error { return m.CheckWindows() }

// makeSparse keeps a write near the end of a large file from filling all before it with zeros. A file system that knows
// no sparse files does without.
func makeSparse(f *os.File, length int64) {
	const large = 1 << 20
	if length >= large {
		var n uint32
		windows.DeviceIoControl(windows.Handle(f.Fd()), windows.FSCTL_SET_SPARSE, nil, 0, nil, 0, &n, nil)
	}
}

// isHole: a hole is read as quickly as it is asked for.
func isHole(*os.File, int64, int64) bool { return false }

// sameMode compares the one bit Windows has, the read-only attribute.
func sameMode(a, b fs.FileMode) bool { return a&0o200 == b&0o200 }

func modeless(*os.Root) bool { return true }

// openAtOnce: nothing that has a name in a folder is waited for.
const openAtOnce = 0

// cloneFile: only ReFS could, by the cluster.
func cloneFile(_, _ *os.File) error { return errors.ErrUnsupported }

// isOursAlone: neither a file's owner nor the number of its names is to be had without opening it once more; it is copied.
func isOursAlone(fs.FileInfo) bool { return false }

func hasGroupOf(*os.Root, fs.FileInfo) bool { return true }

func setFileTime(f *os.File, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	ft := windows.NsecToFiletime(t.UnixNano())
	return windows.SetFileTime(windows.Handle(f.Fd()), nil, &ft, &ft)
}

func setLinkTime(*os.Root, string, time.Time) error { return nil }

func symlinkTarget(target string) string { return filepath.FromSlash(target) }

func explainSymlink(err error) error {
	if errors.Is(err, windows.ERROR_PRIVILEGE_NOT_HELD) {
		return fmt.Errorf("%w: symbolic links need administrator rights or Developer Mode: %w", ErrNotWritable, err)
	}
	return err
}

// renameSpot renames by paths beneath the destination's folder: a folder in which we hold something open keeps its name.
func renameSpot(parent *os.Root, from, to spot) error { return parent.Rename(from.path, to.path) }

// syncFolder has nothing to do: NTFS keeps its names in order by its own journal.
func syncFolder(*os.Root) error { return nil }

// syncFiles flushes files of the tree. Flushing the volume at once would take an administrator, and flushing the disk's own
// cache for each of many small files takes minutes; so all are written out, and the last brings the disk's cache along.
func (p *place) syncFiles(files []int, _ bool) error {
	for i, file := range files {
		h, err := p.writer(file)
		if err != nil {
			return err
		}
		if i == len(files)-1 || !writeOut(h.v) {
			err = h.v.Sync()
		}
		p.files.release(h)
		if err != nil {
			return err
		}
	}
	return nil
}

var ntFlushBuffersFileEx = windows.NewLazySystemDLL("ntdll.dll").NewProc("NtFlushBuffersFileEx")

// writeOut brings a file's data and metadata to the disk, but perhaps only into its cache. It reports whether it could
// (since Windows 8).
func writeOut(f *os.File) bool {
	const flushFlagsNoSync = 2
	if ntFlushBuffersFileEx.Find() != nil {
		return false
	}
	var status windows.IO_STATUS_BLOCK
	failed, _, _ := ntFlushBuffersFileEx.Call(f.Fd(), flushFlagsNoSync, 0, 0, uintptr(unsafe.Pointer(&status)))
	return failed == 0
}

// syncAll has nothing to do: the contents were flushed file by file, the rest is in NTFS's journal.
func (p *place) syncAll() error { return nil }

func canSyncWhole(*os.Root) bool { return false }

func freeSpace(folder *os.Root) int64 {
	name, err := windows.UTF16PtrFromString(folder.Name())
	if err != nil {
		return -1
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return -1
	}
	return int64(free)
}

// freeNodes: NTFS makes room for its files as they come.
func freeNodes(*os.Root) int64 { return -1 }

func isNotFolder(err error) bool { return errors.Is(err, windows.ERROR_DIRECTORY) }

// diskSize is the size of the volume folder lies on, in bytes; -1 if it does not say.
func diskSize(folder *os.Root) int64 {
	name, err := windows.UTF16PtrFromString(folder.Name())
	if err != nil {
		return -1
	}
	var size uint64
	if err := windows.GetDiskFreeSpaceEx(name, nil, &size, nil); err != nil {
		return -1
	}
	return int64(size)
}

// allocated is what a file takes on the disk, in bytes: at most, since a sparse file takes less.
func allocated(fi fs.FileInfo) int64 { return fi.Size() }

func isNoSpace(err error) bool {
	return means(err, windows.ERROR_DISK_FULL) || means(err, windows.ERROR_HANDLE_DISK_FULL) ||
		means(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

func isBusy(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_LOCK_VIOLATION)
}

func isReadOnly(err error) bool { return means(err, windows.ERROR_WRITE_PROTECT) }

// isPassing: somebody has a file open, perhaps only a virus scanner.
func isPassing(err error) bool { return isBusy(err) || errors.Is(err, windows.ERROR_ACCESS_DENIED) }

// inUse finds the file because of which path could not be renamed.
func inUse(path string, err error) error {
	busy := ""
	filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		wide, err := windows.UTF16PtrFromString(name)
		if err != nil {
			return nil
		}
		h, err := windows.CreateFile(wide, windows.DELETE, 0, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
		if isBusy(err) {
			busy = name
			return fs.SkipAll
		}
		if err == nil {
			windows.CloseHandle(h)
		}
		return nil
	})
	if busy == "" {
		return err
	}
	if who := holders(busy); len(who) > 0 {
		return fmt.Errorf("%s: %w by %s: %w", busy, ErrInUse, strings.Join(who, ", "), err)
	}
	return fmt.Errorf("%s: %w: %w", busy, ErrInUse, err)
}

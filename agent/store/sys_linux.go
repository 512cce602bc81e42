package store

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setFileTime sets the modification time of an open file; os has that only by name.
func setFileTime(f *os.File, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	times := [2]unix.Timespec{ts, ts}
	if _, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, f.Fd(), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// syncFew is how many files are flushed one by one; beyond it one call for the whole file system costs less.
const syncFew = 16

// syncFiles flushes files of the tree and, if there are new ones among them, their names. It need not leave the rest of
// the file system alone.
func (p *place) syncFiles(files []int, names bool) error {
	if names || len(files) > syncFew {
		return p.syncAll()
	}
	for _, file := range files {
		if err := p.syncFile(file); err != nil {
			return err
		}
	}
	return nil
}

// syncAll flushes the whole tree with all names and times.
func (p *place) syncAll() error {
	f, err := p.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

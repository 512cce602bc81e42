//go:build !windows

package store

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"handout/manifest"
)

// modeAtOnce: a file may get its mode as soon as it is written.
const modeAtOnce = true

// timeGrain is the finest difference between modification times.
const timeGrain = time.Nanosecond

func checkNames(*manifest.Manifest) error { return nil }

// makeSparse has nothing to do: a file's holes take no space here.
func makeSparse(*os.File, int64) {}

func sameMode(a, b fs.FileMode) bool { return a.Perm() == b.Perm() }

// sameExec compares what a tree's meaning depends on: whether a file can be run. The other bits depend on the umask of
// whoever made the tree.
func sameExec(a, b fs.FileMode) bool { return (a&0o111 != 0) == (b&0o111 != 0) }

// setLinkTime sets the modification time of a symlink itself.
func setLinkTime(folder *os.Root, name string, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	f, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(f.Fd()), name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

func symlinkTarget(target string) string { return target }

func explainSymlink(err error) error { return err }

func syncFolder(folder *os.Root) error {
	f, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// freeSpace is what this user may still write to the file system folder lies on, in bytes; -1 if it does not say.
func freeSpace(folder *os.Root) int64 {
	f, err := folder.Open(".")
	if err != nil {
		return -1
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil || st.Blocks == 0 {
		return -1
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isBusy(err error) bool { return errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ETXTBSY) }

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// isPassing: here a rename that failed will fail again.
func isPassing(error) bool { return false }

func inUse(_ string, err error) error { return err }

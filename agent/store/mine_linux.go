package store

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// mine is an error if a file or folder belongs to another user, if others may write to it (an access list shows in the
// group's bits) whom mode does not let, or if a file has a second name.
func mine(_ string, fi fs.FileInfo, mode fs.FileMode) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !ok || int(st.Uid) != os.Geteuid():
		return errors.New("belongs to another user")
	case fi.Mode()&0o022&^mode != 0:
		return errors.New("can be written by other users")
	case fi.Mode().IsRegular() && st.Nlink != 1:
		return errors.New("has a second name (a hard link)")
	}
	return nil
}

// owner is an error if a file or folder belongs to another user.
func owner(_ string, fi fs.FileInfo) error {
	if st, ok := fi.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return errors.New("belongs to another user")
	}
	return nil
}

//go:build unix

package fileorigin

import (
	"errors"
	"syscall"
)

// isNotDir: a file stands where the path has a folder.
func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// isBusy: the file system says that it may be able to later, as network mounts do.
func isBusy(err error) bool {
	for _, e := range []syscall.Errno{syscall.EIO, syscall.ESTALE, syscall.ETIMEDOUT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
		syscall.ENETUNREACH, syscall.ENOTCONN, syscall.ECONNRESET, syscall.EAGAIN, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

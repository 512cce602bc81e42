package fileorigin

import (
	"errors"
	"syscall"
)

// System error codes of [MS-ERREF] section 2.2 that package syscall doesn't name.
const (
	errTooManyOpenFiles   syscall.Errno = 4
	errSharingViolation   syscall.Errno = 32
	errLockViolation      syscall.Errno = 33
	errRemNotList         syscall.Errno = 51
	errBadNetPath         syscall.Errno = 53
	errUnexpectedNetError syscall.Errno = 59
	errNetNameDeleted     syscall.Errno = 64
	errSemTimeout         syscall.Errno = 121
	errDirectory          syscall.Errno = 267
	errNetworkUnreachable syscall.Errno = 1231
	errHostUnreachable    syscall.Errno = 1232
)

// isNotDir: a file stands where the path has a folder.
func isNotDir(err error) bool { return errors.Is(err, errDirectory) }

// isBusy: the file is in use, or the server out of reach for now.
func isBusy(err error) bool {
	for _, e := range []syscall.Errno{errTooManyOpenFiles, errSharingViolation, errLockViolation, errRemNotList, errBadNetPath,
		errUnexpectedNetError, errNetNameDeleted, errSemTimeout, errNetworkUnreachable, errHostUnreachable} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

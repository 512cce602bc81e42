package manifest

import "golang.org/x/sys/unix"

// announce tells the kernel that n bytes from off of a file are about to be read, so that the disk is at work before
// anybody waits for it. It is advice: what goes wrong here goes wrong again, and is told, when the file is read.
func announce(path string, off, n int64) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	unix.Fadvise(fd, off, n, unix.FADV_WILLNEED)
	unix.Close(fd)
}

package swarm

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const canFit = true

// receiveBuffer sets SO_RCVBUF. What can't be set stays as it is.
func receiveBuffer(c syscall.RawConn, bytes int) {
	c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, bytes) })
}

// receiveWindow sets TCP_WINDOW_CLAMP: unlike a buffer that was sized, it can be taken back.
func receiveWindow(c syscall.RawConn, bytes int) {
	c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP, bytes) })
}

// roundTrip is the shortest that was measured on a connection; false: it is not known.
func roundTrip(c syscall.RawConn) (shortest time.Duration, ok bool) {
	c.Control(func(fd uintptr) {
		if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			shortest, ok = time.Duration(i.Min_rtt)*time.Microsecond, i.Min_rtt < 1<<31
		}
	})
	return shortest, ok
}

package swarm

import (
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const canFit = true

// anyWindow is more than a receive buffer can be.
const anyWindow = 1 << 30

// receiveBuffer sets SO_RCVBUF, and has the window follow it (TCP_WINDOW_CLAMP): that would stay what the first buffer
// allowed, and one neighbour's 24 Mbit/s became 13. The clamp by itself holds nothing, as the system sets it anew by the
// buffer's size. What can't be set stays as it is.
func receiveBuffer(c syscall.RawConn, bytes int) {
	c.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP, anyWindow)
	})
}

// canFreeBuffer reports whether the system has SO_BUF_LOCK (Linux 5.14).
func canFreeBuffer(c syscall.RawConn) (can bool) {
	c.Control(func(fd uintptr) {
		_, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BUF_LOCK)
		can = err == nil
	})
	return can
}

// freeBuffer has the system size a receive buffer again that was sized.
func freeBuffer(c syscall.RawConn) {
	c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BUF_LOCK, 0) })
}

// backOff has what is sent on a connection back off when something is lost, where the system would do as BBR does: that
// takes the shortest round trip it has seen, here through empty queues, for the way's length, and keeps too little on its way
// once they are full. Two machines that each read half of a package had 4 Mbit/s of 24 from each other.
func backOff(c syscall.RawConn) {
	c.Control(func(fd uintptr) {
		name, err := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err != nil || !strings.HasPrefix(name, "bbr") {
			return
		}
		if unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic") != nil { // it may be for root only
			unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
		}
	})
}

// wayOf asks the system for what it has measured and agreed on.
func wayOf(c syscall.RawConn) (w way) {
	c.Control(func(fd uintptr) {
		if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil && i.Min_rtt < 1<<31 {
			w = way{time.Duration(i.Min_rtt) * time.Microsecond, int(i.Advmss)}
		}
	})
	return w
}

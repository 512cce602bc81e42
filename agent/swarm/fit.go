package swarm

import (
	"net"
	"syscall"
	"time"

	"handout/agent/plan"
)

const (
	// fitAfter is how long a connection is watched before its receive buffer is sized, fitEvery how often that is looked at
	// then.
	fitAfter = time.Second
	fitEvery = 250 * time.Millisecond
	// fitWithin is how near the other end must be: on a longer way a buffer for a LAN would be what holds the bytes up.
	fitWithin = 10 * time.Millisecond
)

// fitted is a connection whose receive buffer follows the rate that is measured on it. Its reader is one goroutine.
type fitted struct {
	net.Conn
	raw   syscall.RawConn
	meter plan.Meter
	begun time.Time // the first byte
	next  time.Time
	size  int // 0: the system's choice
}

// Fit has a connection's receive buffer follow the rate that is measured on it, where the system lets it.
func Fit(c net.Conn) net.Conn { return fit(c, 0) }

// fitSmall is Fit of a connection that begins with a small buffer, if the other end is near.
func fitSmall(c net.Conn) net.Conn { return fit(c, plan.StartReceive) }

func fit(c net.Conn, size int) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok || !canFit {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	f := &fitted{Conn: c, raw: raw}
	if size > 0 && f.isNear() {
		f.size = size
		receiveBuffer(raw, size)
	}
	return f
}

func (f *fitted) isNear() bool {
	rtt, ok := roundTrip(f.raw)
	return ok && rtt <= fitWithin
}

// Read implements net.Conn.
func (f *fitted) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if n > 0 {
		f.look(time.Now(), n)
	}
	return n, err
}

func (f *fitted) look(now time.Time, n int) {
	if f.begun.IsZero() {
		f.begun, f.next = now, now.Add(fitAfter)
		if f.size > 0 {
			f.next = now.Add(fitEvery)
		}
	}
	f.meter.Add(now, int64(n))
	if now.Before(f.next) {
		return
	}
	f.next = now.Add(fitEvery)
	if f.size == 0 && !f.isNear() {
		return
	}
	if size := plan.ReceiveBuffer(f.meter.PerSecond(now), f.meter.Best(), f.size); size != f.size {
		f.size = size
		receiveBuffer(f.raw, size)
	}
}

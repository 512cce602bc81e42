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
	// openEvery is how often a window that opens is looked at, but for a longer way. In a third of it what a switch had saved up
	// for the link was taken for its rate.
	openEvery = 150 * time.Millisecond
	// shortestWay is what the way to the origin takes, there and back, with the queues on it.
	shortestWay = 50 * time.Millisecond
	// firstWindow is what may come before a connection can be told otherwise, in bytes. How fast that comes says nothing: a
	// switch saves up as much for a link.
	firstWindow = 64 << 10
	// fitWithin is how near the other end must be: on a longer way a buffer for a LAN would be what holds the bytes up.
	fitWithin = 10 * time.Millisecond
)

// way is what the system knows of the one to the other end; zero: nothing.
type way struct {
	shortest time.Duration // there and back
	segment  int           // bytes that come at a time
}

// isNear reports whether the other end is in the same LAN.
func (w way) isNear() bool { return w.segment > 0 && w.shortest <= fitWithin }

// fitted is a connection whose receive buffer follows the rate that is measured on it. Its reader is one goroutine.
type fitted struct {
	net.Conn
	raw   syscall.RawConn
	meter plan.Meter
	begun time.Time // the first byte
	next  time.Time
	size  int // 0: the system's choice

	window int       // the buffer while the window opens; 0: it does not
	since  time.Time // of came
	came   int       // bytes; less than none while the first window comes
}

// Fit has a connection's receive buffer follow the rate that is measured on it, where the system lets it. It begins with a
// small window, which opens as fast as a sender does, if the system takes back later what was sized.
func Fit(c net.Conn) net.Conn {
	return fit(c, func(f *fitted) {
		if canFreeBuffer(f.raw) {
			f.window, f.came = plan.StartReceive, -firstWindow
			receiveBuffer(f.raw, f.window)
		}
	})
}

// fitSmall is Fit of a neighbour's connection, which begins with a small buffer if the other end is near, and backs off in
// what it sends.
func fitSmall(c net.Conn) net.Conn {
	return fit(c, func(f *fitted) {
		backOff(f.raw)
		if wayOf(f.raw).isNear() {
			f.set(plan.StartReceive)
		}
	})
}

func fit(c net.Conn, begin func(*fitted)) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok || !canFit {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	f := &fitted{Conn: c, raw: raw}
	begin(f)
	return f
}

func (f *fitted) set(size int) {
	if size != f.size {
		f.size = size
		receiveBuffer(f.raw, size)
	}
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
		f.begun, f.since, f.next = now, now, now.Add(fitAfter)
		if f.size > 0 {
			f.next = now.Add(fitEvery)
		}
	}
	f.meter.Add(now, int64(n))
	if f.window > 0 {
		f.open(now, n)
	}
	if now.Before(f.next) {
		return
	}
	f.next = now.Add(fitEvery)
	w := wayOf(f.raw)
	if f.size == 0 && !w.isNear() {
		return
	}
	f.letGo()
	f.set(plan.ReceiveBuffer(f.meter.PerSecond(now), f.meter.Best(), w.segment, f.size))
}

// open doubles the window after each round trip in which it may have been too small.
func (f *fitted) open(now time.Time, n int) {
	if f.came += n; f.came <= 0 {
		f.since = now
	}
	took := now.Sub(f.since)
	if took < openEvery {
		return
	}
	round := max(shortestWay, wayOf(f.raw).shortest)
	if took < round {
		return
	}
	size := plan.OpenWindow(f.window, float64(f.came)/took.Seconds(), round)
	if size == 0 {
		f.letGo()
		return
	}
	f.window, f.since, f.came = size, now, 0
	receiveBuffer(f.raw, size)
}

// letGo leaves the buffer to the system.
func (f *fitted) letGo() {
	if f.window > 0 {
		f.window = 0
		freeBuffer(f.raw)
	}
}

package smborigin

import (
	"bufio"
	"encoding/binary"
	"net"
	"sync/atomic"
	"time"
)

// wire is the TCP connection under a session. It knows when something last arrived, and spares system calls: go-smb2
// writes and reads the four bytes of a message's length (MS-SMB2 2.1) by themselves, which for small files is half of
// all there is to do.
type wire struct {
	net.Conn
	opened  time.Time
	observe *observer
	heard   atomic.Int64 // nanoseconds after opened

	in  *bufio.Reader // what is longer than its buffer is read past it
	out []byte        // of a message that is not whole yet
}

// lookAhead holds any answer but those with data.
const lookAhead = 1 << 10

func newWire(c net.Conn, observe *observer) *wire {
	if observe == nil {
		observe = &observer{}
	}
	w := &wire{Conn: c, opened: time.Now(), observe: observe}
	w.in = bufio.NewReaderSize(arrivals{w}, lookAhead)
	return w
}

// arrivals reads from the connection itself.
type arrivals struct{ w *wire }

func (a arrivals) Read(p []byte) (int, error) {
	n, err := a.w.Conn.Read(p)
	if n > 0 {
		a.w.heard.Store(int64(time.Since(a.w.opened)))
		a.w.observe.arrived(p[:n])
	}
	return n, err
}

// silence is for how long nothing has arrived.
func (w *wire) silence() time.Duration { return time.Since(w.opened) - time.Duration(w.heard.Load()) }

// Read implements net.Conn, for one reader at a time.
func (w *wire) Read(p []byte) (int, error) { return w.in.Read(p) }

// Write implements net.Conn, for one writer at a time. A message goes out when all of it is here.
func (w *wire) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	if len(w.out) < 4 || len(w.out) < 4+int(binary.BigEndian.Uint32(w.out)) {
		return len(p), nil
	}
	_, err := w.Conn.Write(w.out)
	w.out = w.out[:0]
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

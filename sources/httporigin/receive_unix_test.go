//go:build unix

package httporigin

import (
	"net"
	"syscall"
	"testing"
)

func TestReceiveBuffer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := mustOpen(t, "http://"+l.Addr().String(), Options{ReceiveBuffer: 16 << 10})
	c, err := h.o.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		if err != nil || n < 16<<10 || n > 32<<10 { // Linux says twice what it was told, for its own use
			t.Errorf("%d, %v", n, err)
		}
	})
}

package networks

import (
	"net"
	"net/netip"
	"testing"
)

func TestCut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var conns Conns
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Skipf("no connection from %s here: %v", from, err)
		}
		return conns.Hold(c)
	}
	kept, lost, closed := dial("127.0.0.1"), dial("127.0.0.2"), dial("127.0.0.2")
	closed.Close()
	gone := func(local, _ netip.Addr) bool { return local == netip.MustParseAddr("127.0.0.2") }
	if n := conns.Cut(gone); n != 1 {
		t.Errorf("%d connections were cut, want 1", n)
	}
	if _, err := lost.Write([]byte("x")); err == nil {
		t.Error("a connection outlives its address")
	}
	if _, err := kept.Write([]byte("x")); err != nil {
		t.Errorf("a connection from an address that is here was cut: %v", err)
	}
	if n := conns.Cut(gone); n != 0 || len(conns.open) != 1 {
		t.Errorf("what is closed is kept in mind: %d cut, %d open", n, len(conns.open))
	}
}

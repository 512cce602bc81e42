package site

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// sockets are the port for members: TCP and UDP under one number.
type sockets struct {
	tcp *net.TCPListener
	udp *net.UDPConn
}

const (
	// maxPacket is the largest that UDP carries.
	maxPacket = 64 << 10
	// keptPackets is how many bytes may wait for this machine to read them, where the system grants so much: all members of
	// a large site may speak at once.
	keptPackets = 2 << 20
	// anyPortTries is how often a port is drawn that must be free twice.
	anyPortTries = 10
)

// openSockets opens the port; 0: any that is free.
func openSockets(port int) (s sockets, err error) {
	for try := 1; ; try++ {
		if s.tcp, err = net.ListenTCP("tcp", &net.TCPAddr{Port: port}); err != nil {
			return s, err
		}
		if s.udp, err = net.ListenUDP("udp", &net.UDPAddr{Port: s.port()}); err == nil {
			break
		}
		s.tcp.Close()
		if port != 0 || try == anyPortTries {
			return s, err
		}
	}
	for size := keptPackets; size > 0 && s.udp.SetReadBuffer(size) != nil; size /= 2 {
	}
	return s, nil
}

func (s sockets) port() int { return s.tcp.Addr().(*net.TCPAddr).Port }

func (s sockets) close() error { return errors.Join(s.tcp.Close(), s.udp.Close()) }

// FinalAdvertiseAddr is what the membership takes for this machine's address for as long as it lives. Where it really is the
// members learn from what it says of itself (whereabouts).
func (s sockets) FinalAdvertiseAddr(given string, port int) (net.IP, int, error) {
	a, err := netip.ParseAddr(given)
	if err != nil {
		return nil, 0, fmt.Errorf("this machine's address: %w", err)
	}
	return a.Unmap().AsSlice(), port, nil
}

// WriteTo sends a packet, and says when.
func (s sockets) WriteTo(b []byte, to string) (time.Time, error) {
	at, err := netip.ParseAddrPort(to)
	if err != nil {
		return time.Time{}, err
	}
	_, err = s.udp.WriteToUDPAddrPort(b, at)
	return time.Now(), err
}

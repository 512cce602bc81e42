package swarm

import (
	"net"
	"net/netip"
	"strconv"
)

// The engine takes the text of an address with a zone for no address at all. So a link-local address of IPv6 goes through it
// with its zone inside, as the index of its card in the third and fourth byte, which are zero in such addresses on the wire
// (RFC 4291 section 2.5.6); BSD's kernel does the same. Outside the engine an address is as everybody writes it.

// packed is an address as the engine has it.
func packed(a netip.Addr) netip.Addr {
	if !a.Is6() || !a.IsLinkLocalUnicast() || a.Zone() == "" {
		return a
	}
	index, err := strconv.Atoi(a.Zone())
	if err != nil {
		card, err := net.InterfaceByName(a.Zone())
		if err != nil {
			return a // it is gone
		}
		index = card.Index
	}
	if index <= 0 || index > 0xffff {
		return a
	}
	b := a.As16()
	b[2], b[3] = byte(index>>8), byte(index)
	return netip.AddrFrom16(b)
}

// unpacked undoes it.
func unpacked(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() || !a.IsLinkLocalUnicast() || a.Zone() != "" {
		return a
	}
	b := a.As16()
	index := int(b[2])<<8 | int(b[3])
	if index == 0 {
		return a
	}
	b[2], b[3] = 0, 0
	zone := strconv.Itoa(index)
	if card, err := net.InterfaceByIndex(index); err == nil {
		zone = card.Name
	}
	return netip.AddrFrom16(b).WithZone(zone)
}

// zonedConn is a connection of which the engine learns the packed address.
type zonedConn struct {
	net.Conn
	remote net.Addr
}

// RemoteAddr implements net.Conn.
func (c zonedConn) RemoteAddr() net.Addr { return c.remote }

// packedConn hides a connection's zone from the engine.
func packedConn(c net.Conn) net.Conn {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok || tcp.Zone == "" {
		return c
	}
	at := tcp.AddrPort()
	return zonedConn{c, net.TCPAddrFromAddrPort(netip.AddrPortFrom(packed(at.Addr()), at.Port()))}
}

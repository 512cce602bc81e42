package networks

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// SystemCards lists this machine's network cards, as the kernel knows them in the calling thread's network namespace.
func SystemCards() ([]Card, error) {
	links, err := dump(unix.RTM_GETLINK, readLink)
	if err != nil {
		return nil, fmt.Errorf("list network cards: %w", err)
	}
	addrs, err := dump(unix.RTM_GETADDR, readAddress)
	if err != nil {
		return nil, fmt.Errorf("list network addresses: %w", err)
	}
	routes, err := readRoutes()
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	all := make([]Card, len(links))
	for n, l := range links {
		c := Card{Interface: l.Interface}
		c.take(addrs)
		for _, r := range routes {
			switch {
			case r.card != l.Name:
			case r.to.Bits() == 0:
				c.Gateway = true
			case !slices.ContainsFunc(c.Prefixes, func(p netip.Prefix) bool { return p.Masked() == r.to }):
				c.OnLink = append(c.OnLink, r.to)
			}
		}
		c.Kind, c.Of = l.judge(links, c.Gateway)
		all[n] = c
	}
	return all, nil
}

// dump asks the kernel for all of something and returns what read makes of each message.
func dump[T any](what int, read func(*syscall.NetlinkMessage) (T, bool)) (all []T, err error) {
	raw, err := syscall.NetlinkRIB(what, unix.AF_UNSPEC)
	if err != nil {
		return nil, os.NewSyscallError("netlink", err)
	}
	messages, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return nil, os.NewSyscallError("netlink", err)
	}
	for n := range messages {
		if t, ok := read(&messages[n]); ok {
			all = append(all, t)
		}
	}
	return all, nil
}

// link is a network interface with what tells its kind.
type link struct {
	net.Interface
	hardware   uint16 // ARPHRD_
	kind, port string // what made it, "" for a driver's; what it is a port of, "bridge" for example
	master     int    // the index of that; 0: it is no port
}

func readLink(m *syscall.NetlinkMessage) (l link, ok bool) {
	if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
		return l, false
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return l, false
	}
	l.hardware = binary.NativeEndian.Uint16(m.Data[2:])
	l.Index = int(binary.NativeEndian.Uint32(m.Data[4:]))
	l.Flags = flagsOf(binary.NativeEndian.Uint32(m.Data[8:]))
	for _, a := range attrs {
		switch v := a.Value; {
		case a.Attr.Type == unix.IFLA_IFNAME:
			l.Name = text(v)
		case a.Attr.Type == unix.IFLA_MTU && len(v) >= 4:
			l.MTU = int(binary.NativeEndian.Uint32(v))
		case a.Attr.Type == unix.IFLA_MASTER && len(v) >= 4:
			l.master = int(binary.NativeEndian.Uint32(v))
		case a.Attr.Type == unix.IFLA_ADDRESS && slices.ContainsFunc(v, func(b byte) bool { return b != 0 }):
			l.HardwareAddr = slices.Clone(v)
		case a.Attr.Type == unix.IFLA_LINKINFO:
			inner := nested(v)
			l.kind, l.port = text(inner[unix.IFLA_INFO_KIND]), text(inner[unix.IFLA_INFO_SLAVE_KIND])
		}
	}
	return l, true
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

// nested reads attributes that lie in one.
func nested(b []byte) map[uint16][]byte {
	all := map[uint16][]byte{}
	for len(b) >= unix.SizeofRtAttr {
		size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < unix.SizeofRtAttr || size > len(b) {
			break
		}
		all[kind] = b[unix.SizeofRtAttr:size]
		b = b[min((size+3)&^3, len(b)):]
	}
	return all
}

func flagsOf(raw uint32) (f net.Flags) {
	for _, x := range []struct {
		raw uint32
		is  net.Flags
	}{
		{unix.IFF_UP, net.FlagUp}, {unix.IFF_RUNNING, net.FlagRunning}, {unix.IFF_BROADCAST, net.FlagBroadcast},
		{unix.IFF_LOOPBACK, net.FlagLoopback}, {unix.IFF_POINTOPOINT, net.FlagPointToPoint}, {unix.IFF_MULTICAST, net.FlagMulticast},
	} {
		if raw&x.raw != 0 {
			f |= x.is
		}
	}
	return f
}

// judge tells what a link leads to. A bridge leads to other machines where a cable is one of its ports. One with a
// container's end only does not, unless the way to the internet leads through it, as it does where this machine is a container
// itself.
func (l link) judge(all []link, gateway bool) (k Kind, of string) {
	switch {
	case l.Flags&net.FlagLoopback != 0:
		return Loop, ""
	case l.master != 0 && l.port != "vrf":
		for _, m := range all {
			if m.Index == l.master && m.kind != "vrf" {
				return Port, m.Name
			}
		}
	}
	if l.kind == "bridge" {
		wire, inner := false, false
		for _, p := range all {
			if p.master == l.Index {
				wire = wire || p.kind != "veth" && p.made() == Wire
				inner = inner || p.kind == "veth"
			}
		}
		if wire {
			return Wire, ""
		}
		if k := kindByName(l.Name); k != Wire {
			return k, ""
		}
		if inner && gateway {
			return Wire, ""
		}
		return Blind, ""
	}
	return l.made(), ""
}

// made tells what a link leads to by what made it.
func (l link) made() Kind {
	if l.Flags&net.FlagPointToPoint != 0 {
		return Tunnel
	}
	switch l.hardware {
	case unix.ARPHRD_NONE, unix.ARPHRD_PPP, unix.ARPHRD_TUNNEL, unix.ARPHRD_TUNNEL6, unix.ARPHRD_SIT, unix.ARPHRD_IPGRE, unix.ARPHRD_IP6GRE, unix.ARPHRD_RAWIP:
		return Tunnel
	}
	switch l.kind {
	case "tun", "wireguard", "vxlan", "geneve", "gretap", "ip6gretap", "bareudp", "xfrm", "vti", "vti6", "ovpn":
		if k := kindByName(l.Name); k == Inner {
			return Inner // a virtual machine's, or a container network's
		}
		return Tunnel
	case "dummy", "ifb", "netdevsim", "nlmon", "vrf", "vcan":
		return Inner
	case "vlan", "bond", "team", "macvlan", "ipvlan":
		return Wire // whatever it is called, it leads where the card beneath it does
	}
	return kindByName(l.Name)
}

// readAddress leaves out addresses that can't be used, or not yet: those that are being asked for, and that somebody else has.
func readAddress(m *syscall.NetlinkMessage) (a address, ok bool) {
	if m.Header.Type != unix.RTM_NEWADDR || len(m.Data) < unix.SizeofIfAddrmsg {
		return a, false
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return a, false
	}
	length, flags := int(m.Data[1]), uint32(m.Data[2])
	a.card = int(binary.NativeEndian.Uint32(m.Data[4:]))
	var own, given netip.Addr
	for _, x := range attrs {
		switch x.Attr.Type {
		case unix.IFA_LOCAL:
			own, _ = netip.AddrFromSlice(x.Value)
		case unix.IFA_ADDRESS:
			given, _ = netip.AddrFromSlice(x.Value)
		case unix.IFA_FLAGS:
			if len(x.Value) >= 4 {
				flags = binary.NativeEndian.Uint32(x.Value)
			}
		}
	}
	if !own.IsValid() { // IPv6, but for point-to-point
		own = given
	}
	if !own.IsValid() || flags&unix.IFA_F_DADFAILED != 0 || flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0 {
		return a, false
	}
	a.Prefix = netip.PrefixFrom(own, length)
	a.deprecated, a.temporary = flags&unix.IFA_F_DEPRECATED != 0, own.Is6() && flags&unix.IFA_F_TEMPORARY != 0
	return a, a.IsValid()
}

// route is one that needs no gateway, or the default one.
type route struct {
	card string
	to   netip.Prefix
}

func readRoutes() (all []route, err error) {
	for path, parse := range map[string]func(io.Reader) ([]route, error){
		"/proc/thread-self/net/route":      routes4,
		"/proc/thread-self/net/ipv6_route": routes6,
	} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6 in this kernel
		}
		if err != nil {
			return nil, err
		}
		some, err := parse(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b route) int { return strings.Compare(a.card+a.to.String(), b.card+b.to.String()) })
	return slices.Compact(all), nil
}

const (
	routeUp      = 0x1        // RTF_UP
	routeGateway = 0x2        // RTF_GATEWAY
	routeReject  = 0x200      // RTF_REJECT: "unreachable default", present on lo wherever IPv6 is
	routeLocal   = 0x80000000 // RTF_LOCAL: an address of this machine
	routeAnycast = 0x00100000 // RTF_ANYCAST
)

// routes4 reads /proc/net/route: name, destination, gateway, flags, three counters, mask; numbers in hex.
func routes4(r io.Reader) (all []route, err error) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 8 {
			continue
		}
		to, err1 := strconv.ParseUint(f[1], 16, 32)
		mask, err2 := strconv.ParseUint(f[7], 16, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], uint32(to))
		p := netip.PrefixFrom(netip.AddrFrom4(b), bits.OnesCount32(uint32(mask)))
		if counts(f[3], p) {
			all = append(all, route{f[0], p})
		}
	}
	return all, s.Err()
}

// routes6 reads /proc/net/ipv6_route: destination, its length, source, its length, next hop, three counters, flags,
// name; numbers in hex.
func routes6(r io.Reader) (all []route, err error) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 10 || f[3] != "00" {
			continue
		}
		to, err1 := hex.DecodeString(f[0])
		length, err2 := strconv.ParseUint(f[1], 16, 8)
		a, ok := netip.AddrFromSlice(to)
		if err1 != nil || err2 != nil || !ok || a.IsMulticast() {
			continue
		}
		if p := netip.PrefixFrom(a, int(length)); p.IsValid() && counts(f[8], p) {
			all = append(all, route{f[9], p})
		}
	}
	return all, s.Err()
}

// counts reports whether a route with these flags is in use, and is the default one or needs no gateway.
func counts(flags string, to netip.Prefix) bool {
	v, err := strconv.ParseUint(flags, 16, 64)
	return err == nil && v&routeUp != 0 && v&(routeReject|routeLocal|routeAnycast) == 0 && (to.Bits() == 0 || v&routeGateway == 0)
}

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

const (
	device = "eth0"
	// What a cheap switch port has, and enough for a 64 KiB offloaded frame to pass without being cut up.
	burstBytes = 64 << 10
	maxQueue   = 40 * time.Millisecond
)

// lay makes the switch and the router's own address on it. Call it on the router.
func (n network) lay() error {
	snooping := false // a cheap switch floods multicast; without a querier a snooping one would drop it
	br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &snooping}
	br.Name = n.bridge
	if err := netlink.LinkAdd(br); err != nil {
		return fmt.Errorf("add bridge: %w", err)
	}
	return n.raise(br, n.router)
}

// forward has the router pass on what is for another network. Call it on the router.
func forward() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }

// wire makes this machine's interface with its other end in the switch, and the routes. Call it on the machine.
func (n network) wire(switchNS netns.NsHandle, port string, addr netip.Addr, rate BitRate) error {
	veth := netlink.NewVeth(netlink.NewLinkAttrs())
	veth.Name, veth.PeerName, veth.PeerNamespace = device, port, netlink.NsFd(switchNS)
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add link: %w", err)
	}
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find own link: %w", err)
	}
	if err := n.raise(link, addr); err != nil {
		return err
	}
	// A default gateway is how a program tells the interface that matters from a virtual one.
	routes := []netlink.Route{
		{LinkIndex: link.Attrs().Index, Gw: n.router.AsSlice()},
		{LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4(224, 0, 0, 0), Mask: net.CIDRMask(4, 32)}, Scope: netlink.SCOPE_LINK},
	}
	for _, r := range routes {
		if err := netlink.RouteAdd(&r); err != nil {
			return fmt.Errorf("add route %v: %w", r, err)
		}
	}
	return shape(link, rate)
}

// plug plugs the far end of a machine's link into the switch. Call it on the router.
func (n network) plug(port string, rate BitRate) error {
	link, err := netlink.LinkByName(port)
	if err != nil {
		return fmt.Errorf("find port %s: %w", port, err)
	}
	br, err := netlink.LinkByName(n.bridge)
	if err != nil {
		return fmt.Errorf("find switch: %w", err)
	}
	if err := netlink.LinkSetMaster(link, br); err != nil {
		return fmt.Errorf("plug port %s: %w", port, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("raise port %s: %w", port, err)
	}
	return shape(link, rate)
}

func (n network) raise(link netlink.Link, addr netip.Addr) error {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(n.prefix.Bits(), 32)}}
	if err := netlink.AddrAdd(link, a); err != nil {
		return fmt.Errorf("give %s the address %s: %w", link.Attrs().Name, addr, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("raise %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// shape limits what leaves by link.
func shape(link netlink.Link, rate BitRate) error {
	if rate == 0 {
		return nil
	}
	bytesPerSec := uint64(rate) / 8
	tbf := &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       bytesPerSec,
		Buffer:     netlink.Xmittime(bytesPerSec, burstBytes),
		Limit:      uint32(float64(bytesPerSec)*maxQueue.Seconds()) + burstBytes,
	}
	if err := netlink.QdiscAdd(tbf); err != nil {
		return fmt.Errorf("shape %s to %s: %w", link.Attrs().Name, rate, err)
	}
	return nil
}

// awaitLink waits until the kernel has noticed that a link has both its ends: till then it drops what is sent, and on a
// busy machine that may take a second.
func awaitLink(name string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		state := link.Attrs().OperState
		if state == netlink.OperUp {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is still %v", name, state)
		}
	}
}

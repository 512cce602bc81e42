package networks

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// SystemCards lists this machine's network cards.
func SystemCards() ([]Card, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network cards: %w", err)
	}
	all := make([]Card, len(list))
	for n, ni := range list {
		all[n].Interface = ni
	}
	err = EachAdapter(func(a *windows.IpAdapterAddresses) {
		for n := range all {
			// One number or the other is 0 where that family is switched off.
			if c := &all[n]; c.Index == int(a.IfIndex) || c.Index == int(a.Ipv6IfIndex) {
				c.Gateway = a.FirstGatewayAddress != nil
				c.Kind = windowsKind(a.IfType, windows.UTF16PtrToString(a.Description), c.Gateway)
				c.take(addressesOf(a, c.Index))
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list network addresses: %w", err)
	}
	return all, nil
}

// addressesOf leaves out addresses that can't be used, or not yet: those that are being asked for, and that somebody else has.
func addressesOf(a *windows.IpAdapterAddresses, index int) (all []address) {
	for u := a.FirstUnicastAddress; u != nil; u = u.Next {
		addr, ok := netip.AddrFromSlice(u.Address.IP())
		if !ok || u.DadState < windows.IpDadStateDeprecated {
			continue
		}
		p := netip.PrefixFrom(addr.Unmap(), int(u.OnLinkPrefixLength))
		if !p.IsValid() {
			continue
		}
		all = append(all, address{
			Prefix: p, card: index, deprecated: u.DadState == windows.IpDadStateDeprecated,
			temporary: addr.Is6() && u.SuffixOrigin == windows.IpSuffixOriginRandom,
		})
	}
	return all
}

// EachAdapter calls look for each network adapter, whose memory is its own during the call only.
func EachAdapter(look func(*windows.IpAdapterAddresses)) error {
	const flags = windows.GAA_FLAG_INCLUDE_GATEWAYS | windows.GAA_FLAG_SKIP_ANYCAST | windows.GAA_FLAG_SKIP_MULTICAST |
		windows.GAA_FLAG_SKIP_DNS_SERVER
	size := uint32(16 << 10)
	for {
		buf := make([]byte, size)
		first := (*windows.IpAdapterAddresses)(unsafe.Pointer(unsafe.SliceData(buf)))
		err := windows.GetAdaptersAddresses(windows.AF_UNSPEC, flags, 0, first, &size)
		if errors.Is(err, windows.ERROR_BUFFER_OVERFLOW) && size > uint32(len(buf)) {
			continue
		}
		if errors.Is(err, windows.ERROR_NO_DATA) {
			return nil
		}
		if err != nil {
			return os.NewSyscallError("GetAdaptersAddresses", err)
		}
		for a := first; a != nil; a = a.Next {
			look(a)
		}
		return nil
	}
}

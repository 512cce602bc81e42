package discovery

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// gatewayInterfaces returns the indexes of the interfaces that have a default gateway.
func gatewayInterfaces() (map[int]bool, error) {
	found := make(map[int]bool)
	err := eachAdapter(func(a *windows.IpAdapterAddresses) {
		if a.FirstGatewayAddress != nil {
			// One number or the other is 0 where that family is switched off.
			found[int(a.IfIndex)] = true
			found[int(a.Ipv6IfIndex)] = true
		}
	})
	return found, err
}

// eachAdapter calls look for each network adapter, whose memory is its own during the call only.
func eachAdapter(look func(*windows.IpAdapterAddresses)) error {
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

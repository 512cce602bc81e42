package discovery

import (
	"strings"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"handout/discovery/networks"
)

// systemDomains are the computer's own domain, the search list an admin set, and what the network told each adapter.
func systemDomains() (domains []string, err error) {
	size := uint32(256)
	name := make([]uint16, size)
	if windows.GetComputerNameEx(windows.ComputerNameDnsDomain, &name[0], &size) == nil {
		domains = append(domains, windows.UTF16ToString(name))
	}
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Services\Tcpip\Parameters`, registry.QUERY_VALUE)
	if err == nil {
		if list, _, err := k.GetStringValue("SearchList"); err == nil {
			domains = append(domains, strings.Split(list, ",")...)
		}
		k.Close()
	}
	err = networks.EachAdapter(func(a *windows.IpAdapterAddresses) {
		if a.OperStatus == windows.IfOperStatusUp {
			domains = append(domains, windows.UTF16PtrToString(a.DnsSuffix))
		}
	})
	return domains, err
}

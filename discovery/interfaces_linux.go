package discovery

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
)

// gatewayInterfaces returns the indexes of the interfaces that default routes lead through, read from the kernel's
// tables. They are those of the calling thread's network namespace.
func gatewayInterfaces() (map[int]bool, error) {
	found := make(map[int]bool)
	for path, parse := range map[string]func(io.Reader) ([]string, error){
		"/proc/thread-self/net/route":      defaultRoutes4,
		"/proc/thread-self/net/ipv6_route": defaultRoutes6,
	} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6 in this kernel
		}
		if err != nil {
			return nil, err
		}
		names, err := parse(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if i, err := net.InterfaceByName(name); err == nil {
				found[i.Index] = true
			}
		}
	}
	return found, nil
}

const (
	routeUp     = 0x1   // RTF_UP
	routeReject = 0x200 // RTF_REJECT: "unreachable default", present on lo wherever IPv6 is
)

// defaultRoutes4 reads /proc/net/route: name, destination, gateway, flags, three counters, mask; numbers in hex.
func defaultRoutes4(r io.Reader) (names []string, err error) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) >= 8 && f[1] == "00000000" && f[7] == "00000000" && inUse(f[3]) {
			names = append(names, f[0])
		}
	}
	return names, s.Err()
}

// defaultRoutes6 reads /proc/net/ipv6_route: destination, its length, source, its length, next hop, three counters, flags,
// name; numbers in hex.
func defaultRoutes6(r io.Reader) (names []string, err error) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) >= 10 && strings.Trim(f[0], "0") == "" && f[1] == "00" && f[3] == "00" && inUse(f[8]) {
			names = append(names, f[9])
		}
	}
	return names, s.Err()
}

func inUse(flags string) bool {
	v, err := strconv.ParseUint(flags, 16, 64)
	return err == nil && v&routeUp != 0 && v&routeReject == 0
}

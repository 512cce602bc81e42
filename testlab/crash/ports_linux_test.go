package crash

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMachineFullOfConnections: every port that the system would give to a connection has one, as on a machine whose
// many short connections each keep their port for a minute. A fetch that may take any port for neighbours finds two.
func TestMachineFullOfConnections(t *testing.T) {
	mount(t) // or skip: it takes the same network of our own
	p := publish(t, written(t, 8, 1<<20))
	const setting = "/proc/sys/net/ipv4/ip_local_port_range"
	before, err := os.ReadFile(setting)
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:9999")
	must(t, err)
	defer l.Close()
	const first, ports = 40000, 200
	must(t, os.WriteFile(setting, fmt.Appendf(nil, "%d %d", first, first+ports-1), 0o644))
	defer func() { must(t, os.WriteFile(setting, before, 0o644)) }()
	even := 0
	for range ports / 2 {
		c, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		defer c.Close()
		if c.LocalAddr().(*net.TCPAddr).Port%2 == 0 {
			even++
		}
	}
	if even < ports/2-2 {
		t.Fatalf("%d of %d ports are taken: this system gives them out in another order", even, ports/2)
	}
	dest := filepath.Join(folder(t), "dest")
	e := ending(t, bin(t).Fetch(t.Context(), p.Package, dest, "--port", "0", "--linger", "0"))
	if e.exit != 0 || strings.Contains(e.said, "in use") {
		t.Fatalf("exit %d: %s", e.exit, e.said)
	}
	same(t, p.dir, dest)
}

package lab

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// Counters are what a machine's link has carried since it was made, in bytes with Ethernet headers (frames that were
// segmented late count their headers once).
type Counters struct{ SentBytes, ReceivedBytes int64 }

// Counters reads the machine's link. Only machines of a lab have one.
func (m *Machine) Counters() (c Counters, err error) {
	err = m.Do(func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return fmt.Errorf("read counters of %s: %w", m.Name, err)
		}
		s := link.Attrs().Statistics
		c = Counters{SentBytes: int64(s.TxBytes), ReceivedBytes: int64(s.RxBytes)}
		return nil
	})
	return c, err
}

// Remotes are the other ends of the established TCP connections to the given local port of this machine, one for each
// connection.
func (m *Machine) Remotes(port uint16) (from []netip.Addr, err error) {
	const established = 1 // TCP_ESTABLISHED of the kernel's tcp_states.h
	err = m.Do(func() error {
		for _, family := range []uint8{syscall.AF_INET, syscall.AF_INET6} {
			sockets, err := netlink.SocketDiagTCP(family)
			if err != nil {
				return fmt.Errorf("list connections of %s: %w", m.Name, err)
			}
			for _, s := range sockets {
				if a, ok := netip.AddrFromSlice(s.ID.Destination); ok && s.State == established && s.ID.SourcePort == port {
					from = append(from, a.Unmap())
				}
			}
		}
		return nil
	})
	return from, err
}

// WatchConnections looks at Remotes(port) every 50 ms. stop ends that and tells the most that were seen at once.
func (m *Machine) WatchConnections(port uint16) (stop func() int) {
	return m.WatchConnectionsFrom(port, func(netip.Addr) bool { return true })
}

// WatchConnectionsFrom is WatchConnections for the connections from some machines.
func (m *Machine) WatchConnectionsFrom(port uint16, counts func(netip.Addr) bool) (stop func() int) {
	quit, answer := make(chan struct{}), make(chan int)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		most := 0
		for {
			if all, err := m.Remotes(port); err == nil {
				n := 0
				for _, from := range all {
					if counts(from) {
						n++
					}
				}
				most = max(most, n)
			}
			select {
			case <-tick.C:
			case <-quit:
				answer <- most
				return
			}
		}
	}()
	return func() int { close(quit); return <-answer }
}

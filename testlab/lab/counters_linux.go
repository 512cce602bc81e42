package lab

import (
	"fmt"
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

// Connections counts the established TCP connections to the given local port of this machine.
func (m *Machine) Connections(port uint16) (n int, err error) {
	const established = 1 // TCP_ESTABLISHED of the kernel's tcp_states.h
	err = m.Do(func() error {
		for _, family := range []uint8{syscall.AF_INET, syscall.AF_INET6} {
			sockets, err := netlink.SocketDiagTCP(family)
			if err != nil {
				return fmt.Errorf("list connections of %s: %w", m.Name, err)
			}
			for _, s := range sockets {
				if s.State == established && s.ID.SourcePort == port {
					n++
				}
			}
		}
		return nil
	})
	return n, err
}

// WatchConnections looks at Connections(port) every 50 ms. stop ends that and tells the most that were seen at once.
func (m *Machine) WatchConnections(port uint16) (stop func() int) {
	quit, answer := make(chan struct{}), make(chan int)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		most := 0
		for {
			if n, err := m.Connections(port); err == nil {
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

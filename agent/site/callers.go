package site

import (
	"net/netip"
	"sync"
)

// callers counts who is served, all together and by address, so that no host has more than its share and all of them no
// more than this machine can bear.
type callers struct {
	admit             func(netip.Addr) bool // nil: everybody
	atOnce, ofOneHost int
	sparesOwn         bool // agents that share this machine are not one host

	mu    sync.Mutex
	under map[netip.Addr]int
	all   int
}

func newCallers(admit func(netip.Addr) bool, atOnce, ofOneHost int) callers {
	return callers{admit: admit, atOnce: atOnce, ofOneHost: ofOneHost, under: map[netip.Addr]int{}}
}

func (c *callers) admitted(from netip.Addr) bool {
	return c.admit == nil || c.admit(from)
}

// begin reports whether one more from that address may be served; end is then to be called when it was.
func (c *callers) begin(from netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.admitted(from) || c.all >= c.atOnce || c.under[from] >= c.ofOneHost && !(c.sparesOwn && from.IsLoopback()) {
		return false
	}
	c.all++
	c.under[from]++
	return true
}

func (c *callers) end(from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.under[from]--; c.under[from] == 0 {
		delete(c.under, from)
	}
}

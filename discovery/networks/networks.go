// Package networks knows this machine's network cards: which of them neighbours may be on and why the others are left out,
// which addresses are its own, at which of them others are told to reach it, and whose addresses are near enough to be
// neighbours'. All of it changes while a program runs: a cable is plugged in, DHCP gives another address, a VPN comes up.
// Whoever acts on it asks again for each act, or listens for changes.
//
// What the system says is read in list_linux.go and list_windows.go; what follows from it is pure (choose.go, view.go).
package networks

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what to look at. The zero value is the machine as it is.
type Options struct {
	CIDRs []netip.Prefix         // fence the site: cards and addresses outside them are not used; nil: no fence
	List  func() ([]Card, error) // nil: SystemCards
	Log   *slog.Logger           // nil: silent
}

// Networks follows this machine's networks. Its methods are safe for concurrent use.
type Networks struct {
	o   Options
	now atomic.Pointer[View] // nil: nobody has looked yet

	mu      sync.Mutex
	cards   []Card // as last seen
	origins []netip.Addr
	heed    map[chan struct{}]bool
}

// New knows nothing until somebody asks.
func New(o Options) *Networks {
	if o.List == nil {
		o.List = SystemCards
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Networks{o: o, heed: map[chan struct{}]bool{}}
}

// Now is the view of the last look.
func (n *Networks) Now() *View {
	if v := n.now.Load(); v != nil {
		return v
	}
	n.Look()
	return n.now.Load()
}

// Look reads the cards anew and reports whether anything changed. It looks at the cards of the calling thread's network
// namespace.
func (n *Networks) Look() bool {
	cards, err := n.o.List()
	if err != nil {
		n.o.Log.Debug("list network cards", "error", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		n.cards = cards
	}
	return n.judge()
}

// maxOrigins bounds the origins that are kept in mind.
const maxOrigins = 16

// Origin notes where an origin is. The card whose subnet it lies in counts before others, and is used where it would not be.
func (n *Networks) Origin(addrs ...netip.Addr) {
	n.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		if !a.IsLoopback() && !slices.Contains(n.origins, a) {
			n.origins = append(n.origins, a)
		}
	}
	n.origins = n.origins[max(0, len(n.origins)-maxOrigins):]
	n.judge()
}

// judge makes the view anew and tells those who listen if it changed.
func (n *Networks) judge() bool {
	v, was := newView(n.cards, n.o.CIDRs, n.origins), n.now.Load()
	if v.same(was) {
		return false
	}
	n.now.Store(v)
	if was != nil {
		n.o.Log.Info("the network has changed", "cards", v.String())
	}
	for c := range n.heed {
		select {
		case c <- struct{}{}:
		default: // it is to look already
		}
	}
	return true
}

// Changes returns a channel, which holds one, that gets a word after each change, until stop is called.
func (n *Networks) Changes() (changes <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heed[c] = true
	return c, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.heed, c)
	}
}

const (
	// lookEvery is for systems that tell of no changes, and for what they don't tell of.
	lookEvery = 5 * time.Second
	// lookSoon is the same while no card is in use: all wait for one.
	lookSoon = time.Second
)

// Run follows the cards until ctx ends.
func (n *Networks) Run(ctx context.Context) {
	for {
		wait := lookEvery
		if len(n.Now().Used) == 0 {
			wait = lookSoon
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		n.Look()
	}
}

// Package discovery hears which agents may be near. It says "an agent may be at this address" and never moves payload,
// never says that an agent is gone, and vouches for nobody: who answers there is for others to find out.
//
// Three sources: static seeds, which the admin named; the name service, where one record SRV _handout._tcp in a domain
// names agents for all machines of a campus; and multicast DNS (RFC 6762, RFC 6763), where an agent answers for the
// service _handout._tcp under a random name. No package name, info-hash or host name is on the air.
//
// A sweep is one question on every chosen interface; answers may come at any time. Only a machine that knows no neighbour
// sweeps often, since fifty machines that all ask are answered by all fifty. For the same reason an agent answers by
// multicast, to all at once, and at most once a second however many ask.
//
// The few records needed are spoken here, over golang.org/x/net, because grandcat/zeroconf v1.0.0 cannot be bounded from
// outside: one packet of 30 kB made it multicast 5,000 answers, ten packets of 63 kB made its resolver take 471 MiB, a
// goroutine outlives its Shutdown by seconds, and on Windows it cannot choose the interface it sends on (all measured or
// read in its source). Each socket here belongs to one interface and one address family, which works on every system.
package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"handout/discovery/networks"
)

// Options say what to announce, where to listen and whom to try. The zero value listens and announces nothing.
type Options struct {
	// Port is the TCP port peers reach this agent on. 0: listen only, announce nothing.
	Port int
	// CIDRs fences the site: only addresses in them are found. Nil: found are addresses in the subnet of the card that
	// heard them.
	CIDRs []netip.Prefix
	// Seeds are addresses an admin gave: HOST or HOST:PORT, port 4747 where none is given. Names are resolved again at
	// each sweep. CIDRs does not fence them.
	Seeds []string
	// Domains are those whose SRV records name agents, asked for with the sweeps and twice a minute at most. CIDRs does not
	// fence what they say. Nil: the search domains of this machine; empty: none.
	Domains  []string
	Resolver *net.Resolver // the name service for Domains; nil: the system's
	// Alone reports whether this machine knows no neighbour. While it is true sweeps go on, ever more rarely, up to one a
	// minute; otherwise there is one every few minutes. Called from Run's goroutine only. Nil: always alone.
	Alone func() bool
	// Networks knows on which cards to speak, and is followed by somebody else. Nil: this machine's, inside CIDRs, looked at
	// by Run itself in its own goroutine.
	Networks *networks.Networks
	Log      *slog.Logger // nil: silent
}

// schedule is when Run does what; tests shorten it.
type schedule struct {
	poll time.Duration   // between two looks at the interfaces and at Alone
	gaps []time.Duration // after the first, second … sweep of a machine that is alone; the last one repeats
	rest time.Duration   // between two sweeps of a machine that is not
}

func usual() schedule {
	const s = time.Second
	return schedule{
		poll: 5 * s,
		gaps: []time.Duration{1 * s, 2 * s, 5 * s, 10 * s, 20 * s, 40 * s, 60 * s},
		rest: 5 * time.Minute,
	}
}

// Run announces this agent and looks for others until ctx ends; then it takes the announcement back and returns nil, all
// it started having stopped. It returns an error at once if the options cannot be right, and never for what the network
// does: an interface that fails is tried again.
//
// found is called for each address heard, one call at a time, at most once per address and sweep, and must not block for
// long; an address that an admin named, as a seed or in the name service, is told as such, if need be once more. Link-local
// IPv6 addresses carry their zone.
func Run(ctx context.Context, o Options, found func(addr netip.AddrPort, named bool)) error {
	return run(ctx, o, usual(), found)
}

func run(ctx context.Context, o Options, when schedule, found func(netip.AddrPort, bool)) error {
	if o.Port < 0 || o.Port > 65535 {
		return fmt.Errorf("discovery: announce port %d: no such port", o.Port)
	}
	seeds, err := parseSeeds(o.Seeds)
	if err != nil {
		return err
	}
	if o.Alone == nil {
		o.Alone = func() bool { return true }
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	resolve, lookUp := make(chan struct{}, 1), make(chan struct{}, 1)
	heard := make(chan sighting)
	wg.Go(func() { resolveSeeds(ctx, seeds, resolve, heard, o.Log) })
	wg.Go(func() { lookForDomains(ctx, o, lookUp, heard) })

	look := func() {}
	if o.Networks == nil {
		o.Networks = networks.New(networks.Options{CIDRs: o.CIDRs})
		look = func() { o.Networks.Look() }
	}
	changes, stop := o.Networks.Changes()
	defer stop()
	clashed := make(chan struct{}, 1)
	d := discoverer{o: o, label: newLabel(), heard: heard, clashed: clashed}
	defer func() { d.station.close() }()
	d.look(ctx)

	var pace pace
	seen := newTable()
	poll := time.NewTicker(when.poll)
	defer poll.Stop()
	sweep := time.NewTimer(0)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
			// The last neighbour lost: ask at once.
			look()
			if changed := d.look(ctx); pace.wake(changed, o.Alone()) {
				sweep.Reset(0)
			}
		case <-changes: // a cable plugged in
			if changed := d.look(ctx); pace.wake(changed, o.Alone()) {
				sweep.Reset(0)
			}
		case <-sweep.C:
			ask, wait := pace.next(o.Alone(), when)
			if ask {
				seen = newTable()
				d.station.ask()
				for _, wake := range []chan struct{}{resolve, lookUp} {
					select {
					case wake <- struct{}{}:
					default: // names are still being resolved for the last sweep
					}
				}
			}
			sweep.Reset(jitter(wait))
		case <-clashed:
			d.rename(ctx)
		case s := <-heard:
			for _, a := range s.addrs {
				if d.isMe(a) || !seen.admit(s.source, a) {
					continue
				}
				found(a, !s.source.IsValid())
			}
		}
	}
}

// pace decides which sweep is due. The zero value is a machine that has not asked yet.
type pace struct {
	asked   int  // sweeps since this machine was last not alone
	resting bool // the next sweep is one of the rare ones
}

// next is called when a sweep is due and says whether to ask, and when to come back.
func (p *pace) next(alone bool, when schedule) (ask bool, wait time.Duration) {
	if !alone {
		ask = p.resting || p.asked == 0
		*p = pace{resting: true}
		return ask, when.rest
	}
	wait = when.gaps[min(p.asked, len(when.gaps)-1)]
	*p = pace{asked: p.asked + 1}
	return true, wait
}

// wake reports whether to sweep now rather than when the next one is due: on a network that changed, and on having become
// alone.
func (p *pace) wake(changed, alone bool) bool {
	if !changed && !(p.resting && alone) {
		return false
	}
	*p = pace{}
	return true
}

// jitter keeps machines that were switched on together from asking together for ever.
func jitter(d time.Duration) time.Duration {
	return d + rand.N(d/4+1)
}

// discoverer follows the machine's cards.
type discoverer struct {
	o       Options
	label   string // random; the same for as long as nobody else has it, so that a new announcement replaces the old one
	renamed time.Time
	heard   chan<- sighting
	clashed chan<- struct{}
	looked  bool
	chosen  []networks.Card
	station *station // nil: nowhere to listen
}

// speaking are the cards in use on which multicast can be spoken.
func speaking(v *networks.View) (some []networks.Card) {
	for _, c := range v.Used {
		if c.CanMulticast() {
			some = append(some, c)
		}
	}
	return some
}

// speaksAs reports whether as much can be announced on one card as on another. A route that comes or goes is no news to others.
func speaksAs(a, b networks.Card) bool {
	return a.Index == b.Index && a.Name == b.Name && a.Flags == b.Flags && slices.Equal(a.Prefixes, b.Prefixes)
}

// look compares the cards with those in use and moves to the new ones if they differ. It reports whether they did.
func (d *discoverer) look(ctx context.Context) (changed bool) {
	chosen := speaking(d.o.Networks.Now())
	changed = !d.looked || !slices.EqualFunc(chosen, d.chosen, speaksAs)
	d.looked, d.chosen = true, chosen
	if !changed && !d.station.deaf() {
		return false
	}
	d.station.close()
	d.station = openStation(ctx, chosen, d)
	if !changed {
		return false
	}
	names := make([]string, len(chosen))
	for i, c := range chosen {
		names[i] = c.Name
	}
	switch {
	case len(chosen) == 0:
		d.o.Log.Debug("multicast DNS has no interface to speak on: only static seeds can be found")
	case d.station.deaf():
		d.o.Log.Warn("multicast DNS cannot be joined, perhaps another program holds UDP 5353: only static seeds can be found, "+
			"it is tried again", "interfaces", names)
	default:
		d.o.Log.Debug("multicast DNS joined", "interfaces", names)
	}
	return true
}

// renameGap is the least time between two names: whoever claims each of them shall not have us speak without end.
const renameGap = 5 * time.Second

// rename takes another name, as another machine has ours: one of them was copied while it ran.
func (d *discoverer) rename(ctx context.Context) {
	if !d.renamed.IsZero() && time.Since(d.renamed) < renameGap {
		return
	}
	d.renamed, d.label = time.Now(), newLabel()
	d.o.Log.Debug("another machine uses our name in multicast DNS: we take a new one")
	d.station.close()
	d.station = openStation(ctx, d.chosen, d)
}

// isMine reports whether this machine has an address now; one that it lost may be another's.
func (d *discoverer) isMine(a netip.Addr) bool { return d.o.Networks.Now().IsMine(a) }

// isMe reports whether a is this very agent; another one on the same machine has another port.
func (d *discoverer) isMe(a netip.AddrPort) bool {
	return int(a.Port()) == d.o.Port && d.isMine(a.Addr())
}

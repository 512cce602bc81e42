// Package agent brings the rooms together: it fetches packages from their origins and from neighbours at once, and
// hands on every piece it has.
//
// A piece's way: download asks plan whether and what to read from the origin, a stream (origin.go) reads the run through
// sources and puts each piece into the store, which checks it; the swarm then announces it. Pieces from neighbours go from
// the swarm to the store by themselves. When the store has all of them it publishes the tree, and the swarm goes on
// serving it from there.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"handout/agent/store"
	"handout/agent/swarm"
	"handout/discovery"
)

// DefaultPeerPort is the one TCP port that neighbours need open towards this machine.
const DefaultPeerPort = 4747

var (
	// ErrNoSource: no origin can be used and no neighbour has what is missing.
	ErrNoSource = errors.New("nothing to fetch from")
	// ErrOriginCorrupt: what the origin serves does not match the manifest, and nobody else has the right bytes.
	ErrOriginCorrupt = errors.New("the origin's content does not match the manifest")
	// ErrPortInUse: another program has the port for neighbours.
	ErrPortInUse = errors.New("the port for neighbours is in use")
	errClosed    = errors.New("the agent is closed")
)

// Config is what an admin decides about a machine. The zero value is right for a lab machine that has no name to tell.
type Config struct {
	PeerPort    int            // TCP port for neighbours; 0: any free one
	AnyPort     bool           // where PeerPort is in use, take any free one
	NoPeers     bool           // neither listen nor look for neighbours
	Seeds       []string       // host:port of machines that are asked besides those that are found
	CIDRs       []netip.Prefix // who is a neighbour; nil: private and link-local addresses, and this machine's own subnets
	Connections int            // origin connections at most; 0: DefaultConnections
	EnoughSeeds int            // so many seeds that deliver spare the origin; 0: DefaultEnoughSeeds
	Patience    time.Duration  // how long an origin that worked may be gone before a fetch gives up; 0: DefaultPatience
	Log         *slog.Logger   // nil: silent
}

// Defaults that suit most file servers.
const (
	DefaultConnections = 4
	DefaultEnoughSeeds = 4
	DefaultPatience    = 2 * time.Minute
)

// Agent fetches and hands on packages. Its methods are safe for concurrent use.
type Agent struct {
	c      Config
	log    *slog.Logger
	admit  []netip.Prefix
	engine *swarm.Engine // nil: NoPeers
	born   time.Time

	mu       sync.Mutex
	known    map[netip.AddrPort]time.Time // where agents may be, and when that was last heard
	torrents map[*swarm.Torrent]struct{}
	trees    []*store.Tree
	finished Totals // of torrents that were dropped
	closed   bool
}

// Totals are payload bytes since the agent began.
type Totals struct{ FromOrigin, FromPeers, ToPeers int64 }

// New checks the config and opens the port for neighbours. Run or Close ends what it began.
func New(c Config) (*Agent, error) {
	if c.Connections == 0 {
		c.Connections = DefaultConnections
	}
	if c.EnoughSeeds == 0 {
		c.EnoughSeeds = DefaultEnoughSeeds
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Connections < 1 || c.EnoughSeeds < 1 {
		return nil, fmt.Errorf("connections (%d) and enough seeds (%d) must be at least 1", c.Connections, c.EnoughSeeds)
	}
	a := &Agent{
		c: c, log: c.Log, admit: admitted(c.CIDRs), born: time.Now(),
		known:    map[netip.AddrPort]time.Time{},
		torrents: map[*swarm.Torrent]struct{}{},
	}
	if c.NoPeers {
		return a, nil
	}
	listen := func(port int) (err error) {
		a.engine, err = swarm.New(swarm.Options{Listen: fmt.Sprintf(":%d", port), Admit: a.admit, Log: c.Log})
		return err
	}
	err := listen(c.PeerPort)
	if c.AnyPort && isInUse(err) {
		c.Log.Info("the port for neighbours is in use: another one is taken", "port", c.PeerPort)
		err = listen(0)
	}
	if isInUse(err) {
		return nil, fmt.Errorf("TCP %d: %w: is another handout running? choose another port", c.PeerPort, ErrPortInUse)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// wsaeaddrinuse is what Windows calls EADDRINUSE.
const wsaeaddrinuse = syscall.Errno(10048)

func isInUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaeaddrinuse)
}

// PeerPort is the TCP port neighbours reach this machine on; 0 without neighbours.
func (a *Agent) PeerPort() int {
	if a.engine == nil {
		return 0
	}
	return a.engine.Port()
}

// introduceEvery is how often known addresses are dialled again: the engine does not do it by itself.
const introduceEvery = 2 * time.Second

// Run looks for neighbours until ctx is done, then closes the agent. It returns when all it started has stopped.
func (a *Agent) Run(ctx context.Context) error {
	defer a.Close()
	if a.engine == nil {
		<-ctx.Done()
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return discovery.Run(ctx, discovery.Options{
			Port: a.engine.Port(), CIDRs: a.c.CIDRs, Seeds: a.c.Seeds, Alone: a.alone, Log: a.log,
		}, a.found)
	})
	g.Go(func() error {
		tick := time.NewTicker(introduceEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				a.introduceAll()
				a.warnOfBans()
			}
		}
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Close ends all connections and releases all trees. A fetch under way fails; its pieces are kept.
func (a *Agent) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.finished = a.totals()
	a.closed = true
	var err error
	if a.engine != nil {
		err = a.engine.Close()
	}
	clear(a.torrents)
	for _, t := range a.trees {
		err = errors.Join(err, t.Close())
	}
	return err
}

// Totals are the bytes moved so far, for all packages together.
func (a *Agent) Totals() Totals {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.totals()
}

func (a *Agent) totals() Totals {
	sum := a.finished
	for t := range a.torrents {
		from, to := t.Totals()
		sum.FromPeers += from
		sum.ToPeers += to
	}
	return sum
}

// Linger returns once no connected neighbour lacks anything, and after d at most.
func (a *Agent) Linger(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for a.incomplete() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a *Agent) incomplete() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for t := range a.torrents {
		n += t.Incomplete()
	}
	return n
}

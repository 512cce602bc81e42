// Package agent brings the rooms together: it fetches packages from their origins and from neighbours at once, and
// hands on every piece it has.
//
// A piece's way: download asks plan whether and what to read from the origin, a stream (stream.go) reads the run through
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
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"handout/agent/plan"
	"handout/agent/site"
	"handout/agent/swarm"
	"handout/discovery"
	"handout/discovery/networks"
	"handout/sources/origin"
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
	PeerPort        int            // TCP port for neighbours; 0: any free one
	AnyPort         bool           // where PeerPort is in use, take any free one
	NoPeers         bool           // neither listen nor look for neighbours
	Seeds           []string       // host:port of machines that are asked besides those that are found
	Domains         []string       // whose SRV records name such machines as well; nil: the search domains of this one; empty: none
	CIDRs           []netip.Prefix // who is a neighbour; nil: private and link-local addresses, and this machine's own subnets
	Connections     int            // origin connections of this machine at most; 0: as many as the site may have
	Site            string         // the site's name; "": "default"
	SiteKey         []byte         // shared by the site's members, 16, 24 or 32 bytes; nil: whoever is on the LAN may join
	SiteConnections int            // origin connections of the whole site; 0: DefaultConnections
	Installed       bool           // this machine stays, so it is steward before those that only fetch
	OriginUse       plan.Use       // how much of the origin this machine may take; "": plan.Auto
	EnoughSeeds     int            // so many seeds that deliver spare the origin; 0: DefaultEnoughSeeds
	Patience        time.Duration  // how long an origin that worked may be gone before a fetch gives up; 0: DefaultPatience
	StageDirs       []string       // where trees for network mounts may grow, best first; nil: DefaultStageDirs
	Origins         origin.Options // how to open origins, and who this machine is there
	Journal         *Journal       // where events go; it stays the caller's. nil: they are kept in memory
	Version         string         // of the program, for status
	Restarts        int64          // of the engine after crashes, for status
	CacheDir        string         // whose size status shows; "": none
	StateDir        string         // what operators decide while the agent runs is kept there; "": nowhere
	Limits          Limits         // where an operator decided nothing else
	Cache           Cache          // where packages are kept that may be evicted; the zero value: nowhere
	Pushes          Pushes         // whose orders are obeyed; the zero value: nobody's
	AllowOrigins    []string       // a manifest's origins are read only beneath these; nil: all
	Verify          Verify         // how what is held is read again; the zero value: not at all
	Log             *slog.Logger   // nil: silent
}

// Defaults that suit most file servers.
const (
	DefaultConnections = 4
	DefaultEnoughSeeds = 4
	DefaultPatience    = 2 * time.Minute
)

// DefaultSite is the site of machines that were told none.
const DefaultSite = site.DefaultName

// Agent fetches and hands on packages. Its methods are safe for concurrent use.
type Agent struct {
	c      Config
	log    *slog.Logger
	nets   *networks.Networks
	moves  *moves
	engine *swarm.Engine // nil: NoPeers
	site   *site.Site
	born   time.Time

	news, faces chan struct{} // an address was heard for the first time: for the site, for the swarm

	mu       sync.Mutex
	known    map[netip.AddrPort]sighted // where agents may be
	torrents map[*swarm.Torrent]struct{}
	held     []*held
	finished Totals // of torrents that were dropped
	closed   bool

	jobs      []*job             // the packages, in the order they were asked for
	troubles  map[string]trouble // beside those of jobs
	decided   settings           // by operators
	up, down  *pacer
	banned    bool         // manyBans was recorded
	newLimits atomic.Int64 // how often the limits were changed
	journal   *Journal
	cache     cacheSize
	surveys   surveys

	orders  ordersDesk
	testing sync.Mutex // held while an origin is tested
	visits  chan int   // numbers of streams that no visit has
	room    sync.Mutex // held while room is made in the cache; before mu

	counts
}

// counts is what happened since the agent began.
type counts struct {
	fromOrigin                    atomic.Int64 // bytes
	leases, leasesLost            atomic.Int64
	originVerified, peersVerified atomic.Int64 // pieces
	originRefused, peersRefused   atomic.Int64
}

// Totals are payload bytes since the agent began.
type Totals struct{ FromOrigin, FromPeers, ToPeers int64 }

// New checks the config and opens the port for neighbours. Run or Close ends what it began.
func New(c Config) (*Agent, error) {
	if c.SiteConnections == 0 {
		c.SiteConnections = DefaultConnections
	}
	if c.Connections == 0 {
		c.Connections = c.SiteConnections
		if c.NoPeers {
			c.SiteConnections = c.Connections
		}
	}
	if c.EnoughSeeds == 0 {
		c.EnoughSeeds = DefaultEnoughSeeds
	}
	if c.StageDirs == nil {
		c.StageDirs = DefaultStageDirs()
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	if !c.OriginUse.Valid() {
		return nil, fmt.Errorf("origin use %q: it is one of auto, fallback, never and fastest", c.OriginUse)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Site == "" {
		c.Site = site.DefaultName
	}
	nets := networks.New(networks.Options{CIDRs: c.CIDRs, Log: c.Log})
	moves := &moves{nets: nets}
	if c.Origins.HTTP.Fit == nil {
		c.Origins.HTTP.Fit = moves.fit(swarm.Fit)
	}
	c.Origins.Remember()
	c.Origins.SMB.Dial = moves.dial(c.Origins.SMB.Dial)
	if c.Journal == nil {
		c.Journal = OpenJournal("", c.Log)
	}
	if c.Connections < 1 || c.EnoughSeeds < 1 {
		return nil, fmt.Errorf("connections (%d) and enough seeds (%d) must be at least 1", c.Connections, c.EnoughSeeds)
	}
	a := &Agent{
		c: c, log: c.Log, nets: nets, moves: moves, born: time.Now(),
		known:    map[netip.AddrPort]sighted{},
		torrents: map[*swarm.Torrent]struct{}{},
		news:     make(chan struct{}, 1),
		faces:    make(chan struct{}, 1),
		troubles: map[string]trouble{},
		up:       newPacer(),
		down:     newPacer(),
		journal:  c.Journal,
		visits:   make(chan int, visits),
	}
	for n := range visits {
		a.visits <- slices.Max(originStreams[:]) + n // beyond those of a test
	}
	if err := a.readSettings(); err != nil {
		return nil, err
	}
	a.openOrders()
	if err := a.listen(); err != nil {
		return nil, err
	}
	return a, nil
}

// PeerPort is the TCP port neighbours reach this machine on; 0 without neighbours.
func (a *Agent) PeerPort() int {
	if a.engine == nil {
		return 0
	}
	return a.engine.Port()
}

const (
	// introduceEvery is how often known addresses are dialled again: the engine does not do it by itself.
	introduceEvery = 2 * time.Second
	// introduceAfter is how long a new address waits for others: a room that starts is heard of within a moment, and whom
	// to dial is drawn among all of it.
	introduceAfter = 50 * time.Millisecond
)

// Run looks for neighbours until ctx is done, then closes the agent. It returns when all it started has stopped.
func (a *Agent) Run(ctx context.Context) error {
	defer a.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		a.keepCache(ctx)
		return nil
	})
	g.Go(func() error {
		a.nets.Run(ctx)
		return nil
	})
	g.Go(func() error {
		a.moves.follow(ctx, func() { tell(a.faces) })
		return nil
	})
	g.Go(func() error {
		a.obey(ctx)
		return nil
	})
	g.Go(func() error {
		a.giveBack(ctx, giveBackEvery)
		return nil
	})
	if a.c.Verify != (Verify{}) {
		g.Go(func() error {
			a.reverify(ctx)
			return nil
		})
	}
	if a.engine == nil {
		<-ctx.Done()
		return g.Wait()
	}
	g.Go(func() error {
		return discovery.Run(ctx, discovery.Options{
			Port: a.engine.Port(), CIDRs: a.c.CIDRs, Networks: a.nets, Seeds: a.c.Seeds, Domains: a.c.Domains, Alone: a.alone, Log: a.log,
		}, a.found)
	})
	g.Go(func() error {
		a.meet(ctx)
		return nil
	})
	g.Go(func() error {
		a.spread(ctx)
		return nil
	})
	g.Go(func() error {
		tick := time.NewTicker(introduceEvery)
		defer tick.Stop()
		var welcomed time.Time
		for round := 0; ; {
			select {
			case <-ctx.Done():
				return nil
			case <-a.faces:
				time.Sleep(introduceAfter)
				a.introduceAll(noRound)
				now := time.Now()
				a.welcome(welcomed)
				welcomed = now
			case <-tick.C:
				a.introduceAll(round)
				a.warnOfBans()
				round++
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
	err := a.site.Close()
	if a.engine != nil {
		err = errors.Join(err, a.engine.Close())
	}
	clear(a.torrents)
	for _, h := range a.held {
		if h.tree != nil {
			err = errors.Join(err, h.tree.Close())
		}
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
	sum.FromOrigin = a.fromOrigin.Load()
	for t := range a.torrents {
		sum.FromPeers += t.Received()
		sum.ToPeers += t.Sent()
	}
	return sum
}

// Site is the site as this machine sees it at this moment, and its members, this machine first.
func (a *Agent) Site() (site.Status, []site.Member) { return a.site.Status(), a.site.All() }

// MetOthers reports whether another machine of the site is here, or was and gave or took something.
func (a *Agent) MetOthers() bool {
	t := a.Totals()
	return a.site.Status().Members > 1 || t.FromPeers+t.ToPeers > 0
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

package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"handout/agent/plan"
	"handout/agent/store"
	"handout/agent/swarm"
	"handout/manifest"
)

// download fetches the missing pieces of one package. One goroutine looks at the whole and decides; one for each origin
// connection this machine may have reads runs of pieces. What comes from neighbours the swarm stores by itself.
type download struct {
	agent   *Agent
	job     *job
	m       *manifest.Manifest
	tree    *store.Tree
	swarm   *swarm.Torrent // nil: no neighbours
	policy  plan.Policy
	places  []*place      // the origins, best first
	urls    []string      // of the origins
	wait    time.Duration // how long to try an origin there is no way to
	changed *pulse        // something happened that may let a connection read
	poke    chan struct{} // a run has ended: look again

	mu         sync.Mutex
	view       plan.View
	verdict    plan.Verdict
	allowed    time.Duration // for how long runs may have been read
	gaveUp     bool          // a lone read
	reading    plan.Bitfield // by this machine from an origin
	active     int           // connections that read at this moment
	perStream  float64       // bytes per second that one connection gave lately, while it read
	fromOrigin int64
	watch      plan.Watch
	seenOrigin int64     // of fromOrigin, what the last look knew of
	seenPeers  int64     // and of the bytes from neighbours
	hopeless   time.Time // since when nothing can bring what is missing; zero: something can
	failed     error
	stopped    bool  // by order, or for a package of a higher priority
	limits     int64 // how often the limits had been changed at the last look
	moves      int64 // and this machine's networks
}

const (
	decideEvery = 100 * time.Millisecond
	// breath is the least time between two decisions: in a room of sixteen a thousand HAVEs a second arrive.
	breath    = 20 * time.Millisecond
	showEvery = 250 * time.Millisecond
)

func newDownload(a *Agent, j *job, tree *store.Tree, t *swarm.Torrent, o FetchOptions) (*download, error) {
	m := j.m
	d := &download{
		agent: a, job: j, m: m, tree: tree, swarm: t,
		policy: plan.Policy{
			Use: a.c.OriginUse, Connections: min(a.c.Connections, a.c.SiteConnections), EnoughSeeds: a.c.EnoughSeeds, NoPeers: t == nil,
		},
		wait:    o.Wait,
		changed: newPulse(),
		poke:    make(chan struct{}, 1),
		reading: plan.NewBitfield(m.NumPieces()),
	}
	if !o.NoOrigin && a.c.OriginUse != plan.Never {
		d.urls = append(append([]string{}, o.Origins...), a.allowed(m)...)
		places, err := openPlaces(d.urls, a.c.Origins, a.down, a.log)
		if err != nil {
			return nil, err
		}
		d.places = places
	}
	if len(d.places) == 0 && t == nil {
		return nil, ErrNoSource
	}
	return d, nil
}

// run returns when every piece is here, when nothing can bring the rest, or when ctx ends.
func (d *download) run(ctx context.Context, show func(Progress)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.decide(time.Now())
	go d.agent.moves.locate(ctx, d.urls)
	g, gctx := errgroup.WithContext(ctx)
	if len(d.places) > 0 {
		for n := range d.policy.Connections {
			g.Go(func() error { return d.stream(gctx, n) })
		}
	}
	g.Go(func() error {
		defer cancel() // the streams stop when the last piece is here
		return d.oversee(gctx, show)
	})
	err := g.Wait()
	if d.tree.Missing().Count() == 0 {
		return nil
	}
	return err
}

// oversee decides anew whenever something changed, until the last piece is here.
func (d *download) oversee(ctx context.Context, show func(Progress)) error {
	tick := time.NewTicker(decideEvery)
	defer tick.Stop()
	var news <-chan struct{}
	if d.swarm != nil {
		news = d.swarm.Changed()
	}
	var shown time.Time
	for {
		now := time.Now()
		d.decide(now)
		d.choose()
		if err := d.err(now); err != nil {
			return err
		}
		if now.Sub(shown) >= showEvery {
			show(d.progress(now))
			shown = now
		}
		if d.tree.Missing().Count() == 0 {
			show(d.progress(time.Now()))
			return nil
		}
		d.changed.send()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(breath):
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		case <-news:
		case <-d.poke:
		}
	}
}

// settled are the pieces that nothing has to be done about: they are here, or not wanted.
func (d *download) settled() plan.Bitfield {
	settled := plan.NewBitfield(d.m.NumPieces())
	settled.SetAll()
	settled.Without(d.tree.Missing())
	return settled
}

// decide looks around and settles how the origin may be used now.
func (d *download) decide(now time.Time) {
	stopped := d.agent.stopped(d.job)
	limits, moves := d.agent.newLimits.Load(), d.agent.moves.seen.Load()
	v := plan.View{Have: d.settled(), PieceBytes: d.m.PieceLength}
	var fromPeers int64
	if d.swarm != nil {
		v.Lot = d.swarm.Lot()
		v.Neighbours, v.Requested = d.swarm.Look()
		fromPeers = d.swarm.Received()
	} else {
		v.Requested = plan.NewBitfield(d.m.NumPieces())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if moves != d.moves {
		d.moves = moves
		for _, p := range d.places {
			p.tryAgain()
		}
	}
	v.Reading, v.GaveUp = d.reading, d.gaveUp
	d.stopped = stopped != ""
	if d.stopped || limits != d.limits {
		// What was measured before counts no more: neither a pause nor a lower limit is a stall.
		d.watch, d.limits = plan.Watch{}, limits
		d.seenOrigin, d.seenPeers = d.fromOrigin, fromPeers
	}
	if d.stopped {
		d.view, d.verdict = v, plan.Verdict{Why: stopped}
		return
	}
	d.watch.Look(now, &v, d.fromOrigin-d.seenOrigin, fromPeers-d.seenPeers, d.active > 0)
	d.seenOrigin, d.seenPeers = d.fromOrigin, fromPeers
	v.Awaits = d.swarm != nil && d.agent.awaits(len(v.Neighbours), v.Age)
	d.view, d.verdict = v, plan.MayUseOrigin(v, d.policy)
	d.allowed = d.watch.Allowed(now, d.verdict)
}

// choose settles what seeds are asked for first.
func (d *download) choose() {
	if d.swarm == nil {
		return
	}
	d.mu.Lock()
	v := d.view
	v.Reading = d.reading.Clone()
	d.mu.Unlock()
	d.swarm.Choose(v)
}

// wish is what stream n would read next, its last run having ended before piece after; false: it should not read now.
func (d *download) wish(n int, after manifest.PieceIndex) (plan.Ask, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n >= d.verdict.Connections || d.listening() {
		return plan.Ask{After: after}, false
	}
	// The view is a moment old; what came since is known.
	d.view.Have = d.settled()
	eligible := plan.Eligible(d.view, d.verdict.Stalled)
	eligible.Without(d.unavailable())
	return plan.Ask{
		Eligible: eligible, After: after,
		Limit:   plan.RunLimit(d.m.PieceLength, d.perStream, d.allowed),
		Link:    d.view.Link,
		Fed:     d.view.Fed(d.policy.Connections),
		Stalled: d.verdict.Stalled,
		Bound:   d.bound(),
		Again:   d.verdict.Stalled,
	}, eligible.Count() > 0
}

// begin reserves a run that was granted and returns as much of it as can be read: no neighbour may be asked for the same.
// A run from the front is read in any case, and reserved as it comes.
func (d *download) begin(r plan.Run, f *front) plan.Run {
	if f != nil {
		f.reserve()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.active++
		return r
	}
	d.mu.Lock()
	r.Mark(d.reading)
	stalled := d.verdict.Stalled
	d.mu.Unlock()
	free := r
	if d.swarm != nil && !stalled {
		free = d.swarm.Reserve(r)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	plan.Run{First: free.First + manifest.PieceIndex(free.Len), Len: r.Len - free.Len}.Unmark(d.reading)
	if free.Len > 0 {
		d.active++
	}
	return free
}

// piecesIn is how many pieces one connection to the origin brings in t, at least one.
func (d *download) piecesIn(t time.Duration) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(1, int(d.perStream*t.Seconds()/float64(d.m.PieceLength)))
}

// finish gives back a run that was read, or was given up, after so long. It returns the piece before which reading ended.
func (d *download) finish(r plan.Run, f *front, took time.Duration) (after manifest.PieceIndex) {
	if d.swarm != nil {
		d.swarm.Release(r)
	}
	d.mu.Lock()
	r.Unmark(d.reading)
	d.active--
	var read int64
	after = r.First
	for k := range r.Len {
		if i := r.First + manifest.PieceIndex(k); !d.tree.Lacks(i) {
			read += d.m.PieceSize(i)
			after = i + 1
		}
	}
	if f != nil {
		read, after = f.bytes, f.next
	}
	rate := float64(read) / max(took, time.Millisecond).Seconds()
	if d.perStream > 0 {
		rate = (rate + d.perStream) / 2
	}
	d.perStream = rate
	d.mu.Unlock()
	tell(d.poke)
	return after
}

// fail ends the download: err is not one that waiting or another source mends.
func (d *download) fail(err error) {
	d.mu.Lock()
	if d.failed == nil {
		d.failed = err
	}
	d.mu.Unlock()
}

func (d *download) received() (fromOrigin, fromPeers int64) {
	if d.swarm != nil {
		fromPeers = d.swarm.Received()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fromOrigin, fromPeers
}

func (d *download) progress(now time.Time) Progress {
	p := Progress{Phase: Fetching, Remaining: -1}
	p.Done, p.Total = d.tree.Bytes()
	if d.swarm != nil {
		p.FromPeers, p.ToPeers = d.swarm.Received(), d.swarm.Sent()
		p.PeerBytesPerSec = int64(d.swarm.Rate())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p.FromOrigin, p.OriginBytesPerSec = d.fromOrigin, int64(d.watch.OriginPerSecond(now))
	st := d.agent.site.Status()
	p.Members, p.Steward, p.SiteConnections = st.Members, st.Steward, st.Connections
	p.Blocked, p.Unreachable = st.Reach.Shut.Ports(d.agent.PeerPort()), st.Unreachable
	p.Neighbours, p.OriginConnections, p.Why = len(d.view.Neighbours), d.active, d.verdict.Why
	if p.Why == plan.AloneHere && st.Members <= 1 {
		p.Why += ", " + d.agent.nets.Now().String()
	}
	if d.active == 0 && d.verdict.Connections > 0 && st.Members > 1 {
		p.Why = "waiting for a lease"
	}
	// A machine that is stalled asks again and again: that it just does so is no reason to hide what the origin answers.
	if trouble := d.trouble(); trouble != nil && d.verdict.Connections > 0 && (d.active == 0 || d.verdict.Stalled) {
		p.Why = trouble.Error()
	}
	if d.active == 0 && !d.stopped && d.agent.moves.offline() {
		p.Why = "this machine has no network yet"
	}
	if rate := p.OriginBytesPerSec + p.PeerBytesPerSec; rate > 0 {
		p.Remaining = time.Duration(float64(p.Total-p.Done) / float64(rate) * float64(time.Second)).Round(time.Second)
	}
	return p
}

// err is why the download can't go on, or nil.
func (d *download) err(now time.Time) error {
	if d.swarm != nil {
		if err := d.swarm.Err(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return d.failed
	}
	patience, cause := d.patience()
	hopeless := cause != nil && !d.view.NeighboursHelp() && !d.stopped
	if plan.Lasting(now, &d.hopeless, hopeless) > patience {
		return cause
	}
	return nil
}

const (
	// strangersGetTime is for neighbours to be found where no origin can help; with an origin that was named wrongly a
	// person waits for it too.
	strangersGetTime = 15 * time.Second
)

// patience is how long to bear that no origin brings what is missing, and the error to end with then; nil: one does.
func (d *download) patience() (time.Duration, error) {
	if len(d.places) == 0 {
		return d.strangers(), errors.Join(ErrNoSource, fmt.Errorf("no origin is used, and no neighbour has what is missing: looked %v", d.agent.nets.Now()))
	}
	missing := plan.NewBitfield(d.m.NumPieces())
	missing.SetAll()
	missing.Without(d.view.Have)
	found := missing.Clone()
	found.Without(d.lost())
	useless := true
	for _, p := range d.places {
		useless = useless && p.useless()
	}
	if found.Count() == 0 || useless {
		// Neighbours are all that is left; alone by order, there is nobody to wait for.
		if d.swarm == nil {
			return -1, d.trouble()
		}
		return strangersGetTime, d.trouble()
	}
	for _, p := range d.places {
		if !p.failing() {
			return 0, nil
		}
	}
	for _, p := range d.places {
		if p.worked() {
			return d.agent.c.Patience, d.trouble()
		}
	}
	for _, p := range d.places {
		if p.isOutOfReach() {
			return max(d.strangers(), d.wait), d.trouble()
		}
	}
	return d.strangers(), d.trouble()
}

// strangers is how long neighbours and origins get to be found. Where there is no network at all it is most likely one that
// comes up just now.
func (d *download) strangers() time.Duration {
	if d.agent.moves.offline() {
		return max(d.agent.c.Patience, d.wait)
	}
	return strangersGetTime
}

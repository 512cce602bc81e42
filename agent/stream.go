package agent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"handout/agent/plan"
	"handout/agent/site"
	"handout/agent/store"
	"handout/manifest"
	"handout/sources"
)

// stream is one origin connection, the download's nth: it reads one run of pieces after the other for as long as the plan
// and the steward let it. Without a lease it has no connection. It asks for the next run while the last pieces of the
// present one arrive, so that the origin is not idle meanwhile.
func (d *download) stream(ctx context.Context, n int) error {
	c := connection{origins: map[*place]sources.Origin{}}
	defer c.close()
	after := manifest.PieceIndex(d.m.NumPieces()) // no run yet: begin anywhere
	yield := func() manifest.PieceIndex {
		c.drop()
		return after
	}
	lease := d.ask(ctx, n, after, nil, nil)
	strikes := 0
	for {
		changed := d.changed.wait()
		g := <-lease
		l := g.lease
		if ctx.Err() != nil {
			if l != nil {
				c.drop()
				d.agent.site.Release(l, l.Run.First) // not begun, or over
			}
			return nil
		}
		if l == nil {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			lease = d.ask(ctx, n, after, nil, nil)
			continue
		}
		if g.after != after || time.Since(g.at) > plan.Fresh || d.listens() {
			lease = d.ask(ctx, n, after, l, yield)
			continue
		}
		if !l.Front && d.bound().Has(l.Run.First) && strikes < mostStrikes { // the steward did not know yet that there are no ranges
			strikes++
			time.Sleep(breath)
			lease = d.ask(ctx, n, after, l, yield)
			continue
		}
		strikes = 0
		d.agent.leases.Add(1)
		f := d.frontOf(l)
		r := d.begin(l.Run, f)
		after = r.First + manifest.PieceIndex(r.Len)
		read := make(chan struct{}) // closed when r was read
		askOn := sync.OnceFunc(func() {
			lease = d.ask(ctx, n, after, l, func() manifest.PieceIndex {
				<-read
				return yield()
			})
		})
		if r.Len > 0 {
			began := time.Now()
			d.readWith(ctx, l, &c, r, f, askOn)
			after = d.finish(r, f, time.Since(began))
		}
		close(read)
		askOn()
	}
}

// mostStrikes is how often in a row a run may be given back that begins within a file without ranges. A steward that does not
// know of such files, being of another version, gives no other.
const mostStrikes = 20

// grant is the steward's answer.
type grant struct {
	lease *site.Lease         // nil: there is nothing to read now
	after manifest.PieceIndex // where the run before was to end
	at    time.Time
}

// ask asks the steward for a lease for stream n, whose last run ended before piece after; prev is the lease whose
// connection is open, if one is, and yield closes that and returns where reading ended. One grant comes.
func (d *download) ask(ctx context.Context, n int, after manifest.PieceIndex, prev *site.Lease, yield func() manifest.PieceIndex) <-chan grant {
	answer := make(chan grant, 1)
	go func() {
		wishes := false
		l, err := d.agent.site.Lease(ctx, d.m.InfoHash, n, prev, func() (a plan.Ask, ok bool) {
			a, wishes = d.wish(n, after)
			return a, wishes
		}, yield)
		if err != nil {
			l = nil
		}
		if l == nil && wishes { // refused: a room that is fed should not ask at every piece that comes
			select {
			case <-ctx.Done():
			case <-time.After(decideEvery):
			}
		}
		answer <- grant{l, after, time.Now()}
	}()
	return answer
}

// askAhead is how long before a run is read the next one is asked for: on a link in use it is for question and answer that
// both wait in full queues.
const askAhead = 200 * time.Millisecond

// readWith reads a run for as long as its lease lives. It calls soon once, askAhead before it is read.
func (d *download) readWith(ctx context.Context, l *site.Lease, c *connection, r plan.Run, f *front, soon func()) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-l.Lost():
			d.agent.leasesLost.Add(1)
			d.record(LeaseLost, nil, nil)
			cancel()
		case <-ctx.Done():
		}
	}()
	d.watchLone(ctx, cancel, c, r, f != nil)
	d.read(ctx, c, r, f, soon)
	if ctx.Err() != nil {
		c.drop()
	}
}

// read brings what it can of a run; f is nil where it is not one from the front. Whatever goes wrong is noted at the place it went wrong at; what is still missing
// afterwards is eligible again.
func (d *download) read(ctx context.Context, c *connection, r plan.Run, f *front, soon func()) {
	p := d.placeFor(r.First)
	if f != nil {
		p = d.placeFor(f.last) // what comes before may be lacking here, and is passed
	}
	if p == nil {
		return
	}
	o, err := c.to(p)
	if err == nil && f == nil {
		err = p.askRanges(ctx, o, d.m, r.First)
	}
	if err == nil {
		asksAfter := r.Len - d.piecesIn(askAhead)
		if asksAfter <= 0 {
			soon()
		}
		err = sources.ReadRun(ctx, d.from(o, p, f), d.m, r.First, r.Len, func(i manifest.PieceIndex, data []byte) error {
			if int(i-r.First)+1 == asksAfter {
				soon()
			}
			if f != nil && p.isLacking(i) {
				return f.passed(i, len(data)) // it came wrong before
			}
			if err := d.put(ctx, p, o, i, data); err != nil {
				return err
			}
			return f.passed(i, len(data))
		})
	}
	if errors.Is(err, sources.ErrMissing) && ctx.Err() == nil {
		d.lookForAbsent(ctx, p, o)
	}
	switch {
	case err == nil && f == nil:
		p.hadPart(d.m, r)
	case err == nil, ctx.Err() != nil, d.failing():
	case err == errEnough:
		c.drop()
	case errors.Is(err, sources.ErrNoRanges) && f == nil:
		d.foundNoRanges(ctx, p, err)
	case !isAboutFile(err):
		wait := p.pause(err)
		d.record(OriginTrouble, p, err)
		d.agent.log.Warn("origin can't be read: it is left alone for a while", "origin", p.name, "error", err, "for", wait)
	case f != nil: // the piece that did not come; the rest is read on
		p.lack(f.next, err)
		d.agent.log.Log(ctx, p.level(), "piece can't be had from the origin: others are asked", "origin", p.name, "piece", f.next, "error", err)
		f.next++
		if rest := int(r.First) + r.Len - int(f.next); rest > 0 && p.usable() {
			d.read(ctx, c, plan.Run{First: f.next, Len: rest}, f, soon)
		}
	case r.Len == 1:
		p.lack(r.First, err)
		d.agent.log.Log(ctx, p.level(), "piece can't be had from the origin: others are asked", "origin", p.name, "piece", r.First, "error", err)
	default: // one file of many: the others' pieces are read one by one
		for k := range r.Len {
			if i := r.First + manifest.PieceIndex(k); d.tree.Lacks(i) && ctx.Err() == nil && !d.failing() && p.usable() {
				d.read(ctx, c, plan.Run{First: i, Len: 1}, nil, func() {})
			}
		}
	}
}

// record tells the journal of something at place p; nil: at none.
func (d *download) record(k Kind, p *place, err error) {
	e := Event{Kind: k, Package: d.m.Name, Version: d.m.Version, Err: err}
	if p != nil {
		e.Origin = p.name
	}
	d.agent.journal.Record(e)
}

// isAboutFile reports whether a read failed because of the file that was asked for, so that others may be there.
func isAboutFile(err error) bool {
	return errors.Is(err, sources.ErrMissing) || errors.Is(err, sources.ErrChanged) || errors.Is(err, sources.ErrDenied)
}

// put stores and announces a piece that came from place p. An error ends the run, and the download with it.
func (d *download) put(ctx context.Context, p *place, o sources.Origin, i manifest.PieceIndex, data []byte) error {
	n := int64(len(data))
	d.mu.Lock()
	d.fromOrigin += n
	d.mu.Unlock()
	d.agent.fromOrigin.Add(n)
	if !d.tree.Lacks(i) {
		return nil
	}
	err := d.tree.Put(i, data)
	if errors.Is(err, store.ErrCorrupt) {
		err := sources.Check(o, d.m, i, data) // which files it is
		d.agent.originRefused.Add(1)
		p.spoil(i, err)
		d.record(PieceRefused, p, err)
		d.agent.log.Log(ctx, p.level(), "origin serves bytes that do not match the manifest: nothing of them is kept", "error", err)
		return nil
	}
	if err != nil {
		d.fail(err)
		return err
	}
	d.agent.originVerified.Add(1)
	p.well()
	if d.swarm != nil {
		d.swarm.Announce(i)
	}
	return nil
}

func (d *download) failing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed != nil
}

// connection is the one that a stream may hold, to whichever place it reads from.
type connection struct {
	at      *place
	came    atomic.Int64              // bytes in all
	origins map[*place]sources.Origin // opened, all but at's without a connection
}

// to turns to a place: the connection to another one is closed first.
func (c *connection) to(p *place) (sources.Origin, error) {
	if c.at != p {
		c.drop()
		c.at = p
	}
	o := c.origins[p]
	if o == nil {
		var err error
		if o, err = p.open(func(n int) { c.came.Add(int64(n)) }); err != nil {
			return nil, err
		}
		c.origins[p] = o
	}
	return o, nil
}

// drop closes the connection; the origins stay usable.
func (c *connection) drop() {
	if o := c.origins[c.at]; o != nil {
		o.Close() // what could fail is over: every byte that mattered has been read
	}
	c.at = nil
}

func (c *connection) close() {
	for _, o := range c.origins {
		o.Close()
	}
}

package agent

import (
	"context"
	"errors"
	"time"

	"handout/agent/plan"
	"handout/agent/site"
	"handout/agent/store"
	"handout/manifest"
	"handout/sources"
)

// stream is one origin connection, the download's nth: it reads one run of pieces after the other for as long as the plan
// and the steward let it. Without a lease it has no connection.
func (d *download) stream(ctx context.Context, n int) error {
	c := connection{origins: map[*place]sources.Origin{}}
	defer c.close()
	var lease *site.Lease
	after := manifest.PieceIndex(d.m.NumPieces()) // no run yet: begin anywhere
	for ctx.Err() == nil {
		changed := d.changed.wait()
		var err error
		lease, err = d.agent.site.Lease(ctx, d.m.InfoHash, n, lease, func() (plan.Ask, bool) { return d.wish(n, after) }, c.drop)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		r := d.begin(lease.Run)
		if r.Len > 0 {
			began := time.Now()
			d.readWith(ctx, lease, &c, r)
			d.finish(r, time.Since(began))
		}
		after = r.First + manifest.PieceIndex(r.Len)
	}
	if lease != nil {
		c.drop()
		d.agent.site.Release(lease)
	}
	return nil
}

// readWith reads a run for as long as its lease lives.
func (d *download) readWith(ctx context.Context, l *site.Lease, c *connection, r plan.Run) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-l.Lost():
			cancel()
		case <-ctx.Done():
		}
	}()
	d.read(ctx, c, r)
	if ctx.Err() != nil {
		c.drop()
	}
}

// read brings what it can of a run. Whatever goes wrong is noted at the place it went wrong at; what is still missing
// afterwards is eligible again.
func (d *download) read(ctx context.Context, c *connection, r plan.Run) {
	p := d.placeFor(r.First)
	if p == nil {
		return
	}
	o, err := c.to(p)
	if err == nil {
		err = sources.ReadRun(ctx, o, d.m, r.First, r.Len, func(i manifest.PieceIndex, data []byte) error {
			return d.put(ctx, p, o, i, data)
		})
	}
	switch {
	case err == nil, ctx.Err() != nil, d.failing():
	case !isAboutFile(err):
		wait := p.pause(err)
		d.agent.log.Warn("origin can't be read: it is left alone for a while", "origin", p.name, "error", err, "for", wait)
	case r.Len == 1:
		p.lack(r.First, err)
		d.agent.log.Log(ctx, p.level(), "piece can't be had from the origin: others are asked", "origin", p.name, "piece", r.First, "error", err)
	default: // one file of many: the others' pieces are read one by one
		for k := range r.Len {
			if i := r.First + manifest.PieceIndex(k); !d.tree.Has(i) && ctx.Err() == nil && !d.failing() && p.usable() {
				d.read(ctx, c, plan.Run{First: i, Len: 1})
			}
		}
	}
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
	d.origin.Add(time.Now(), n)
	d.mu.Unlock()
	if d.tree.Has(i) {
		return nil
	}
	err := d.tree.Put(i, data)
	if errors.Is(err, store.ErrCorrupt) {
		err := sources.Check(o, d.m, i, data) // which files it is
		p.spoil(i, err)
		d.agent.log.Log(ctx, p.level(), "origin serves bytes that do not match the manifest: nothing of them is kept", "error", err)
		return nil
	}
	if err != nil {
		d.fail(err)
		return err
	}
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
		if o, err = p.open(); err != nil {
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

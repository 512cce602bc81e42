package main

import (
	"fmt"
	"slices"
	"time"

	"handout/agent/plan"
)

const (
	// settling is what two sides of a site have to agree after they have met.
	settling = time.Second
	// idleAtMost is how long an upload slot may stay free though a neighbour could use it.
	idleAtMost = 50 * time.Millisecond
	lookEvery  = 250 * time.Millisecond
)

// A watch asserts what must hold at every moment of a run: the numbers are plan.md's.
type watch struct {
	world   *world
	err     error
	streams []*stream // open
	most    map[int]int
	looked  moment
	resumed moment   // when the origin was read again after the crash
	firsts  []moment // when connections were opened
}

// A breach is a promise that was broken.
type breach struct {
	promise  int
	at       moment
	machines []int
	what     string
}

func (b *breach) Error() string {
	return fmt.Sprintf("promise %d broken at %v by machines %v: %s", b.promise, b.at, b.machines, b.what)
}

func (c *watch) broken(promise int, who []*machine, format string, args ...any) error {
	b := &breach{promise: promise, at: c.world.now, what: fmt.Sprintf(format, args...)}
	for _, m := range who[:min(len(who), 12)] {
		b.machines = append(b.machines, m.id)
	}
	if c.err == nil {
		c.err = b
	}
	return b
}

// opened and closed are origin connections.
func (c *watch) opened(s *stream) {
	s.open = true
	c.streams = append(c.streams, s)
	c.firsts = append(c.firsts, c.world.now)
	c.connections()
}

func (c *watch) closed(s *stream) {
	if s.open {
		s.open = false
		c.streams = slices.DeleteFunc(c.streams, func(o *stream) bool { return o == s })
	}
}

// connections is promise 1: never more than K of a site. Machines that have not met its steward have one each within
// their first two seconds, and K under one they take for it; when they meet it, what they read at that moment is read to
// the end of the run.
func (c *watch) connections() {
	w := c.world
	bySite, all, single, apart := map[int][]*machine{}, map[int]int{}, map[*machine]int{}, map[*machine]int{}
	for _, s := range c.streams {
		m := s.of
		site := m.site
		if w.oneSite != never && w.now >= w.oneSite {
			site = 0
		}
		all[site]++
		switch {
		case w.dishonest:
		case m.member.met == never:
			single[m]++
			if s.granted > m.member.since {
				apart[m.member.steward]++
			}
			if n := single[m]; n > 1 && w.now < m.starts+2*time.Second {
				c.broken(1, []*machine{m}, "%d origin connections before it has met the site", n)
			}
			if n := apart[m.member.steward]; n > w.k {
				c.broken(1, []*machine{m, m.member.steward}, "%d origin connections under one that is taken for steward", n)
			}
		case s.granted > m.member.met && (w.oneSite == 0 || w.now < w.oneSite || s.granted > w.oneSite+w.view[1]+settling):
			bySite[site] = append(bySite[site], m)
		}
	}
	for site, n := range all {
		if machines := bySite[site]; len(machines) > w.k {
			c.broken(1, machines, "%d origin connections of a site that may have %d", len(machines), w.k)
		}
		c.most[site] = max(c.most[site], n)
	}
}

// granted is promise 4, its second half: no two living leases share a piece.
func (c *watch) granted(s *stream, l plan.Lease) {
	for _, o := range c.streams {
		if w := c.world; w.dishonest || o == s || o.lease == nil || o.of.member.steward != s.of.member.steward {
			continue
		}
		if a, b := o.lease.Run, l.Run; a.First < b.First+piece(b.Len) && b.First < a.First+piece(a.Len) {
			c.broken(4, []*machine{o.of, s.of}, "leases %d for %+v and %d for %+v share a piece", o.lease.ID, a, l.ID, b)
		}
	}
}

// fetched is promise 4: only what is eligible is read from the origin, by what had been heard when it was asked for.
func (c *watch) fetched(s *stream, i piece) {
	m := s.of
	if m.have.Has(i) {
		c.broken(4, []*machine{m}, "piece %d is read from the origin though it is here", i)
	}
	if s.stalled {
		return
	}
	for _, n := range m.near {
		o := n.of
		if !o.done() && !n.slow && n.since+decideEvery < s.askedAt && o.told.Has(i) && o.toldAt[i] < s.askedAt {
			c.broken(4, []*machine{m, o}, "piece %d is read from the origin though a neighbour told of it %v before", i, s.askedAt-o.toldAt[i])
		}
	}
}

// sent is promise 7: only what is verified is sent.
func (c *watch) sent(f *flow) {
	if !f.from.have.Has(f.piece) && !f.from.mute {
		c.broken(7, []*machine{f.from, f.to}, "piece %d is sent by a machine that has not got it", f.piece)
	}
}

// look checks from time to time what can't be checked where it happens.
func (c *watch) look() {
	w := c.world
	if w.crashAt > 0 && c.resumed == 0 {
		c.resume()
	}
	if w.now-c.looked < lookEvery {
		return
	}
	c.looked = w.now
	c.connections()
	for _, m := range w.machines {
		if m.alive() && m.uploads < w.uploads && m.count > 0 && w.now-m.tried > idleAtMost {
			for _, n := range m.near {
				if n.of.canTake(n.back) && m.offers(n) {
					c.broken(8, []*machine{m, n.of}, "an upload slot idles though a neighbour could use it")
				}
			}
		}
		told := m.told.Clone()
		told.Without(m.have)
		if told.Count() > 0 && !m.mute {
			c.broken(7, []*machine{m}, "%d pieces are announced that are not here", told.Count())
		}
	}
}

// resume is promise 6: after all lease holders and the steward died, reading goes on within a lease term and a second.
func (c *watch) resume() {
	w := c.world
	for _, s := range c.streams {
		if s.flow != nil && s.flow.began > w.crashAt {
			c.resumed = w.now - w.crashAt
			return
		}
	}
	if w.now > w.crashAt+plan.LeaseTerm+time.Second {
		c.broken(6, nil, "the origin is not read again %v after the crash", w.now-w.crashAt)
	}
}

// finish is what can be said at the end.
func (c *watch) finish() error {
	w := c.world
	for site, bytes := range w.drawn() {
		limit := 1.02 * w.bytes
		if w.crashAt > 0 {
			limit = w.bytes + w.lost + float64(w.k)*min(w.origin, w.up)*w.connection
		}
		if w.stallers || w.dishonest {
			limit = float64(w.pieces) * w.bytes
		}
		if bytes > limit {
			return c.broken(2, nil, "site %d read %.3f F from the origin, %.3f F are allowed", site, bytes/w.bytes, limit/w.bytes)
		}
	}
	if len(w.machines) == 1 && c.err == nil {
		return c.alone()
	}
	if w.check != nil && c.err == nil {
		w.check(w)
	}
	return c.err
}

// alone is promise 3: the first stream after half a second, all of them after two.
func (c *watch) alone() error {
	m := c.world.machines[0]
	for n, want := range map[int]moment{0: 500 * time.Millisecond, c.world.k - 1: 2 * time.Second} {
		if late := c.firsts[n] - m.starts - want; late < 0 || late > 200*time.Millisecond {
			return c.broken(3, []*machine{m}, "stream %d of a lone machine opened after %v", n+1, c.firsts[n]-m.starts)
		}
	}
	return c.err
}

// drawn is what each site read from the origin, in bytes.
func (w *world) drawn() map[int]float64 {
	all := map[int]float64{}
	for _, m := range w.machines {
		all[m.site] += m.drawn
	}
	return all
}

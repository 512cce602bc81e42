package main

import (
	"time"

	"handout/agent/plan"
)

// A stream is one of a machine's origin connections and the wish for one, as the agent runs it: ask for a lease, read its
// run, and while its last piece arrives ask with the lease in hand for the next.
type stream struct {
	of      *machine
	n       int
	after   piece // where the last run ended
	lease   *lease
	open    bool // counted by the origin
	run     plan.Run
	at      int    // pieces of the run that are read
	flow    *flow  // the piece that is being read
	began   moment // when the run did
	granted moment // when it was granted
	asking  bool
	asks    int    // how many were sent, to tell an old timer
	askedAt moment // when that was put which was answered or is the latest
	before  moment // when the ask before it was
	stalled bool   // the run was asked for as a stalled machine
	lone    bool   // or as one that knew nobody
	early   func() // what was answered before the run was read; nil: nothing
	ahead   moment // when the run after this one was granted; never: it wasn't
	refused bool   // there is nothing to ask for after this run
}

type lease struct {
	plan.Lease
	granted moment // its run was
	renewed moment
}

const (
	repeatAsk = 500 * time.Millisecond
	loneEvery = 50 * time.Millisecond
)

// next asks for a run if the stream neither reads nor waits.
func (s *stream) next() {
	if s.asking || s.run.Len > 0 || s.of.died != 0 || s.of.done() {
		return
	}
	s.ask()
}

func (s *stream) ask() {
	a, ok := s.wish()
	if !ok {
		s.refused = s.run.Len > 0
		if !s.refused {
			s.give()
		}
		return
	}
	s.asking, s.asks, s.before, s.askedAt = true, s.asks+1, s.askedAt, s.of.w.now
	s.of.ask(a)
	mine := s.asks
	s.of.w.after(repeatAsk, func() { s.tired(mine) })
}

// tired is an ask that had no answer for long. Whoever waits does not keep a connection, but first reads what it was given.
func (s *stream) tired(ask int) {
	switch {
	case !s.asking || s.asks != ask:
	case s.run.Len > 0:
		s.of.w.after(serveEvery, func() { s.tired(ask) })
	default:
		s.give()
		s.asking = false
		s.next()
	}
}

// wish is what the stream would read next.
func (s *stream) wish() (plan.Ask, bool) {
	m := s.of
	if s.n >= m.verdict.Connections || m.verdict.Lone && m.gaveUp {
		return plan.Ask{}, false
	}
	eligible := m.eligible()
	a := plan.Ask{
		Member: m.name(), Stream: s.n, Eligible: eligible, After: s.after,
		Limit: plan.RunLimit(int64(m.w.pieceBytes), m.pace, m.allowed),
		Link:  m.view.Link, Fed: m.view.Fed(m.w.k),
	}
	if s.lease != nil {
		a.Holds = s.lease.ID
	}
	s.stalled, s.lone = m.verdict.Stalled, m.verdict.Lone
	return a, eligible.Count() > 0
}

// eligible is what the plan lets the machine read, by what it has asked for since it last looked too.
func (m *machine) eligible() plan.Bitfield {
	v := m.view
	v.Requested = plan.NewBitfield(m.w.pieces)
	for _, n := range m.near {
		if !n.slow {
			for _, f := range n.flows {
				v.Requested.Set(f.piece)
			}
		}
	}
	return plan.Eligible(v, m.verdict.Stalled)
}

// answer is what a steward says. A lease that nobody waits for goes back, and so does one of a steward that is followed no
// more: the present one does not know of it.
func (s *stream) answer(from *machine, a plan.Answer) {
	m := s.of
	if !s.asking || from != m.member.steward || m.died != 0 || m.done() {
		if a.Lease.Run.Len > 0 && (s.lease == nil || s.lease.ID != a.Lease.ID) {
			m.release(from, a.Lease.ID, a.Lease.Run.First)
		}
		return
	}
	s.asking = false
	if from != m && m.w.now-s.askedAt < 2*m.w.delay { // the ask before crossed with it
		s.askedAt = s.before
	}
	if a.Lease.Run.Len > 0 {
		s.take(a.Lease)
	}
	if s.run.Len > 0 {
		s.early, s.ahead = func() { s.obey(from, a) }, never
		if a.Lease.Run.Len > 0 {
			s.ahead = m.w.now
		}
		return
	}
	s.obey(from, a)
}

// take makes a granted lease the stream's own.
func (s *stream) take(l plan.Lease) {
	m := s.of
	m.w.watch.granted(s, l)
	if s.lease != nil && s.lease.ID != l.ID {
		m.release(m.member.steward, s.lease.ID, s.after) // a new steward, which did not know it, gave another for the connection
	}
	s.lease = &lease{Lease: l, granted: m.w.now, renewed: s.askedAt}
}

// obey does what the steward has answered, once the run before is read.
func (s *stream) obey(from *machine, a plan.Answer) {
	switch {
	case a.Yield:
		s.give()
		s.next()
	case a.Lease.Run.Len == 0:
		s.give()
		if s.stalled {
			s.of.passOver(from, unfairFor)
		}
	default:
		s.read(a.Lease)
	}
}

// read begins a granted run, as far as no neighbour was asked for it meanwhile.
func (s *stream) read(l plan.Lease) {
	m := s.of
	s.granted = s.lease.granted
	s.run, s.at = plan.Run{First: l.Run.First}, 0
	for k := range l.Run.Len {
		if i := l.Run.First + piece(k); m.have.Has(i) || m.asked(i) && !s.stalled {
			break
		}
		s.run.Len++
	}
	s.after = s.run.First + piece(s.run.Len)
	if s.run.Len == 0 {
		s.next()
		return
	}
	for k := range s.run.Len {
		m.reading.Set(s.run.First + piece(k))
		m.wants.Clear(s.run.First + piece(k))
	}
	m.active++
	s.began = m.w.now
	if s.open {
		s.fetch(0)
		return
	}
	m.w.watch.opened(s)
	id := l.ID
	m.w.after(4*m.w.delay, func() { // one round trip for the connection, one for the first byte
		if s.open && s.flow == nil && s.run.Len > 0 && s.lease != nil && s.lease.ID == id {
			s.fetch(0)
		}
	})
}

// asked reports whether a neighbour that is not mute was asked for piece i.
func (m *machine) asked(i piece) bool {
	for _, n := range m.near {
		if !n.slow {
			for _, f := range n.flows {
				if f.piece == i {
					return true
				}
			}
		}
	}
	return false
}

// fetch begins the next piece of the run; ahead is what has come of it with the last bytes of the one before.
func (s *stream) fetch(ahead float64) {
	w := s.of.w
	i := s.run.First + piece(s.at)
	s.flow = &flow{
		over:  [3]link{0, w.downLink(s.of), w.connectionLink(s)},
		bytes: w.pieceBytes - ahead, piece: i, to: s.of, stream: s, began: w.now,
	}
	w.watch.fetched(s, i)
	w.net.add(s.flow)
	if s.lone {
		s.tryLone(s.flow)
	}
	if s.at == s.run.Len-1 && !s.asking { // so that the origin is not idle until the answer comes
		s.ask()
	}
}

// tryLone gives up a piece that comes too slowly to a machine that knows nobody.
func (s *stream) tryLone(f *flow) {
	m := s.of
	m.w.after(loneEvery, func() {
		switch size := int64(m.w.pieceBytes); {
		case s.flow != f || m.died != 0:
		case !m.view.GivesUp(size-int64(f.bytes), size, m.w.now-f.began):
			s.tryLone(f)
		default:
			m.gaveUp = true
			s.after = s.run.First
			s.abort()
			s.give()
			s.asking, s.early = false, nil
		}
	})
}

// arrive takes a piece from the origin and goes on with the run.
func (s *stream) arrive(f *flow) {
	m := s.of
	m.w.net.remove(f)
	s.flow = nil
	m.originGot += m.w.pieceBytes
	m.unmark(f.piece)
	for _, n := range m.near { // a mute one that was asked for it need not answer any more
		for _, o := range n.flows {
			if o.piece == f.piece {
				m.cancel(o)
				break
			}
		}
	}
	m.put(f.piece)
	s.at++
	if m.done() {
		m.drawn += f.bytes
		return
	}
	if s.at < s.run.Len {
		s.fetch(-f.bytes)
		return
	}
	m.drawn += f.bytes // what was too much
	rate := float64(s.run.Len) * m.w.pieceBytes / (m.w.now - s.began).Seconds()
	if m.pace > 0 {
		rate = (rate + m.pace) / 2
	}
	m.pace = rate
	s.finish()
	switch early := s.early; {
	case early != nil && m.w.now-s.ahead > plan.Fresh:
		s.early = nil
		s.next() // with the lease in hand
	case early != nil:
		s.early = nil
		early()
	case s.refused:
		s.refused = false
		s.give()
	default:
		s.next()
	}
}

// finish is the end of a run, read or given up.
func (s *stream) finish() {
	if s.run.Len == 0 {
		return
	}
	m := s.of
	for k := s.at; k < s.run.Len; k++ {
		m.unmark(s.run.First + piece(k))
	}
	s.run, s.at = plan.Run{}, 0
	m.active--
}

func (m *machine) unmark(i piece) {
	m.reading.Clear(i)
	m.want(i)
	for _, n := range m.near {
		for _, f := range n.flows {
			if f.piece == i {
				m.wants.Clear(i)
			}
		}
	}
}

// give closes the connection and then releases the lease.
func (s *stream) give() {
	m := s.of
	m.w.watch.closed(s)
	if s.lease != nil {
		m.release(m.member.steward, s.lease.ID, s.after)
		s.lease = nil
	}
}

// stop ends the stream: everything is here.
func (s *stream) stop() {
	s.abort()
	s.give()
	s.asking, s.early = false, nil
}

// abort gives up what is being read.
func (s *stream) abort() {
	if s.flow != nil {
		s.of.w.net.remove(s.flow)
		s.flow = nil
	}
	s.finish()
}

// lose is a lease that could not be renewed in time.
func (s *stream) lose() {
	s.abort()
	s.of.w.watch.closed(s)
	s.lease, s.early, s.asking = nil, nil, false
	s.next()
}

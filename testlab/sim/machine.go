package main

import (
	"time"

	"handout/agent/plan"
)

// decideEvery is how often the agent looks around beside every change.
const decideEvery = 100 * time.Millisecond

// A machine decides by the real plan, on what it sees of the model's neighbours. The book-keeping around the plan is
// that of the agent's download.
type machine struct {
	w        *world
	id       int
	site     int
	up, down float64
	starts   moment
	ended    moment // when it had everything
	died     moment // 0: it lives
	mute     bool   // says what it has and never sends it
	deaf     bool   // as steward, never answers
	denies   bool   // as steward, always answers no
	seed     bool   // had everything from the start

	have    plan.Bitfield
	told    plan.Bitfield // of have: what the neighbours have heard of
	toldAt  []moment      // by piece
	wants   plan.Bitfield // not here, not asked of a neighbour and not being read
	reading plan.Bitfield // being read from the origin
	rarity  []int16       // how many neighbours have it, by piece
	count   int           // pieces here
	heard   int           // of these, those that the neighbours have heard of

	near      []*neighbour
	uploads   int
	downloads int
	another   moment // when it last dialled one more than it needs
	brisk     int    // of downloads, those that come at a fair rate
	waits     bool   // one of downloads is tardy
	look      moment // when it looks next for somebody to send to
	tried     moment // when it last looked, or an upload slot became free

	got       float64 // bytes from everywhere since the last decision
	originGot float64 // of these, in whole pieces from the origin
	drawn     float64 // bytes from the origin in all
	watch     plan.Watch
	view      plan.View
	verdict   plan.Verdict
	allowed   time.Duration
	gaveUp    bool // a lone read

	streams []*stream
	active  int     // streams that read
	pace    float64 // bytes per second that one connection gave lately, while it read
	member  member
}

// A neighbour is a connected machine as another sees it.
type neighbour struct {
	of        *machine
	back      *neighbour // the same connection, seen from the other side
	flows     []*flow    // pieces on their way from it
	got       float64    // bytes since the last decision
	meter     plan.Meter
	owes      moment // since when it owes a block; 0: it doesn't
	lastBlock moment
	since     moment // connected
	slow      bool   // its last look showed it mute
}

func newMachine(w *world, id int) *machine {
	m := &machine{
		w: w, id: id, up: w.up, down: w.down,
		have: plan.NewBitfield(w.pieces), told: plan.NewBitfield(w.pieces), toldAt: make([]moment, w.pieces),
		wants: plan.NewBitfield(w.pieces), reading: plan.NewBitfield(w.pieces), rarity: make([]int16, w.pieces),
	}
	for n := range w.k {
		m.streams = append(m.streams, &stream{of: m, n: n, after: piece(w.pieces)})
	}
	m.wants.SetAll()
	m.member.known = map[*machine]bool{}
	m.member.passed = map[*machine]moment{}
	return m
}

// fill makes a machine a seed before it starts.
func (m *machine) fill() {
	m.have.SetAll()
	m.told.SetAll()
	m.wants = plan.NewBitfield(m.w.pieces)
	m.count, m.heard = m.w.pieces, m.w.pieces
}

func (m *machine) done() bool  { return m.count == m.w.pieces }
func (m *machine) alive() bool { return m.died == 0 && m.starts <= m.w.now }

func (m *machine) start() {
	m.w.net.setRoom(m.w.upLink(m), m.up)
	m.w.net.setRoom(m.w.downLink(m), m.down)
	for _, s := range m.streams {
		m.w.net.setRoom(m.w.connectionLink(s), m.w.connection*min(m.up, m.w.origin))
	}
	m.another = m.w.now - moment(m.w.random.Float64()*float64(anotherEvery))
	m.join()
	m.beat()
}

// die takes a machine off the network at once; the others find out.
func (m *machine) die() {
	m.died = m.w.now
	m.w.net.setRoom(m.w.upLink(m), 0)
	m.w.net.setRoom(m.w.downLink(m), 0)
	for _, s := range m.streams {
		m.w.watch.closed(s)
		s.lease = nil
		if s.flow != nil {
			m.w.net.remove(s.flow)
			s.flow = nil
		}
	}
	for _, n := range m.near {
		// A connection to a machine without power breaks when it is missed, not at once.
		m.w.after(m.w.between(m.w.detect, m.w.random.Float64()), func() { n.of.part(n.back) })
	}
}

// beat is the agent's clock: it finds neighbours and decides.
func (m *machine) beat() {
	if m.died != 0 {
		return
	}
	m.dial()
	if !m.done() && !m.mute {
		m.decide()
		for _, s := range m.streams {
			s.next()
		}
	}
	m.w.after(decideEvery, m.beat)
}

// decide is the agent's own: it looks around and settles how the origin may be used now.
func (m *machine) decide() {
	now := m.w.time()
	v := plan.View{Have: m.have, Requested: plan.NewBitfield(m.w.pieces), Reading: m.reading, PieceBytes: int64(m.w.pieceBytes), GaveUp: m.gaveUp}
	for _, n := range m.near {
		n.meter.Add(now, int64(n.got))
		if n.got > 0 {
			n.lastBlock, n.owes = m.w.now, 0
		}
		n.got = 0
		if len(n.flows) == 0 {
			n.owes = 0
		} else if n.owes == 0 {
			n.owes = m.w.now
		}
		n.slow = n.mute()
		if !n.slow {
			for _, f := range n.flows {
				v.Requested.Set(f.piece)
			}
		}
		complete := n.of.heard == m.w.pieces
		v.Neighbours = append(v.Neighbours, plan.Neighbour{
			Have: n.of.told, Complete: complete, Mute: n.slow, Best: n.meter.Best(), Rate: n.meter.Lately(now),
			Delivered: n.lastBlock > 0 && m.w.now-n.lastBlock < 10*time.Second,
		})
	}
	m.watch.Look(now, &v, int64(m.originGot), int64(m.got-m.originGot), m.active > 0)
	m.got, m.originGot = 0, 0
	m.view, m.verdict = v, plan.MayUseOrigin(v, plan.Policy{Connections: m.w.k, EnoughSeeds: m.w.enough})
	m.allowed = m.watch.Allowed(now, m.verdict)
}

// mute is the swarm's rule.
func (n *neighbour) mute() bool { return n.owes != 0 && n.back.of.w.now-n.owes > 10*time.Second }

// put is a piece that has come, verified.
func (m *machine) put(i piece) {
	if m.have.Has(i) {
		return
	}
	m.have.Set(i)
	m.wants.Clear(i)
	m.count++
	m.w.news = append(m.w.news, have{m.w.now + m.w.have, m, i})
	if m.done() {
		m.ended = m.w.now
		for _, s := range m.streams {
			s.stop()
		}
	}
}

// tell is the moment at which the neighbours hear of a piece.
func (m *machine) tell(i piece) {
	if m.died != 0 {
		return
	}
	m.told.Set(i)
	m.heard++
	m.toldAt[i] = m.w.now
	for _, n := range m.near {
		n.of.rarity[i]++
	}
	m.look = 0
}

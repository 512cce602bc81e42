package main

import (
	"slices"
	"time"

	"handout/manifest"
)

const (
	// offerAgain is how soon a machine with a free upload slot looks again for somebody who can use it.
	offerAgain = 40 * time.Millisecond
	// young is how long a piece on its way is taken for one that comes at a fair rate.
	young = 10 * time.Millisecond
	// anotherEvery is how often a machine dials one more than it needs: once in fifteen of the agent's rounds.
	anotherEvery = 30 * time.Second
	// stealGrace is how long a block stays with the neighbour that was asked first.
	stealGrace = 2 * time.Second
)

// dial connects to random members until there are enough neighbours, and now and then to one more, as the swarm does so
// that two halves of a room that have met become one.
func (m *machine) dial() {
	w := m.w
	limit := w.neighbours
	if w.now-m.another >= anotherEvery {
		m.another = w.now
		limit = max(limit, len(m.near)+1)
	}
	for tries := 0; len(m.near) < limit && tries < 4*w.neighbours; tries++ {
		o := w.machines[w.random.IntN(len(w.machines))]
		if o == m || !o.alive() || !m.sees(o) || len(o.near) >= 3*w.neighbours || m.done() && o.done() || m.knows(o) {
			continue
		}
		a, b := &neighbour{of: o}, &neighbour{of: m}
		a.back, b.back = b, a
		m.meet(a)
		o.meet(b)
	}
}

func (m *machine) knows(o *machine) bool {
	return slices.ContainsFunc(m.near, func(n *neighbour) bool { return n.of == o })
}

func (m *machine) meet(n *neighbour) {
	n.since = m.w.now
	m.member.known[n.of] = true // whoever is found is asked to join as well
	m.near = append(m.near, n)
	for i := range n.of.told.All {
		m.rarity[i]++
	}
	m.look = 0
}

// part ends a connection on this side and what comes over it.
func (m *machine) part(n *neighbour) {
	at := slices.Index(m.near, n)
	if at < 0 {
		return
	}
	m.near = slices.Delete(m.near, at, at+1)
	for i := range n.of.told.All {
		m.rarity[i]--
	}
	for _, f := range slices.Clone(n.flows) {
		m.cancel(f)
	}
	for _, f := range slices.Clone(n.back.flows) {
		n.of.cancel(f)
	}
	n.of.part(n.back)
}

// cancel gives up a piece that comes from a neighbour.
func (m *machine) cancel(f *flow) {
	m.w.net.remove(f)
	m.close(f)
	if !m.reading.Has(f.piece) {
		m.want(f.piece)
	}
}

// want has a piece that does not come any more asked for again.
func (m *machine) want(i piece) {
	if !m.have.Has(i) {
		m.wants.Set(i)
	}
}

// close frees the slots of a piece from a neighbour.
func (m *machine) close(f *flow) {
	f.via.flows = slices.DeleteFunc(f.via.flows, func(o *flow) bool { return o == f })
	f.from.uploads--
	f.from.look, f.from.tried = 0, m.w.now
	if !m.ordersLess() { // others may have waited for that
		for _, n := range m.near {
			n.of.look = 0
		}
	}
	m.downloads--
}

// arrive takes a piece that has come, from the origin or from a neighbour.
func (m *machine) arrive(f *flow) {
	if f.stream != nil {
		f.stream.arrive(f)
		return
	}
	m.w.net.remove(f)
	m.close(f)
	if m.reading.Has(f.piece) { // of a mute one that spoke after all
		m.put(f.piece)
		return
	}
	m.put(f.piece)
}

// exchange lets every machine with a free upload slot find somebody to send to, in random order.
func (w *world) exchange() {
	w.gauge()
	for range 1 + len(w.order)/8 {
		a, b := w.random.IntN(len(w.order)), w.random.IntN(len(w.order))
		w.order[a], w.order[b] = w.order[b], w.order[a]
	}
	for _, i := range w.order {
		m := w.machines[i]
		if m.uploads >= w.uploads || m.look > w.now || m.count == 0 || !m.alive() {
			continue
		}
		for m.uploads < w.uploads && m.send() {
		}
		m.tried, m.look = w.now, w.now+offerAgain
	}
}

// send begins to send a piece to the neediest neighbour: the one to which the fewest pieces come at a fair rate, then the
// one that has got least for the time it is here. If it were the one with the fewest pieces, whoever came a second earlier
// would wait for all that came after it. The receiver chooses which, the rarest first; a neighbour is never asked for more than its share of
// all that is asked for.
func (m *machine) send() bool {
	start := m.w.random.IntN(max(1, len(m.near)))
	var best *neighbour
	for k := range m.near {
		n := m.near[(start+k)%len(m.near)]
		o := n.of
		if best != nil && (o.brisk > best.of.brisk || o.brisk == best.of.brisk && o.progress() >= best.of.progress()) {
			continue
		}
		if o.canTake(n.back) && m.offers(n) {
			best = n
		}
	}
	if best != nil {
		best.of.take(best.back, best.of.rarest(m))
		return true
	}
	return m.help()
}

// progress is how many pieces a machine has got in a nanosecond.
func (m *machine) progress() float64 { return float64(m.count) / float64(m.w.now-m.starts+1) }

// canTake reports whether m may ask neighbour n for another piece.
func (m *machine) canTake(n *neighbour) bool {
	share := max(1, m.w.downloads/len(m.near))
	return !m.done() && m.died == 0 && !m.mute && len(n.flows) < share && m.ordersLess()
}

// ordersLess reports whether less is on order than may be. Those who send slowly do not keep others from sending, as each
// neighbour has its own share of what is on order.
func (m *machine) ordersLess() bool {
	most := m.w.downloads
	if m.active > 0 {
		most = m.w.reading
	}
	return m.brisk < most && m.downloads < 2*m.w.downloads
}

// gauge counts for every machine the pieces that come to it at a fair rate, or have just begun to.
func (w *world) gauge() {
	for _, m := range w.machines {
		m.brisk, m.waits = 0, false
	}
	for _, f := range w.net.flows {
		if f.via != nil && (f.rate >= f.to.down/float64(2*w.downloads) || w.now-f.began < young) {
			f.to.brisk++
		}
		if f.via != nil && w.tardy(f) {
			f.to.waits = true
		}
	}
}

// offers reports whether m could send n a piece.
func (m *machine) offers(n *neighbour) bool { return n.of.wants.Meets(m.told) }

// rarest is the piece that m asks of o, at random among equals.
func (m *machine) rarest(o *machine) piece {
	var best piece
	lowest, ties := int16(1<<14), 0
	for i := range m.wants.All {
		switch r := m.rarity[i]; {
		case !o.told.Has(i):
		case r < lowest:
			best, lowest, ties = i, r, 1
		case r == lowest:
			ties++
			if m.w.random.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return best
}

// take begins piece i from neighbour n.
func (m *machine) take(n *neighbour, i piece) {
	m.wants.Clear(i)
	m.begin(n, i, m.w.pieceBytes)
}

func (m *machine) begin(n *neighbour, i manifest.PieceIndex, bytes float64) {
	w := m.w
	f := &flow{over: [3]link{w.upLink(n.of), w.downLink(m), none}, bytes: bytes, piece: i, from: n.of, to: m, via: n, began: w.now}
	if n.of.mute {
		f.over[2] = w.deadLink
	}
	n.flows = append(n.flows, f)
	n.of.uploads++
	m.downloads++
	m.brisk++
	w.watch.sent(f)
	w.net.add(f)
}

// help takes over a piece that a neighbour asks of somebody who has not sent it for long and won't soon: what has come
// of it is kept, as it came in blocks.
func (m *machine) help() bool {
	for _, n := range m.near {
		o := n.of
		if !o.waits || o.done() || o.died != 0 || o.mute || len(n.back.flows) >= max(1, m.w.downloads/len(o.near)) {
			continue
		}
		for _, v := range o.near {
			for _, f := range v.flows {
				if v.of != m && m.w.tardy(f) && m.told.Has(f.piece) {
					o.cancel(f)
					o.wants.Clear(f.piece)
					o.begin(n.back, f.piece, f.bytes)
					return true
				}
			}
		}
	}
	return false
}

// tardy reports whether a piece has been on its way for long and won't be there soon.
func (w *world) tardy(f *flow) bool { return w.now-f.began > stealGrace && f.bytes > f.rate }

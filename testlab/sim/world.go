package main

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"

	"handout/agent/plan"
	"handout/manifest"
)

type (
	piece  = manifest.PieceIndex
	moment = time.Duration // since the start of the simulation
)

const never moment = 1 << 62

// params are the room before anything special happens in it.
type params struct {
	machines   int
	seed       uint64
	pieces     int
	bytes      float64 // of the package
	up, down   float64 // of a machine, bytes per second
	origin     float64 // bytes per second
	connection float64 // most one origin connection gets, as a share of min(up, origin): a stream of one TCP connection
	k          int     // origin connections of the site
	enough     int     // seeds that spare the origin

	neighbours int // a machine dials others until it has so many, and takes three times as many
	uploads    int // pieces a machine sends at a time
	downloads  int // pieces asked of all neighbours together
	reading    int // the same while the origin is read, which they would slow down

	have     moment    // from a piece's arrival to the news of it at the neighbours
	delay    moment    // of a message to or from the steward; half of what a connection takes to open
	loss     float64   // share of such messages that are lost
	view     [2]moment // how long a member takes to learn of another, at least and at most
	missing  float64   // share of members whose coming is missed, and heard of with the next exchange of all that is known
	detect   [2]moment // how long a member takes to learn of a death
	spread   moment    // the machines start within
	tick     moment    // the network moves in such steps
	patience float64   // give up after so many times the bound
}

func defaults() params {
	return params{
		machines: 8, seed: 1, pieces: 2000, bytes: 4e9,
		up: 125e6, down: 125e6, origin: 125e6, connection: 0.3, k: 4, enough: 4,
		neighbours: 8, uploads: 4, downloads: 8, reading: 3,
		have: 50 * time.Millisecond, delay: time.Millisecond,
		view: [2]moment{50 * time.Millisecond, 200 * time.Millisecond}, detect: [2]moment{time.Second, 3 * time.Second},
		spread: 200 * time.Millisecond, tick: 2 * time.Millisecond, patience: 20,
	}
}

// A world is one run: the machines of one or two sites, their network and the clock.
type world struct {
	params
	now      moment
	random   *rand.Rand
	net      *network
	machines []*machine
	events   events
	news     []have // HAVE messages on their way, the oldest first
	watch    watch

	pieceBytes float64
	order      []int   // scratch
	arrived    []*flow // scratch
	deadLink   link    // carries nothing
	byName     map[plan.MemberID]*machine
	standing   []*machine // the machines in the order in which they would be steward

	oneSite   moment               // before this, sites or sides can't hear each other; never: they never can
	bound     func(*world) float64 // seconds that no scheme can beat
	counts    func(*machine) bool  // whose times are judged; nil: everybody's
	check     func(*world)         // what the scenario promises beside; nil: nothing
	ownTime   bool                 // a machine's time counts from its own start
	dishonest bool                 // the steward is: nobody promises that the cap holds
	stallers  bool                 // machines are made to read what others have read
	crashAt   moment               // when machines died; 0: none did
	lost      float64              // bytes that only the dead had, and that were on their way to them
}

// have is the news that a machine has a piece.
type have struct {
	at moment
	of *machine
	i  piece
}

func newWorld(p params) *world {
	w := &world{
		params: p, random: rand.New(rand.NewPCG(p.seed, uint64(p.machines))),
		net:        newNetwork(2 + p.machines*(2+p.k)),
		pieceBytes: p.bytes / float64(p.pieces),
		order:      make([]int, p.machines),
		byName:     map[plan.MemberID]*machine{},
	}
	w.deadLink = link(len(w.net.room) - 1)
	w.net.setRoom(0, p.origin)
	for i := range p.machines {
		m := newMachine(w, i)
		w.machines = append(w.machines, m)
		w.byName[m.name()] = m
		w.order[i] = i
		m.starts = moment(w.random.Float64() * float64(p.spread))
	}
	w.bound = bound
	w.watch.world = w
	w.watch.most = map[int]int{}
	return w
}

// links: the origin's, then each machine's up, down, and one for each of its origin connections.
func (w *world) upLink(m *machine) link   { return link(1 + m.id*(2+w.k)) }
func (w *world) downLink(m *machine) link { return w.upLink(m) + 1 }
func (w *world) connectionLink(s *stream) link {
	return w.downLink(s.of) + 1 + link(s.n)
}

func (w *world) time() time.Time { return epoch.Add(w.now) }

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *world) between(r [2]moment, dice float64) moment {
	return r[0] + moment(dice*float64(r[1]-r[0]))
}

// after runs do at a later moment.
func (w *world) after(d moment, do func()) {
	w.events.last++
	heap.Push(&w.events, event{w.now + d, w.events.last, do})
}

// run plays until everybody who can has the package, a promise is broken, or nobody gets on any more.
func (w *world) run() error {
	w.standing = slices.Clone(w.machines)
	slices.SortStableFunc(w.standing, func(a, b *machine) int { return cmp.Compare(a.starts, b.starts) })
	for _, m := range w.machines {
		w.net.setRoom(w.upLink(m), 0)
		w.after(m.starts, m.start)
	}
	end := moment(w.bound(w) * w.patience * 1e9)
	for w.unfinished() > 0 {
		if w.now > end {
			return w.watch.broken(9, w.laggards(), "not finished after %.0f times the bound", w.patience)
		}
		w.step()
		if w.watch.err != nil {
			return w.watch.err
		}
	}
	return w.watch.finish()
}

// step moves the network by a tick; what happens on the way has its exact moment, only bytes don't flow before the next.
func (w *world) step() {
	w.net.share()
	end := w.now + w.tick
	w.arrived = w.net.advance(w.tick.Seconds(), w.arrived[:0])
	for _, f := range w.arrived {
		over := moment(-f.bytes / f.rate * 1e9) // since it arrived
		w.after(w.tick-over, func() {
			if f.at >= 0 { // it was not given up because of another
				f.to.arrive(f)
			}
		})
	}
	for len(w.events.all) > 0 && w.events.all[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.hear(e.at)
		w.now = e.at
		e.do()
	}
	w.hear(end)
	w.now = end
	w.exchange()
	w.watch.look()
}

// hear brings the news that have arrived by a moment.
func (w *world) hear(by moment) {
	for len(w.news) > 0 && w.news[0].at <= by {
		w.now = w.news[0].at
		w.news[0].of.tell(w.news[0].i)
		w.news = w.news[1:]
	}
}

func (w *world) unfinished() (n int) {
	for _, m := range w.machines {
		if !m.done() && m.died == 0 && !m.mute {
			n++
		}
	}
	return n
}

func (w *world) laggards() (all []*machine) {
	for _, m := range w.machines {
		if !m.done() && m.died == 0 && !m.mute {
			all = append(all, m)
		}
	}
	return all
}

// events are what is to happen, the next first; of one moment in the order they were planned.
type events struct {
	all  []event
	last uint64
}

type event struct {
	at  moment
	seq uint64
	do  func()
}

func (e *events) Len() int { return len(e.all) }
func (e *events) Less(i, j int) bool {
	a, b := e.all[i], e.all[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}
func (e *events) Swap(i, j int) { e.all[i], e.all[j] = e.all[j], e.all[i] }
func (e *events) Push(x any)    { e.all = append(e.all, x.(event)) }
func (e *events) Pop() any {
	x := e.all[len(e.all)-1]
	e.all = e.all[:len(e.all)-1]
	return x
}

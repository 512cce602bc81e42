package main

import (
	"math"
	"time"
)

// A scenario is what is special about a room.
type scenario struct {
	name   string
	what   string
	want   float64 // T_last/T* to hold the code against; 0: none is known
	slack  float64 // how far it may miss that; 0: usual
	least  int     // machines without which it makes no sense
	params func(*params)
	world  func(*world)
}

const usual = 0.05

// late is how far a run missed what is wanted, in T*; 0: it didn't.
func (s scenario) late(last float64) float64 {
	slack := s.slack
	if slack == 0 {
		slack = usual
	}
	if s.want == 0 {
		return 0
	}
	return max(0, last-s.want-slack)
}

var scenarios = []scenario{
	{name: "together", what: "all start together, u_s = u", want: 1.05, slack: 0.01},
	{name: "slow-origin", what: "u_s = u/10", want: 1.003, params: func(p *params) { p.origin = p.up / 10 }},
	{name: "fast-origin", what: "u_s = 10u", want: 1.04, params: func(p *params) { p.origin = 10 * p.up }},
	{name: "arrivals", what: "arrive over 300 s; each against its own F/u", want: 1.04,
		params: func(p *params) { p.spread = 300 * time.Second }, world: each},
	{name: "trickle", what: "arrive over twice F/u; each against its own F/u", want: 1.15,
		params: func(p *params) { p.spread = moment(2e9 * p.bytes / p.up) }, world: each},
	{name: "wifi-seed", what: "one full seed at u/10", want: 1.08, params: oneMore, world: func(w *world) { seeds(w, w.up/10) }},
	{name: "seed", what: "one full seed at u", want: 1.10, params: oneMore, world: func(w *world) {
		seeds(w, w.up)
		w.check = func(w *world) { // in a larger room not everybody is the seed's neighbour
			if read := w.drawn()[0] / w.bytes; read > 0.05 && len(w.machines) <= 1+w.neighbours {
				w.watch.broken(5, nil, "%.3f F were read from the origin though a fast seed is there", read)
			}
		}
	}},
	{name: "crash", least: 8, what: "20 % die at half-time, all lease holders and the steward among them", want: 1.14, world: crash},
	{name: "wifi", least: 2, what: "10 % of the machines at u/10; the others against F/u", want: 1.14, world: wifi},
	{name: "stale", what: "views 1-3 s stale, 5 % missing", want: 1.07, params: func(p *params) {
		p.view, p.missing = [2]moment{time.Second, 3 * time.Second}, 0.05
	}},
	{name: "loss", what: "3 % of the messages to and from the steward are lost", params: func(p *params) { p.loss = max(p.loss, 0.03) }},
	{name: "two-sites", least: 2, what: "two sites, one origin", want: 1.10, world: func(w *world) {
		split(w, never)
	}},
	{name: "heal", least: 4, what: "a partition that heals at a third of the time", world: func(w *world) {
		split(w, moment(w.bytes/w.origin/3*1e9))
	}},
	{name: "mute", least: 2, what: "all neighbours claim everything and send nothing; the steward is honest", world: mute},
	{name: "deaf", least: 3, what: "the steward never answers", world: func(w *world) {
		w.machines[0].starts, w.machines[0].deaf, w.dishonest = 0, true, true
	}},
	{name: "denying", least: 3, what: "the steward denies everyone, and sends nothing of what it claims", world: func(w *world) {
		s := w.machines[0]
		s.fill()
		s.starts, s.mute, s.denies, w.dishonest = 0, true, true, true
	}},
}

// bound is the time in seconds that no scheme can beat (Kumar & Ross 2006), for machines that start at once.
func bound(w *world) float64 {
	var up, seeds, n float64
	down, sites := math.Inf(1), map[int]bool{}
	for _, m := range w.machines {
		if m.died != 0 || m.mute {
			continue
		}
		if w.oneSite > 0 {
			sites[m.site] = true
		}
		up += m.up
		if m.seed {
			seeds += m.up
			continue
		}
		n++
		if w.counts == nil || w.counts(m) {
			down = min(down, m.down)
		}
	}
	first := w.bytes / (w.origin + seeds)
	if w.oneSite == never {
		first *= float64(len(sites))
	}
	return max(first, w.bytes/down, n*w.bytes/(w.origin+up))
}

// each judges every machine by the time from its own start.
func each(w *world) {
	w.ownTime = true
	w.bound = func(w *world) float64 { return w.bytes / min(w.down, w.origin) }
}

func oneMore(p *params) { p.machines++ }

// seeds makes the first machine one that has everything from the start.
func seeds(w *world, rate float64) {
	s := w.machines[0]
	s.fill()
	s.seed, s.starts, s.up, s.down = true, 0, rate, rate
}

func wifi(w *world) {
	slow := map[*machine]bool{}
	for _, i := range w.random.Perm(len(w.machines))[:(len(w.machines)+9)/10] {
		m := w.machines[i]
		m.up, m.down, slow[m] = w.up/10, w.down/10, true
	}
	w.counts = func(m *machine) bool { return !slow[m] }
	w.bound = func(w *world) float64 { return w.bytes / min(w.up, w.origin) }
}

// split makes every other machine one of another site, or of the same on the other side of a partition.
func split(w *world, until moment) {
	w.oneSite = until
	for i, m := range w.machines {
		m.site = i % 2
	}
}

func mute(w *world) {
	for _, m := range w.machines[1:] {
		m.fill()
		m.mute, m.starts = true, 0
	}
	w.stallers = true
	w.check = func(w *world) {
		if alone := w.bytes / min(w.origin, w.down); w.machines[0].ended.Seconds() > alone+15 {
			w.watch.broken(9, w.machines[:1], "took %v among mute neighbours; alone it is %.1f s", w.machines[0].ended, alone)
		}
	}
}

func crash(w *world) {
	w.after(moment(w.bytes/min(w.up, w.origin)/2*1e9), func() {
		victims := map[*machine]bool{w.first(0): true}
		for _, m := range w.machines {
			if m.holds() > 0 {
				victims[m] = true
			}
		}
		for _, i := range w.random.Perm(len(w.machines)) {
			if len(victims) < (len(w.machines)+4)/5 {
				victims[w.machines[i]] = true
			}
		}
		for _, m := range w.machines {
			if !victims[m] {
				continue
			}
			for _, s := range m.streams {
				if s.flow != nil {
					w.lost += w.pieceBytes - s.flow.bytes
				}
			}
			m.die()
		}
		w.lost += w.pieceBytes * float64(w.onlyTheDeadHave())
		w.crashAt = w.now
	})
}

func (w *world) onlyTheDeadHave() int {
	dead, living := w.machines[0].have.Clone(), w.machines[0].have.Clone()
	dead.Without(dead)
	living.Without(living)
	for _, m := range w.machines {
		if m.died != 0 {
			dead.Or(m.have)
		} else {
			living.Or(m.have)
		}
	}
	dead.Without(living)
	return dead.Count()
}

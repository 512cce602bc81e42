package main

import (
	"fmt"
	"io"
	"time"
)

// A result is what one run came to.
type result struct {
	machines    int
	seed        uint64
	last, mean  float64 // over the bound
	read        float64 // packages read from the origin, per site
	connections int     // at most, per site
	bound       float64 // seconds
	err         error
}

// play runs a scenario.
func (s scenario) play(p params) result {
	n := p.machines
	if s.params != nil {
		s.params(&p)
	}
	w := newWorld(p)
	if s.world != nil {
		s.world(w)
	}
	r := result{machines: n, seed: p.seed, err: w.run()}
	r.bound = w.bound(w)
	counted := 0
	for _, m := range w.machines {
		if m.seed || m.mute || m.died != 0 || w.counts != nil && !w.counts(m) {
			continue
		}
		t := m.ended
		if !m.done() {
			t = w.now
		}
		if w.ownTime {
			t -= m.starts
		}
		r.last = max(r.last, t.Seconds()/r.bound)
		r.mean += t.Seconds() / r.bound
		counted++
	}
	r.mean /= float64(max(1, counted))
	for _, b := range w.drawn() {
		r.read = max(r.read, b/w.bytes)
	}
	for _, c := range w.watch.most {
		r.connections = max(r.connections, c)
	}
	return r
}

// A table prints results as they come.
type table struct{ out io.Writer }

func newTable(out io.Writer) table {
	fmt.Fprintf(out, "%-12s %5s %5s %8s  %10s %7s %10s %12s %5s\n",
		"scenario", "N", "seed", "T*", "T_last/T*", "(plan)", "T_mean/T*", "origin/F", "conn")
	return table{out}
}

func (t table) row(s scenario, r result, took time.Duration) {
	plan, note := "", ""
	if s.want > 0 {
		plan = fmt.Sprintf("%.3f", s.want)
	}
	if s.late(r.last) > 0 {
		note = " slow"
	}
	if r.err != nil {
		note = " BROKEN"
	}
	fmt.Fprintf(t.out, "%-12s %5d %5d %7.1fs  %10.3f %7s %10.3f %12.3f %5d%s  (%.1fs)\n",
		s.name, r.machines, r.seed, r.bound, r.last, plan, r.mean, r.read, r.connections, note, took.Seconds())
}

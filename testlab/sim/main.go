// Command sim plays a swarm under virtual time: the real plan and steward of agent/plan, up to a thousand machines, over
// a fluid model of the network in which every flow gets its max-min fair share. It prints how close the last machine comes
// to the bound, and asserts the plan's promises at every moment: one that is broken ends the run with the moment and the
// machines. A broken promise or a room too slow makes it exit with 1.
//
// What is real: plan.MayUseOrigin, GivesUp, Eligible, RunLimit, Meter and Steward. What is modelled: the network, the
// membership (views that lag, deaths that are noticed late), the way of messages, and the exchange among neighbours, with
// the engine's rules: about eight neighbours, few pieces asked of each, the rarest first with random ties, few uploads at
// a time. In one thing it does more than the engine, which sends alike to all who ask: here the neediest is served first,
// as the plan has it; without that, 300 machines that start together take 1.08 and not 1.05. A run depends on nothing but
// its parameters and its seed.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	p := defaults()
	f := flag.NewFlagSet("sim", flag.ContinueOnError)
	sizes := f.String("n", "8,30,100,300,1000", "machines, one run for each number")
	names := f.String("scenario", "all", "scenarios, or all: "+strings.Join(allNames(), ", "))
	seeds := f.Int("seeds", 1, "runs with so many seeds, from -seed on")
	f.Uint64Var(&p.seed, "seed", p.seed, "of all that is random")
	f.IntVar(&p.pieces, "pieces", p.pieces, "pieces of the package")
	f.Float64Var(&p.bytes, "bytes", p.bytes, "of the package")
	f.Float64Var(&p.up, "up", p.up, "bytes per second a machine sends")
	f.Float64Var(&p.down, "down", p.down, "bytes per second a machine takes")
	f.Float64Var(&p.origin, "origin", p.origin, "bytes per second the origin gives")
	f.Float64Var(&p.connection, "connection", p.connection, "most that one origin connection gets, as a share of min(up, origin)")
	f.IntVar(&p.k, "k", p.k, "origin connections of a site")
	f.IntVar(&p.enough, "enough-seeds", p.enough, "seeds that spare the origin")
	f.IntVar(&p.neighbours, "neighbours", p.neighbours, "a machine dials others until it has so many")
	f.IntVar(&p.uploads, "uploads", p.uploads, "pieces a machine sends at a time")
	f.IntVar(&p.downloads, "downloads", p.downloads, "pieces asked of all neighbours together")
	f.IntVar(&p.reading, "downloads-reading", p.reading, "the same of a machine that reads the origin")
	f.DurationVar(&p.have, "have", p.have, "until news of a piece is at the neighbours")
	f.DurationVar(&p.delay, "delay", p.delay, "of a message to or from the steward")
	f.Float64Var(&p.loss, "loss", p.loss, "share of these messages that are lost")
	f.Float64Var(&p.missing, "missing", p.missing, "share of members whose coming is missed at first")
	f.DurationVar(&p.tick, "tick", p.tick, "step of the network")
	profile := f.String("profile", "", "write here what takes the processor's time, for go tool pprof")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *profile != "" {
		file, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var cells []*cell
	for _, s := range scenarios {
		if *names != "all" && !contains(*names, s.name) {
			continue
		}
		for _, size := range strings.Split(*sizes, ",") {
			n, err := strconv.Atoi(size)
			if err != nil || n < 1 {
				return fmt.Errorf("-n %s: want numbers of machines", *sizes)
			}
			if n < s.least {
				continue
			}
			for k := range uint64(*seeds) {
				q := p
				q.machines, q.seed = n, p.seed+k
				cells = append(cells, &cell{scenario: s, params: q, done: make(chan struct{})})
			}
		}
	}
	go playAll(cells)
	var broken error
	t := newTable(os.Stdout)
	for _, c := range cells {
		<-c.done
		s, r := c.scenario, c.result
		t.row(s, r, c.took)
		if late := s.late(r.last); late > 0 && broken == nil {
			broken = fmt.Errorf("%s, %d machines, seed %d: too slow by %.3f T*", s.name, r.machines, r.seed, late)
		}
		if r.err != nil {
			broken = fmt.Errorf("%s, %d machines, seed %d: %w", s.name, r.machines, r.seed, r.err)
			fmt.Println("    ", r.err)
		}
	}
	return broken
}

// A cell of the table is one run.
type cell struct {
	scenario scenario
	params   params
	done     chan struct{} // closed when it was played
	result   result
	took     time.Duration
}

// playAll plays as many at a time as there are processors; each is a world of its own.
func playAll(cells []*cell) {
	room := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, c := range cells {
		room <- struct{}{}
		go func() {
			began := time.Now()
			c.result = c.scenario.play(c.params)
			c.took = time.Since(began)
			close(c.done)
			<-room
		}()
	}
}

func allNames() (all []string) {
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return all
}

func contains(list, name string) bool {
	for _, s := range strings.Split(list, ",") {
		if s == name {
			return true
		}
	}
	return false
}

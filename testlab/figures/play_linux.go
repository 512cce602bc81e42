package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"os"
	"strings"
	"time"

	"handout/testlab/cli"
	"handout/testlab/lab"
	"handout/testlab/room"
)

// outcome is what one run of a row came to.
type outcome struct {
	reference    time.Duration
	last         time.Duration // the latest of those that are judged
	done, judged int
	copies       float64 // origin bytes/F, of the worst site
	most         int     // origin connections at once, of the worst site
	met          int     // the same once the machines had time to meet; of all sites together, by samples
	average      float64 // origin connections, until the last was done
	remark       string
}

func (o outcome) ofReference() float64 { return o.last.Seconds() / o.reference.Seconds() }

func (o outcome) String() string {
	if o.done < o.judged {
		return fmt.Sprintf("not done: %d of %d, origin %.3f F, %d origin connections at most%s", o.judged-o.done, o.judged, o.copies, o.most, o.remark)
	}
	return fmt.Sprintf("T_last %.2f s = %.3f of %.2f s, origin %.3f F, %d origin connections at most (%d after %v), %.1f on average%s",
		o.last.Seconds(), o.ofReference(), o.reference.Seconds(), o.copies, o.most, o.met, meeting, o.average, o.remark)
}

// machines is how many hosts a row's room has: those that fetch, then the seed, then those that misbehave, then agents.
func (w row) machines() int {
	n := w.hosts + w.faulty + w.agents
	if w.seed > 0 {
		n++
	}
	return n
}

// labOptions are the room's links.
func (w row) labOptions() lab.Options {
	rate, origin := w.rate, w.origin
	if rate == 0 {
		rate = 25 * lab.Mbit
	}
	if origin == 0 {
		origin = 1
	}
	o := lab.Options{Hosts: w.machines(), Rate: rate, OriginRate: times(rate, origin), HostRates: map[int]lab.BitRate{}}
	for i := w.hosts - w.slow; i < w.hosts; i++ {
		o.HostRates[i] = times(rate, 0.1)
	}
	if w.seed > 0 {
		o.HostRates[w.hosts] = times(rate, w.seed)
	}
	for i := w.machines() - w.agents; i < w.machines(); i++ {
		o.HostRates[i] = times(rate, 0.1)
	}
	return o
}

func times(r lab.BitRate, factor float64) lab.BitRate {
	return lab.BitRate(math.Round(float64(r) * factor))
}

// site is the number of the site that host i belongs to.
func (w row) site(i int) int { return i * w.sites / w.hosts }

// scene is a row under way.
type scene struct {
	row
	*room.Room
	program cli.Program
	fetches []*room.Fetch // by host
	killed  map[int]bool
	remark  string
}

// play runs a row once. Everything it started has ended when it returns.
func play(ctx context.Context, w row, program cli.Program, scratch, keep string) (o outcome, err error) {
	dir, err := os.MkdirTemp(scratch, w.name+"-")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(dir)
	r, err := room.Open(ctx, room.Options{Lab: w.labOptions(), Program: program, Size: w.size << 20, Dir: dir, Keep: keep})
	if err != nil {
		return o, err
	}
	defer r.Close()
	o.reference = w.reference.of(r, w)
	// Generous: a busy machine makes figures bad, not wrong.
	limit := 2*time.Minute + time.Duration(6+w.over)*max(o.reference, w.slowest(r))
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the row took more than %.0f s", limit.Seconds()))
	defer cancel()
	s := &scene{row: w, Room: r, program: program, killed: map[int]bool{}}
	if err := s.prepare(ctx, dir); err != nil {
		return o, err
	}
	if err := r.Begin(); err != nil {
		return o, err
	}
	mostOf := s.watchSites()
	err = s.run(ctx, dir)
	most := mostOf()
	if err != nil {
		return o, err
	}
	return s.account(o, most)
}

// slowest is how long the slowest host of a row needs at least.
func (w row) slowest(r *room.Room) time.Duration {
	if w.slow > 0 {
		return 10 * r.Bound(1)
	}
	return r.Bound(w.hosts)
}

// prepare starts what is there before the hosts come.
func (s *scene) prepare(ctx context.Context, dir string) error {
	if err := s.partSites(); err != nil {
		return err
	}
	next := s.hosts
	if s.seed > 0 {
		if err := s.startSeed(ctx, next, dir); err != nil {
			return fmt.Errorf("start the seed: %w", err)
		}
		next++
	}
	for i := next; i < next+s.faulty; i++ {
		if err := s.startFaulty(ctx, i, dir); err != nil {
			return fmt.Errorf("start a machine that misbehaves: %w", err)
		}
	}
	return nil
}

// partSites keeps hosts of different sites apart, multicast too.
func (s *scene) partSites() error {
	if s.sites == 0 {
		return nil
	}
	for i := range s.hosts {
		near := []string{s.Lab.Origin.Addr.String()}
		for k := range s.hosts {
			if s.site(k) == s.site(i) {
				near = append(near, s.Lab.Hosts[k].Addr.String())
			}
		}
		if err := s.Lab.Hosts[i].Firewall("ip saddr { " + strings.Join(near, ", ") + " } accept"); err != nil {
			return err
		}
	}
	return nil
}

// run lets the hosts come, and waits until all that live have ended well.
func (s *scene) run(ctx context.Context, dir string) error {
	for i := s.machines() - s.agents; i < s.machines(); i++ {
		if _, err := s.startAgent(ctx, i, dir, ofSite); err != nil {
			return err
		}
	}
	pause := time.Duration(s.over * float64(s.Bound(1)) / float64(s.hosts))
	for i := range s.hosts {
		f, err := s.Fetch(ctx, i, "--linger", "auto:30m", "--site", fmt.Sprint("site", s.site(i)))
		if err != nil {
			return err
		}
		s.fetches = append(s.fetches, f)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if s.kill > 0 {
		if err := s.killSome(ctx); err != nil {
			return err
		}
	}
	followed := s.watchSteward(ctx)
	var wrong error
	for _, f := range s.living() {
		if err := f.Published(ctx); err != nil && ctx.Err() == nil {
			wrong = errors.Join(wrong, err)
		}
	}
	followed()
	if wrong != nil || ctx.Err() != nil {
		return wrong // who is not done is counted
	}
	for _, f := range s.living() {
		if _, err := f.Wait(ctx); err != nil {
			wrong = errors.Join(wrong, err)
		}
	}
	return wrong
}

// living are the hosts that were not killed.
func (s *scene) living() iter.Seq2[int, *room.Fetch] {
	return func(yield func(int, *room.Fetch) bool) {
		for i, f := range s.fetches {
			if !s.killed[i] && !yield(i, f) {
				return
			}
		}
	}
}

// account ends the processes, compares the trees, and adds up.
func (s *scene) account(o outcome, most []int) (outcome, error) {
	done := make([]time.Time, s.hosts)
	var wrong error
	for i, f := range s.living() {
		f.Process.Kill() // one that was not done
		f.Process.Wait()
		at, ok := f.PublishedAt()
		judged := i < s.hosts-s.slow
		if judged {
			o.judged++
		}
		if !ok {
			continue
		}
		done[i] = at
		wrong = errors.Join(wrong, s.Verify(i))
		if !judged {
			continue
		}
		o.done++
		from := s.Began()
		if s.over > 0 {
			from = f.Process.Started
		}
		o.last = max(o.last, at.Sub(from))
	}
	s.Settle()
	s.remark += s.seedSent()
	f, err := s.Figures(done...)
	if err := errors.Join(wrong, err); err != nil {
		return o, err
	}
	if s.slow > 0 {
		o.remark = fmt.Sprintf("; the slow ones %.1f s", f.Last.Seconds())
	}
	o.remark += s.remark
	o.most, o.copies = f.MostConnections, f.Copies()
	o.met, o.average = connections(f)
	if n := len(f.Traffic); n > 0 && o.copies > 0.5 {
		// Headers are 4 %; what is more was sent again because the queues before the hosts' links were full.
		o.remark += fmt.Sprintf("; the origin's link carried %.3f of what was read", float64(f.Traffic[n-1].Origin)/(o.copies*float64(f.Bytes)))
	}
	if s.sites > 0 {
		o.most, o.copies = 0, 0
		for k := range s.sites {
			carried := int64(0)
			for i, n := range f.OriginBytesBy[:s.hosts] {
				if s.site(i) == k {
					carried += n
				}
			}
			o.most, o.copies = max(o.most, most[k]), max(o.copies, float64(carried)/float64(f.Bytes))
		}
	}
	return o, nil
}

// seedSent is what the seed's link has carried: more than one copy, and it was asked for pieces that others had already.
func (s *scene) seedSent() string {
	if s.seed == 0 {
		return ""
	}
	c, err := s.Lab.Hosts[s.hosts].Counters()
	if err != nil {
		return fmt.Sprintf("; what the seed sent is not known: %v", err)
	}
	return fmt.Sprintf("; the seed sent %.2f F, headers included", float64(c.SentBytes)/float64(s.Bytes))
}

// meeting is the time in which machines that have met nobody may have a connection each.
const meeting = 2 * time.Second

// connections to the origin, until the last was done: the most after the time of meeting, and the average.
func connections(f room.Figures) (most int, average float64) {
	sum, n := 0, 0
	for _, t := range f.Traffic {
		if t.At <= f.Last {
			sum += t.Connections
			n++
		}
		if t.At > meeting {
			most = max(most, t.Connections)
		}
	}
	return most, float64(sum) / float64(max(1, n))
}

// watchSites counts the origin connections of each site.
func (s *scene) watchSites() (stop func() []int) {
	var stops []func() int
	for k := range s.sites {
		members := map[netip.Addr]bool{}
		for i := range s.hosts {
			members[s.Lab.Hosts[i].Addr] = s.site(i) == k
		}
		stops = append(stops, s.Lab.Origin.WatchConnectionsFrom(s.Server.Addr.Port(), func(a netip.Addr) bool { return members[a] }))
	}
	return func() (most []int) {
		for _, stop := range stops {
			most = append(most, stop())
		}
		return most
	}
}

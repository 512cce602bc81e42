package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"handout/testlab/lab"
	"handout/testlab/payload"
	"handout/testlab/room"
)

// linkRate is every link's in the rooms.
const linkRate = 25 * lab.Mbit

// patience is how many T* a room may take. What needs more is shown as not done.
const patience = 9

// attempt is one run of a tool in a room.
type attempt struct {
	room.Figures
	cpu time.Duration // per machine
}

// roomTool fills a room. A host that was not done when ctx ended is no error, but one of the figures.
type roomTool struct {
	name string
	run  func(context.Context, *room.Room) (attempt, error)
}

// roomContest is who fills which rooms.
type roomContest struct {
	hosts []int // one room for each
	runs  int
	tools []roomTool
}

// inRoom: what rooms as a whole achieve, and what they ask of the origin. One run takes a quarter of an hour, most of it
// because others need so long.
func inRoom(ctx context.Context, b *bench) error {
	c := roomContest{hosts: b.hosts, runs: 1, tools: []roomTool{{"handout", b.handoutRoom}}}
	for _, v := range rivals {
		if b.lets(v.name) && v.installed() {
			c.tools = append(c.tools, roomTool{v.name, func(ctx context.Context, r *room.Room) (attempt, error) { return b.rivalRoom(ctx, r, v) }})
		}
	}
	results, err := b.fillRooms(ctx, c)
	if err != nil || len(results) == 0 {
		return err
	}
	if err := results.table(os.Stdout); err != nil {
		return err
	}
	results.draw(b.picture)
	return nil
}

// fillRooms gives each tool in turn the same room, whose hosts have nothing at the beginning of each attempt. No results
// where a lab can't be had.
func (b *bench) fillRooms(ctx context.Context, c roomContest) (results, error) {
	c.tools = slices.DeleteFunc(c.tools, func(t roomTool) bool { return !b.lets(t.name) })
	if b.runs > 0 {
		c.runs = b.runs
	}
	var all results
	for _, hosts := range c.hosts {
		dir := filepath.Join(b.dir, fmt.Sprintf("room-of-%d", hosts))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		r, err := room.Open(ctx, room.Options{
			Lab:     lab.Options{Hosts: hosts, Rate: linkRate, OriginRate: linkRate},
			Program: b.program,
			Size:    b.size,
			Dir:     dir,
		})
		if errors.Is(err, lab.ErrUnavailable) {
			fmt.Printf("  left out: %v\n", err)
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		fmt.Printf("  N = %d: links of %v that give %.2f Mbit/s to a plain download, F = %.1f MiB, T* = %.2f s\n",
			hosts, linkRate, r.Goodput*8/1e6, float64(r.Bytes)/(1<<20), r.Bound(hosts).Seconds())
		own, err := b.fillRoom(ctx, c, r)
		r.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// fillRoom runs every tool in one room, in turn.
func (b *bench) fillRoom(ctx context.Context, c roomContest, r *room.Room) (results, error) {
	own := make(results, len(c.tools))
	for range c.runs {
		for i, tool := range c.tools {
			limit := patience * r.Bound(len(r.Lab.Hosts))
			limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the room took more than %.0f s", limit.Seconds()))
			a, err := tool.run(limited, r)
			cancel()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", tool.name, err)
			}
			fmt.Printf("  %s: %v\n", tool.name, a.Figures)
			printTraffic(a.Figures)
			own[i].hosts, own[i].tool = len(r.Lab.Hosts), tool.name
			own[i].attempts = append(own[i].attempts, a)
			for h := range r.Lab.Hosts {
				if err := os.RemoveAll(filepath.Dir(r.Dest(h))); err != nil {
					return nil, err
				}
			}
		}
	}
	return own, nil
}

func (b *bench) handoutRoom(ctx context.Context, r *room.Room) (attempt, error) {
	a, _, err := b.fetchInRoom(ctx, r)
	return a, err
}

// fetchInRoom has every host fetch; fromOrigin is the payload they say they had from the origin together, in bytes.
func (b *bench) fetchInRoom(ctx context.Context, r *room.Room, flags ...string) (a attempt, fromOrigin int64, err error) {
	if err := r.Begin(); err != nil {
		return a, 0, err
	}
	var all []*room.Fetch
	for i := range r.Lab.Hosts {
		f, err := r.Fetch(context.WithoutCancel(ctx), i, append([]string{"--linger", "auto:5m"}, flags...)...)
		if err != nil {
			return a, 0, err
		}
		all = append(all, f)
	}
	fmt.Printf("  handout, each: %s\n", strings.ReplaceAll(strings.Join(all[0].Process.Cmd.Args, " "), b.dir, "$D"))
	done := make([]time.Time, len(all))
	for i, f := range all {
		if err := f.Published(ctx); err != nil && ctx.Err() == nil {
			return a, 0, err
		}
		done[i], _ = f.PublishedAt()
	}
	for i, f := range all {
		if done[i].IsZero() {
			f.Process.Kill()
		} else if _, err := f.Wait(ctx); err != nil && ctx.Err() == nil {
			return a, 0, err
		} else if err := r.Verify(i); err != nil {
			return a, 0, err
		}
		f.Process.Kill() // it may linger for one that was not done
		fromOrigin += f.Last().FromOrigin
		a.cpu += f.Process.CPU() / time.Duration(len(all))
	}
	r.Settle()
	a.Figures, err = r.Figures(done...)
	return a, fromOrigin, err
}

// rivalRoom fills a room with somebody else's tool.
func (b *bench) rivalRoom(ctx context.Context, r *room.Room, v rival) (a attempt, err error) {
	work := filepath.Join(filepath.Dir(filepath.Dir(r.Tree)), v.name)
	if err := os.Mkdir(work, 0o755); err != nil {
		return a, err
	}
	defer os.RemoveAll(work)
	job := &job{Room: r, work: work}
	defer job.end()
	if v.prepare != nil {
		if err := v.prepare(job); err != nil {
			return a, err
		}
	}
	if err := r.Begin(); err != nil {
		return a, err
	}
	var all []*lab.Process
	for i, h := range r.Lab.Hosts {
		if err := os.MkdirAll(r.Dest(i), 0o755); err != nil {
			return a, err
		}
		p, err := h.Start(v.cmd(job, i))
		if err != nil {
			return a, err
		}
		all = append(all, p)
	}
	fmt.Printf("  %s, each: %s\n", v.name, strings.ReplaceAll(strings.Join(all[0].Cmd.Args, " "), b.dir, "$D"))
	if v.begin != nil {
		if err := v.begin(job); err != nil {
			return a, err
		}
	}
	done := job.wait(ctx, v, all)
	for _, p := range all {
		used, err := cpuSoFar(p)
		p.Kill()
		if err != nil { // it has ended
			used = p.CPU()
		}
		a.cpu += used / time.Duration(len(all))
		p.Wait()
	}
	r.Settle()
	if a.Figures, err = r.Figures(done...); err != nil {
		return a, err
	}
	if v.noLog {
		a.OriginBytes = a.OriginWire
	}
	// It is judged by what it was given: no small files.
	big, err := os.Stat(filepath.Join(r.Tree, payload.Name))
	if err != nil {
		return a, err
	}
	a.Bound = time.Duration(float64(a.Bound) * float64(big.Size()) / float64(a.Bytes))
	a.Bytes = big.Size()
	for i := range all {
		if done[i].IsZero() {
			continue
		}
		if _, err := sameFile(filepath.Join(r.Tree, payload.Name))(filepath.Join(r.Dest(i), v.below)); err != nil {
			return a, fmt.Errorf("%s: %w", r.Lab.Hosts[i].Name, err)
		}
	}
	return a, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"handout/testlab/lab"
	"handout/testlab/payload"
	"handout/testlab/room"
)

// attempt is one run of a tool in a room of its own.
type attempt struct {
	room.Figures
	cpu time.Duration // per machine
}

// roomTool fills a room.
type roomTool struct {
	name string
	run  func(context.Context, *room.Room) (attempt, error)
}

// inRoom: what the room as a whole achieves, and what it asks of the origin.
func inRoom(ctx context.Context, b *bench) error {
	tools := []roomTool{{"handout", b.handoutRoom}}
	if installed("aria2c") {
		tools = append(tools, roomTool{"aria2c", b.aria2Room})
	}
	return b.roomContest(ctx, tools...)
}

// roomContest gives each tool rooms of its own, in turn, and prints the medians.
func (b *bench) roomContest(ctx context.Context, tools ...roomTool) error {
	const hosts, rate, size = 8, 25 * lab.Mbit, 64 << 20
	runs := 3
	if b.runs > 0 {
		runs = b.runs
	}
	attempts := make([][]attempt, len(tools))
	for n := range runs {
		for i, tool := range tools {
			dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", tool.name, n))
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			r, err := room.Open(ctx, room.Options{
				Lab:     lab.Options{Hosts: hosts, Rate: rate, OriginRate: rate},
				Program: b.program,
				Size:    size,
				Dir:     dir,
			})
			if errors.Is(err, lab.ErrUnavailable) {
				fmt.Printf("  left out: %v\n", err)
				return nil
			}
			if err != nil {
				return err
			}
			a, err := tool.run(ctx, r)
			r.Close()
			if err != nil {
				return fmt.Errorf("%s: %w", tool.name, err)
			}
			fmt.Printf("  %s: %v\n", tool.name, a.Figures)
			attempts[i] = append(attempts[i], a)
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  median of %d\tT_last/T*\tT_mean/T*\torigin/F\ton the wire/F\torigin connections\tCPU s per machine\n", runs)
	for i, tool := range tools {
		of := func(field func(attempt) float64) float64 {
			var all []float64
			for _, a := range attempts[i] {
				all = append(all, field(a))
			}
			return median(all)
		}
		fmt.Fprintf(w, "  %s\t%.3f\t%.3f\t%.3f\t%.3f\t%.0f\t%.2f\n", tool.name,
			of(func(a attempt) float64 { return a.OfBound(a.Last) }),
			of(func(a attempt) float64 { return a.OfBound(a.Mean) }),
			of(func(a attempt) float64 { return a.Copies() }),
			of(func(a attempt) float64 { return a.CopiesOnWire() }),
			of(func(a attempt) float64 { return float64(a.MostConnections) }),
			of(func(a attempt) float64 { return a.cpu.Seconds() }))
	}
	return w.Flush()
}

func (b *bench) handoutRoom(ctx context.Context, r *room.Room) (attempt, error) {
	a, _, err := b.fetchInRoom(ctx, r)
	return a, err
}

// fetchInRoom has every host fetch; fromOrigin is the payload they say they had from the origin together, in bytes.
func (b *bench) fetchInRoom(ctx context.Context, r *room.Room, flags ...string) (a attempt, fromOrigin int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := r.Begin(); err != nil {
		return a, 0, err
	}
	var all []*room.Fetch
	for i := range r.Lab.Hosts {
		f, err := r.Fetch(ctx, i, append([]string{"--linger", "5m"}, flags...)...)
		if err != nil {
			return a, 0, err
		}
		all = append(all, f)
	}
	fmt.Printf("  handout, each: %s\n", strings.ReplaceAll(strings.Join(all[0].Process.Cmd.Args, " "), b.dir, "$D"))
	var done []time.Time
	for i, f := range all {
		last, err := f.Wait(ctx)
		if err != nil {
			return a, 0, err
		}
		fromOrigin += last.FromOrigin
		if err := r.Verify(i); err != nil {
			return a, 0, err
		}
		at, _ := f.PublishedAt()
		done = append(done, at)
		a.cpu += f.Process.CPU() / time.Duration(len(all))
	}
	a.Figures, err = r.Figures(done...)
	return a, fromOrigin, err
}

// aria2Room gives aria2 everything it can use: the origin as web seed, a tracker, and local peer discovery.
func (b *bench) aria2Room(ctx context.Context, r *room.Room) (a attempt, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	tracker, announce, err := startTracker(r.Lab.Origin)
	if err != nil {
		return a, err
	}
	defer tracker.Close()
	dir := filepath.Dir(filepath.Dir(r.Tree))
	torrent, hook := filepath.Join(dir, "aria2.torrent"), filepath.Join(dir, "complete.sh")
	if err := torrentOf(filepath.Join(r.Tree, payload.Name), announce, r.Server.URL("tree/"+payload.Name), torrent); err != nil {
		return a, err
	}
	if err := os.WriteFile(hook, []byte("#!/bin/sh\n: > \"$3.complete\"\n"), 0o755); err != nil {
		return a, err
	}
	if err := r.Begin(); err != nil {
		return a, err
	}
	var all []*lab.Process
	for i, h := range r.Lab.Hosts {
		p, err := h.Start(exec.CommandContext(ctx, "aria2c", "--no-conf", "-q", "--bt-enable-lpd", "--enable-dht=false", "--enable-dht6=false",
			"--seed-ratio=0", "--file-allocation=none", "--bt-tracker-interval=5", "--bt-max-peers=0", "--split=8",
			"--max-connection-per-server=8", "--on-bt-download-complete="+hook, "-d", r.Dest(i), torrent))
		if err != nil {
			return a, err
		}
		all = append(all, p)
	}
	fmt.Printf("  aria2c, each: %s\n", strings.ReplaceAll(strings.Join(all[0].Cmd.Args, " "), b.dir, "$D"))
	done := make([]time.Time, len(all))
	for waiting := len(all); waiting > 0; {
		select {
		case <-ctx.Done():
			return a, fmt.Errorf("%d of %d not done: %w", waiting, len(all), context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
		for i := range all {
			if !done[i].IsZero() {
				continue
			}
			info, err := os.Stat(filepath.Join(r.Dest(i), payload.Name+".complete"))
			if err != nil {
				continue // not yet
			}
			done[i] = info.ModTime()
			waiting--
		}
	}
	for _, p := range all {
		cpu, err := cpuSoFar(p)
		if err != nil {
			return a, err
		}
		a.cpu += cpu / time.Duration(len(all))
		p.Kill()
		p.Wait()
	}
	a.Figures, err = r.Figures(done...)
	return a, err
}

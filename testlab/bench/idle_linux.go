package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"handout/testlab/lab"
	"handout/testlab/nginx"
	"handout/testlab/payload"
)

const (
	idleMachines = 50
	// idleSettles is what a site needs until nobody meets anybody any more, and the garbage of the start is given back.
	idleSettles = 60 * time.Second
	idleFor     = 60 * time.Second
)

// idle: what an agent costs that has its package and nothing to do, in a site of 50. Two are measured that have a machine
// of a lab to themselves: the steward, which has more to do, and a member. The others share a third machine, since the
// kernel's table of link addresses, one for all namespaces, does not hold fifty machines that all know each other.
func idle(ctx context.Context, b *bench) error {
	l, err := lab.New(lab.Options{Hosts: 3})
	if errors.Is(err, lab.ErrUnavailable) {
		fmt.Println("  left out:", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer l.Close()
	tree := filepath.Join(b.dir, "tree")
	logs := filepath.Join(b.dir, "nginx")
	if err := errors.Join(payload.Write(tree, 1, 1<<20), os.Mkdir(logs, 0o755)); err != nil {
		return err
	}
	server, err := nginx.Start(ctx, l.Origin, b.dir, logs)
	if err != nil {
		return err
	}
	pkg, err := b.program.Publish(ctx, b.dir, tree, server.URL("tree"))
	if err != nil {
		return err
	}
	machineOf := func(i int) *lab.Machine { return l.Hosts[min(i, 2)] }
	var agents []*lab.Process
	for i := range idleMachines {
		p, err := b.startIdle(ctx, machineOf(i), i, pkg.Trust, server.URL(filepath.Base(pkg.Manifest)))
		if err != nil {
			return err
		}
		agents = append(agents, p)
		if err := b.untilHere(ctx, i); err != nil {
			return err
		}
	}
	if err := pause(ctx, idleSettles); err != nil {
		return err
	}
	var before [2]idleCost
	for i := range before {
		if before[i], err = idleCostOf(machineOf(i), agents[i]); err != nil {
			return err
		}
	}
	if err := pause(ctx, idleFor); err != nil {
		return err
	}
	for i, who := range []string{"the steward", "a member"} {
		now, err := idleCostOf(machineOf(i), agents[i])
		if err != nil {
			return err
		}
		fmt.Printf("  %s among %d: %.1f MiB resident (%.1f where pages of the program count in both processes); %.2f %% of a core; %.2f KiB/s on the wire, both ways (wanted: 40, 0.5, 2)\n",
			who, idleMachines, float64(now.anonymous+now.file)/(1<<20), float64(now.summed)/(1<<20),
			100*(now.cpu-before[i].cpu).Seconds()/idleFor.Seconds(), float64(now.wire-before[i].wire)/(1<<10)/idleFor.Seconds())
	}
	return nil
}

// startIdle starts the ith agent.
func (b *bench) startIdle(ctx context.Context, h *lab.Machine, i int, trust, manifest string) (*lab.Process, error) {
	dir := filepath.Join(b.dir, strconv.Itoa(i))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "agent.toml")
	err := os.WriteFile(config, fmt.Appendf(nil, "peer_port = %d\ncache_dir = %q\nstate_dir = %q\ntrust = [%q]\n[[package]]\nmanifest = %q\n",
		20000+2*i, filepath.Join(dir, "cache"), filepath.Join(dir, "state"), trust, manifest), 0o644)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, string(b.program), "agent", "run", "--config", config)
	cmd.Stdout, cmd.Stderr = log, log
	return h.Start(cmd)
}

// untilHere waits until the ith agent has the package.
func (b *bench) untilHere(ctx context.Context, i int) error {
	for {
		if _, err := os.Stat(filepath.Join(b.dir, strconv.Itoa(i), "cache", "tree", payload.Name)); err == nil {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("agent %d has nothing yet: %w", i, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// idleCost is what an agent has used so far, both its processes together.
type idleCost struct {
	summed    int64 // resident bytes of each process, added up
	anonymous int64 // of these, memory of their own
	file      int64 // the rest, of the one that has more of it: both run the same program, whose pages they share
	cpu       time.Duration
	wire      int64 // bytes, both ways
}

func idleCostOf(h *lab.Machine, agent *lab.Process) (c idleCost, err error) {
	link, err := h.Counters()
	if err != nil {
		return c, err
	}
	c.wire = link.SentBytes + link.ReceivedBytes
	all, err := agent.Family()
	if err != nil {
		return c, err
	}
	for _, pid := range all {
		text, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
		if err != nil {
			return c, err
		}
		var resident, anonymous int64
		for line := range strings.Lines(string(text)) {
			fmt.Sscanf(line, "Rss: %d kB", &resident)
			fmt.Sscanf(line, "Anonymous: %d kB", &anonymous)
		}
		c.summed += resident << 10
		c.anonymous += anonymous << 10
		c.file = max(c.file, (resident-anonymous)<<10)
		cpu, err := cpuOf(pid)
		if err != nil {
			return c, err
		}
		c.cpu += cpu
	}
	return c, nil
}

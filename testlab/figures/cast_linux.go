package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"handout/testlab/cli"
	"handout/testlab/lab"
)

// startSeed has host i hold the whole tree and give it away as an agent does. It returns once the agent has checked it.
func (s *scene) startSeed(ctx context.Context, i int, dir string) error {
	if err := s.Place(i); err != nil {
		return err
	}
	p, err := s.startAgent(ctx, i, dir, ofSite)
	if err != nil {
		return err
	}
	// The agent records a package that stands.
	return s.until(ctx, p, func() bool {
		found, _ := filepath.Glob(filepath.Join(s.agentState(i, dir), "package-*.torrent"))
		return len(found) > 0
	})
}

// ofSite are the settings of an agent that is of the room's site.
var ofSite = fmt.Sprintf("[site]\nname = %q\n", siteName)

// startAgent has host i run an agent that keeps the package up, with more settings.
func (s *scene) startAgent(ctx context.Context, i int, dir, settings string) (*lab.Process, error) {
	if err := os.MkdirAll(filepath.Dir(s.Dest(i)), 0o755); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, s.Lab.Hosts[i].Name)
	config := name + ".toml"
	err := os.WriteFile(config, fmt.Appendf(nil, "cache_dir = %q\nstate_dir = %q\ntrust = [%q]\n[[package]]\nmanifest = %q\ndest = %q\n%s",
		name+"-cache", s.agentState(i, dir), s.Package.Trust, s.Package.Manifest, s.Dest(i), settings), 0o644)
	if err != nil {
		return nil, err
	}
	return s.startHelper(i, dir, exec.CommandContext(ctx, string(s.program), "agent", "run", "--config", config))
}

func (s *scene) agentState(i int, dir string) string {
	return filepath.Join(dir, s.Lab.Hosts[i].Name+"-state")
}

// startFaulty has host i misbehave. It returns once it takes part.
func (s *scene) startFaulty(ctx context.Context, i int, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ready := filepath.Join(dir, s.Lab.Hosts[i].Name+".ready")
	p, err := s.startHelper(i, dir, exec.CommandContext(ctx, self, misbehave, string(s.fault), s.Package.Manifest, ready))
	if err != nil {
		return err
	}
	return s.until(ctx, p, func() bool { _, err := os.Stat(ready); return err == nil })
}

// startHelper starts a process on host i whose words go to a file.
func (s *scene) startHelper(i int, dir string, cmd *exec.Cmd) (*lab.Process, error) {
	h := s.Lab.Hosts[i]
	log, err := os.Create(filepath.Join(dir, h.Name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	return h.Start(cmd)
}

// until waits for a helper that says nothing.
func (s *scene) until(ctx context.Context, p *lab.Process, ready func() bool) error {
	for !ready() {
		select {
		case <-p.Done():
			said, _ := os.ReadFile(p.Cmd.Stderr.(*os.File).Name())
			return fmt.Errorf("%v: %w: %s", p.Cmd.Args, p.Wait(), said)
		case <-ctx.Done():
			return fmt.Errorf("%v: %w", p.Cmd.Args, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// killSome takes the power from a part of the hosts when half of it is there: from the steward, then from whoever holds
// an origin connection, then from the last of the others.
func (s *scene) killSome(ctx context.Context) error {
	err := s.fetches[0].Until(ctx, "half of it was there", func(e cli.Event) bool { return e.Total > 0 && 2*e.Done >= e.Total })
	if err != nil {
		return err
	}
	reading, err := s.Lab.Origin.Remotes(s.Server.Addr.Port())
	if err != nil {
		return err
	}
	steward := s.stewardNow()
	rank := func(i int) int {
		switch {
		case s.Lab.Hosts[i].Addr == steward:
			return 0
		case slices.Contains(reading, s.Lab.Hosts[i].Addr):
			return 1
		}
		return 2
	}
	order := make([]int, s.hosts)
	for i := range order {
		order[i] = s.hosts - 1 - i
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank(a) - rank(b) })
	n := int(s.kill*float64(s.hosts) + 0.5)
	var read int64
	holders := 0
	for k, i := range order {
		if k >= n && rank(i) == 2 {
			break
		}
		s.fetches[i].Process.Kill()
		s.killed[i] = true
		read += s.fetches[i].Last().FromOrigin
		if rank(i) == 1 {
			holders++
		}
	}
	s.remark = fmt.Sprintf("; killed %d, the steward (%v) and %d other readers among them, which had read %.3f F", len(s.killed),
		steward, holders, float64(read)/float64(s.Bytes))
	return nil
}

// stewardNow is whom most hosts name.
func (s *scene) stewardNow() (steward netip.Addr) {
	votes := map[netip.Addr]int{}
	for i, f := range s.fetches {
		a, err := netip.ParseAddr(f.Last().Steward)
		if err != nil { // "this machine"
			a = s.Lab.Hosts[i].Addr
		}
		votes[a]++
		if votes[a] > votes[steward] {
			steward = a
		}
	}
	return steward
}

// watchSteward counts the hosts that follow a steward that misbehaves, or is slow, until it is stopped: a row in which
// nobody does shows nothing.
func (s *scene) watchSteward(ctx context.Context) (stop func()) {
	if !s.fault.ofSteward() && s.agents == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	bad := map[string]bool{}
	for _, h := range s.Lab.Hosts[s.hosts:] {
		bad[h.Addr.String()] = true
	}
	var g sync.WaitGroup
	var followers atomic.Int64
	for _, f := range s.fetches {
		g.Go(func() {
			if f.Until(ctx, "it followed", func(e cli.Event) bool { return bad[e.Steward] }) == nil {
				followers.Add(1)
			}
		})
	}
	return func() {
		cancel()
		g.Wait()
		s.remark = fmt.Sprintf("; %d of %d hosts followed it", followers.Load(), s.hosts)
	}
}

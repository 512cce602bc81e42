package scenario

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"handout/testlab/lab"
)

// From nothing to a pushed package, by what the README tells: a desk without an agent makes a key and pushes, seven
// agents have the package, and so has the eighth, which was off when it was pushed. The desk finds the agents by itself.
func TestLabPush(t *testing.T) {
	s := open(t, 9)
	agents, desk := s.Lab.Hosts[:8], s.Lab.Hosts[8]
	dir := filepath.Dir(s.Package.Manifest)
	s.handout(desk, "keygen", "--no-password", "-o", filepath.Join(dir, "push"))
	begin := func(i int) {
		home := filepath.Dir(s.Dest(i)) // a package in the cache lies where the room looks for it
		config := filepath.Join(dir, agents[i].Name+".toml")
		text := fmt.Sprintf("trust = [%q]\ncache_dir = %q\nstate_dir = %q\n[push]\nkeys = [%q]\nfloor = %q\n",
			s.Package.Trust, home, home+".state", filepath.Join(dir, "push.pub"), time.Now().UTC().Format(time.DateOnly))
		if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(s.ctx, s.bin(), "agent", "run", "--config", config)
		log := &lines{opened: make(chan struct{})}
		cmd.Stderr = log
		p, err := agents[i].Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s:\n%s", agents[i].Name, log)
			}
		})
		select {
		case <-log.opened:
		case <-p.Done():
			t.Fatalf("%s ended: %s", agents[i].Name, log)
		}
	}
	for i := range 7 {
		begin(i)
	}
	pushed := time.Now()
	t.Log(s.handout(desk, "push", s.Package.Manifest, "--key", filepath.Join(dir, "push.key")))
	done := s.standing(7)
	t.Logf("7 agents have it %.2f s after the push", done[6].Sub(pushed).Seconds())
	begin(7)
	on := time.Now()
	late := s.standing(8)[7]
	t.Logf("the one that was off has it %.2f s after it was switched on", late.Sub(on).Seconds())
	f := s.endOfAgents(done, late)
	if limit := 1.1; f > limit {
		t.Errorf("%.3f copies left the origin, want %.1f at most", f, limit)
	}
	if said := s.handout(desk, "withdraw", filepath.Base(s.Tree), "--key", filepath.Join(dir, "push.key")); !strings.Contains(said, "is withdrawn") {
		t.Errorf("withdraw said %q", said)
	}
}

func (s *story) bin() string {
	bin, err := program()
	if err != nil {
		s.Fatal(err)
	}
	return string(bin)
}

// handout runs a verb on a host and returns what it printed.
func (s *story) handout(on *lab.Machine, args ...string) string {
	s.Helper()
	cmd := exec.CommandContext(s.ctx, s.bin(), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := on.Start(cmd)
	if err == nil {
		err = p.Wait()
	}
	if err != nil {
		s.Fatalf("handout %s: %v: %s", strings.Join(args, " "), err, &out)
	}
	return strings.TrimSpace(out.String())
}

// standing waits until the package stands on the first n hosts, and says when it did.
func (s *story) standing(n int) []time.Time {
	s.Helper()
	at := make([]time.Time, n)
	for missing := n; missing > 0; {
		missing = 0
		for i := range at {
			if !at[i].IsZero() {
				continue
			}
			if _, err := os.Stat(s.Dest(i)); err == nil {
				at[i] = time.Now()
			} else {
				missing++
			}
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("it is missing on %d of %d hosts", missing, n)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return at
}

// endOfAgents compares the trees of the eight agents, prints the figures and returns how many copies left the origin's link.
func (s *story) endOfAgents(done []time.Time, late time.Time) float64 {
	s.Helper()
	for i := range 8 {
		if err := s.Verify(i); err != nil {
			s.Error(err)
		}
	}
	f, err := s.Figures(append(done, late)...)
	if err != nil {
		s.Fatal(err)
	}
	s.Logf("%.3f copies left the origin, %.3f on the wire, %d origin connections at most", f.Copies(), f.CopiesOnWire(), f.MostConnections)
	return f.Copies()
}

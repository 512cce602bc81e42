package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"handout/testlab/lab"
)

// finding is one of what doctor --json prints.
type finding struct{ Check, State, What, Remedy string }

// clinic is a switch with machines, on the first of which an agent runs for the others to be seen by.
type clinic struct {
	*testing.T
	*lab.Lab
	ctx context.Context
	dir string
}

func openClinic(t *testing.T, hosts int) *clinic {
	t.Helper()
	t.Parallel()
	if _, err := program(); err != nil {
		t.Fatal(err)
	}
	c := &clinic{T: t, Lab: lab.ForTest(t, lab.Options{Hosts: hosts}), dir: t.TempDir()}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	c.ctx = ctx
	return c
}

// command is handout on its way to a host, whose files are apart from the others'.
func (c *clinic) command(h *lab.Machine, args ...string) *exec.Cmd {
	c.Helper()
	bin, err := program()
	if err != nil {
		c.Fatal(err)
	}
	cmd := exec.CommandContext(c.ctx, string(bin), args...)
	cmd.Dir = filepath.Join(c.dir, h.Name)
	if err := os.MkdirAll(cmd.Dir, 0o755); err != nil {
		c.Fatal(err)
	}
	return cmd
}

// agent runs one on a host and returns when it is open to neighbours.
func (c *clinic) agent(h *lab.Machine, flags ...string) {
	c.Helper()
	cmd := c.command(h, append([]string{"agent", "run", "--state-dir", "state", "--cache-dir", "cache"}, flags...)...)
	log := &lines{opened: make(chan struct{})}
	cmd.Stderr = log
	p, err := h.Start(cmd)
	if err != nil {
		c.Fatal(err)
	}
	select {
	case <-log.opened:
	case <-p.Done():
		c.Fatalf("the agent ended: %s", log)
	case <-c.ctx.Done():
		c.Fatalf("the agent does not begin: %s", log)
	}
}

// lines are a log that says when the agent is open.
type lines struct {
	mu     sync.Mutex
	text   bytes.Buffer
	opened chan struct{}
	once   sync.Once
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	if bytes.Contains(l.text.Bytes(), []byte("open to neighbours")) {
		l.once.Do(func() { close(l.opened) })
	}
	return len(b), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// doctor runs it on a host and returns what it found, and its exit code.
func (c *clinic) doctor(h *lab.Machine, flags ...string) (found []finding, exit int) {
	cmd := c.command(h, append([]string{"doctor", "--json", "--site-domain", "none"}, flags...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	p, err := h.Start(cmd)
	if err != nil {
		c.Error(err)
		return nil, -1
	}
	exit = p.ExitCode()
	var all struct{ Findings []finding }
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		c.Errorf("%s: doctor printed %q, %v: %s", h.Name, &out, err, &said)
	}
	c.Logf("%s: %.1f s, exit %d: %+v", h.Name, p.Wall().Seconds(), exit, all.Findings)
	return all.Findings, exit
}

// Each machine of a room has another ailment; the doctor names each, and what helps.
func TestLabDoctorNamesTheAilment(t *testing.T) {
	c := openClinic(t, 7)
	keygen := c.command(c.Hosts[0], "keygen", "--site", "-o", "lab")
	if out, err := keygen.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	key := filepath.Join(keygen.Dir, "lab.site")
	other := c.command(c.Hosts[1], "keygen", "--site", "-o", "other")
	if out, err := other.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const mdns = "udp dport 5353 accept"
	for h, rules := range map[*lab.Machine][]string{c.Hosts[2]: {mdns}, c.Hosts[3]: {"tcp dport 4747-4748 accept", "udp dport 4748 accept"}} {
		if err := h.Firewall(rules...); errors.Is(err, lab.ErrNoFirewall) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.KeepMulticastFrom(c.Hosts[4]); err != nil {
		t.Fatal(err)
	}
	c.agent(c.Hosts[0], "--site-key", key)
	depot := c.Hosts[0].Addr.String()
	var g sync.WaitGroup
	for _, ill := range []struct {
		host               int
		name               string
		flags              []string
		check, says, helps string // of the one trouble; "": none
	}{
		{1, "well", []string{"--site-key", key}, "", "", ""},
		{2, "nobody can come in", []string{"--site-key", key}, "inbound", "TCP 4747 and 4748, UDP 4748 is blocked", "4747"},
		{3, "UDP 5353 is kept out", []string{"--site-key", key, "--seed", depot}, "multicast", "nothing comes in", "UDP 5353"},
		{4, "the switch holds multicast back", []string{"--site-key", key, "--seed", depot}, "multicast", depot + ":4747 answers", "IGMP snooping"},
		{5, "no site key", nil, "members", "has a site key, this machine has none", "--site-key"},
		{6, "another key", []string{"--site-key", filepath.Join(other.Dir, "other.site")}, "members", "another site key", "same key"},
	} {
		g.Go(func() {
			found, exit := c.doctor(c.Hosts[ill.host], ill.flags...)
			var troubles []finding
			for _, f := range found {
				if f.State == "trouble" {
					troubles = append(troubles, f)
				}
			}
			switch {
			case ill.check == "":
				if len(troubles) > 0 || exit != 0 {
					t.Errorf("%s: exit %d, %+v", ill.name, exit, troubles)
				}
			case exit != 1 || len(troubles) != 1:
				t.Errorf("%s: exit %d, %+v", ill.name, exit, troubles)
			default:
				f := troubles[0]
				if f.Check != ill.check || !strings.Contains(f.What, ill.says) || !strings.Contains(f.Remedy, ill.helps) {
					t.Errorf("%s: %+v", ill.name, f)
				}
			}
		})
	}
	g.Wait()
}

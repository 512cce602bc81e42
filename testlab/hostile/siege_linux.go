package hostile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"handout/manifest"
	"handout/testlab/cli"
	"handout/testlab/lab"
	"handout/testlab/payload"
)

// Outcome is what an agent did, and what it took, while it was attacked.
type Outcome struct {
	Quiet, Besieged time.Duration // a neighbour's fetch from it, before and meanwhile
	Before, Peak    Size          // of the agent: before, and the most meanwhile
	After           Size          // once the attack was over
	Restarted       bool          // its engine is another process than before
}

// Size is what an agent's two processes take.
type Size struct {
	Bytes       int64 // of memory that is their own
	Descriptors int
}

const (
	link = 100 * lab.Mbit
	// warm is how long the attack goes on before the honest neighbour comes.
	warm = 3 * time.Second
	// calm is more than any door lets a connection stand that says nothing.
	calm  = 15 * time.Second
	glass = 100 * time.Millisecond
)

// Besiege plays it in a lab: an agent gives a package of so many bytes to a neighbour, twice, the second time while a third
// machine attacks all its doors. This program must become an attacker by Argument. An error is what went wrong, the fetches
// and the content they brought included.
func Besiege(ctx context.Context, program cli.Program, dir string, size int64) (o Outcome, err error) {
	l, err := lab.New(lab.Options{Hosts: 3, Rate: link})
	if err != nil {
		return o, err
	}
	defer l.Close()
	tree := filepath.Join(dir, "tree")
	if err := payload.Write(tree, 1, size); err != nil {
		return o, err
	}
	pkg, err := program.Publish(ctx, dir, tree, tree)
	if err != nil {
		return o, err
	}
	raw, err := os.ReadFile(pkg.Manifest)
	if err != nil {
		return o, err
	}
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
	if err != nil {
		return o, err
	}
	victim, honest, hostile := l.Hosts[0], l.Hosts[1], l.Hosts[2]
	config := filepath.Join(dir, "agent.toml")
	copied := filepath.Join(dir, "cache", "tree")
	err = os.WriteFile(config, fmt.Appendf(nil, "cache_dir = %q\nstate_dir = %q\ntrust = [%q]\n[[package]]\nmanifest = %q\n",
		filepath.Dir(copied), filepath.Join(dir, "state"), pkg.Trust, pkg.Manifest), 0o644)
	if err != nil {
		return o, err
	}
	agent, err := start(victim, exec.CommandContext(ctx, string(program), "agent", "run", "--config", config), filepath.Join(dir, "agent.log"))
	if err != nil {
		return o, err
	}
	for {
		if _, err := os.Stat(filepath.Join(copied, payload.Name)); err == nil {
			break
		}
		if err := sleep(ctx, glass); err != nil {
			return o, err
		}
	}
	fetch := func(name string) (time.Duration, error) {
		dest := filepath.Join(dir, name)
		p, err := start(honest, program.Fetch(ctx, pkg, dest, "--no-origin", "--seed", victim.Addr.String(), "--linger", "0"), dest+".log")
		if err == nil {
			err = p.Wait()
		}
		if err != nil {
			return 0, fmt.Errorf("the honest neighbour's fetch: %w", err)
		}
		c, err := payload.Compare(tree, dest)
		if err == nil && c.Right != c.Files {
			err = fmt.Errorf("the honest neighbour has not what was published: %s", strings.Join(c.Differs, "; "))
		}
		return p.Wall(), err
	}
	if o.Quiet, err = fetch("quiet"); err != nil {
		return o, err
	}
	engine, err := engineOf(agent)
	if err != nil {
		return o, err
	}
	if o.Before, err = sizeOf(agent, engine); err != nil {
		return o, err
	}

	t := Target{Addr: victim.Addr, Port: 4747, InfoHash: m.InfoHash, Site: "default"}
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	attack, err := start(hostile, exec.CommandContext(ctx, self, t.Arguments()...), filepath.Join(dir, "attack.log"))
	if err != nil {
		return o, err
	}
	o.Peak = o.Before
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			if s, err := sizeOf(agent, engine); err == nil { // an engine that is gone is told by its process id
				o.Peak.Bytes, o.Peak.Descriptors = max(o.Peak.Bytes, s.Bytes), max(o.Peak.Descriptors, s.Descriptors)
			}
			select {
			case <-over:
				return
			case <-time.After(glass):
			}
		}
	})
	if err = sleep(ctx, warm); err == nil {
		o.Besieged, err = fetch("besieged")
	}
	select {
	case <-attack.Done():
		err = errors.Join(err, fmt.Errorf("the attack ended by itself: %w", attack.Wait()))
	default:
	}
	attack.Kill()
	attack.Wait()
	close(over)
	watch.Wait()
	if err != nil {
		return o, err
	}
	if err := sleep(ctx, calm); err != nil {
		return o, err
	}
	now, err := engineOf(agent)
	if err != nil {
		return o, err
	}
	o.Restarted = now != engine
	o.After, err = sizeOf(agent, now)
	return o, err
}

// start starts a program on a machine; what it says goes to a file.
func start(m *lab.Machine, cmd *exec.Cmd, log string) (*lab.Process, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	return m.Start(cmd)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// engineOf is the process id of the child that an agent's first process watches.
func engineOf(agent *lab.Process) (pid string, err error) {
	all, err := agent.Family()
	if err != nil {
		return "", err
	}
	if len(all) > 1 {
		return all[1], nil
	}
	return "", errors.New("the agent's engine is gone")
}

func sizeOf(agent *lab.Process, engine string) (s Size, err error) {
	for _, pid := range []string{fmt.Sprint(agent.Cmd.Process.Pid), engine} {
		text, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil {
			return s, err
		}
		for line := range strings.Lines(string(text)) {
			var kib int64
			if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &kib); err == nil {
				s.Bytes += kib << 10
			}
		}
		open, err := os.ReadDir("/proc/" + pid + "/fd")
		if err != nil {
			return s, err
		}
		s.Descriptors += len(open)
	}
	return s, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"handout/testlab/cli"
	"handout/testlab/lab"
)

// restart: how long an agent that was stopped takes until a neighbour gets something from its cache, and what it reads for
// that. The neighbour takes a small package that is opened after the large one.
func restart(ctx context.Context, b *bench) error {
	cache := filepath.Join(b.dir, "cache")
	var packages []cli.Package
	var text strings.Builder
	for _, p := range []struct {
		name string
		size int64
	}{{"large", b.cache}, {"small", 64 << 10}} {
		tree := filepath.Join(cache, p.name)
		work := filepath.Join(b.dir, p.name)
		err := errors.Join(os.MkdirAll(tree, 0o755), os.MkdirAll(work, 0o755), os.WriteFile(filepath.Join(tree, "file"), nil, 0o644))
		if err == nil {
			err = os.Truncate(filepath.Join(tree, "file"), p.size)
		}
		if err != nil {
			return err
		}
		pkg, err := b.program.Publish(ctx, work, tree, tree)
		if err != nil {
			return err
		}
		packages = append(packages, pkg)
		fmt.Fprintf(&text, "[[package]]\nmanifest = %q\n", pkg.Manifest)
	}
	port, err := b.freePort()
	if err != nil {
		return err
	}
	config := filepath.Join(b.dir, "agent.toml")
	err = os.WriteFile(config, fmt.Appendf(nil, "peer_port = %d\ncache_dir = %q\nstate_dir = %q\ntrust = [%q, %q]\n%s",
		port, cache, filepath.Join(b.dir, "state"), packages[0].Trust, packages[1].Trust, &text), 0o644)
	if err != nil {
		return err
	}
	agent, err := b.startAgent(ctx, config)
	if err != nil {
		return err
	}
	for _, name := range []string{"large", "small"} {
		if err := untilKept(ctx, agent, filepath.Join(cache, "."+name+".handout", "package.torrent")); err != nil {
			return err
		}
	}
	agent.Cmd.Process.Signal(os.Interrupt)
	if err := agent.Wait(); err != nil {
		return fmt.Errorf("stop the agent: %w", err)
	}

	began := time.Now()
	if agent, err = b.startAgent(ctx, config); err != nil {
		return err
	}
	defer agent.Cmd.Process.Signal(os.Interrupt)
	if err := untilOpen(ctx, agent, port); err != nil {
		return err
	}
	out := filepath.Join(b.dir, "copy")
	get := b.program.Fetch(ctx, packages[1], out, "--no-origin", "--seed", fmt.Sprintf("127.0.0.1:%d", port), "--linger", "0", "--port", "0")
	if got, err := b.here.Start(get); err != nil {
		return err
	} else if err := got.Wait(); err != nil {
		return fmt.Errorf("fetch from the agent: %w", err)
	}
	took := time.Since(began)
	read, err := bytesRead(agent)
	if err != nil {
		return err
	}
	fmt.Printf("  a cache of %.1f GiB: a neighbour has a package after %.2f s; the agent read %.1f MiB until then (wanted: 2 s, and none of the %.1f GiB)\n",
		float64(b.cache)/(1<<30), took.Seconds(), float64(read)/(1<<20), float64(b.cache)/(1<<30))
	return nil
}

func (b *bench) startAgent(ctx context.Context, config string) (*lab.Process, error) {
	return b.startHelper(exec.CommandContext(ctx, string(b.program), "agent", "run", "--config", config))
}

// untilOpen waits until somebody listens on port.
func untilOpen(ctx context.Context, agent *lab.Process, port uint16) error {
	for {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-agent.Done():
			return fmt.Errorf("the agent ended: %w", agent.Wait())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// bytesRead is what an agent has read so far, from files and from elsewhere.
func bytesRead(agent *lab.Process) (sum int64, err error) {
	all, err := agent.Family()
	if err != nil {
		return 0, err
	}
	for _, p := range all {
		text, err := os.ReadFile("/proc/" + p + "/io")
		if err != nil {
			return 0, err
		}
		var n int64
		if _, err := fmt.Sscanf(string(text), "rchar: %d", &n); err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

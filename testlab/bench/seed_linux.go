package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"handout/testlab/lab"
)

// seed: how fast one machine can give, and what that costs both.
func seed(ctx context.Context, b *bench) error {
	file, size, err := b.randomFile(1 << 30)
	if err != nil {
		return err
	}
	ours, err := b.handoutPair(ctx, file)
	if err != nil {
		return err
	}
	contenders := []contender{ours}
	if installed("aria2c") {
		theirs, err := b.aria2Pair(ctx, file)
		if err != nil {
			return err
		}
		contenders = append(contenders, theirs)
	}
	defer func() {
		for _, c := range contenders {
			c.helper.Kill()
		}
	}()
	return b.contest(ctx, 5, size, contenders...)
}

// handoutPair starts an agent that has the file and is the seed of a fetch without origin.
func (b *bench) handoutPair(ctx context.Context, file string) (c contender, err error) {
	pkg, err := b.program.Publish(ctx, b.dir, file, "file://"+file)
	if err != nil {
		return c, err
	}
	port, err := b.freePort()
	if err != nil {
		return c, err
	}
	config := filepath.Join(b.dir, "agent.toml")
	err = os.WriteFile(config, fmt.Appendf(nil, `peer_port = %d
cache_dir = %q
state_dir = %q
trust = [%q]
[[package]]
manifest = %q
dest = %q
`, port, filepath.Join(b.dir, "cache"), filepath.Join(b.dir, "state"), pkg.Trust, pkg.Manifest, file), 0o644)
	if err != nil {
		return c, err
	}
	agent, err := b.startHelper(exec.CommandContext(ctx, string(b.program), "agent", "run", "--config", config))
	if err != nil {
		return c, err
	}
	c = contender{
		name:   "handout",
		helper: agent,
		cmd: func(ctx context.Context, out string) *exec.Cmd {
			return b.program.Fetch(ctx, pkg, filepath.Join(out, filepath.Base(file)), "--no-origin", "--seed",
				fmt.Sprintf("127.0.0.1:%d", port), "--linger", "0", "--port", "0")
		},
		check: sameFile(file),
	}
	return c, b.warmUp(ctx, c)
}

// aria2Pair starts an aria2 that has the file, and the tracker that tells of it.
func (b *bench) aria2Pair(ctx context.Context, file string) (c contender, err error) {
	tracker, announce, err := startTracker(b.here)
	if err != nil {
		return c, err
	}
	context.AfterFunc(ctx, func() { tracker.Close() })
	torrent := filepath.Join(b.dir, "aria2.torrent")
	if err := torrentOf(filepath.Dir(file), []string{filepath.Base(file)}, announce, "", torrent); err != nil {
		return c, err
	}
	common := []string{"--no-conf", "-q", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--bt-tracker-interval=5",
		"--bt-max-peers=0", "--file-allocation=none"}
	seeder, err := b.startHelper(exec.CommandContext(ctx, "aria2c", append(common, "--seed-ratio=0", "--bt-seed-unverified",
		"--check-integrity=true", "--allow-overwrite=true", "-d", filepath.Dir(filepath.Dir(file)), torrent)...))
	if err != nil {
		return c, err
	}
	c = contender{
		name:   "aria2c",
		helper: seeder,
		cmd: func(ctx context.Context, out string) *exec.Cmd {
			return exec.CommandContext(ctx, "aria2c", append(common, "--seed-time=0", "-d", out, torrent)...)
		},
		check: func(out string) (string, error) {
			return sameFile(file)(filepath.Join(out, filepath.Base(filepath.Dir(file))))
		},
	}
	return c, b.warmUp(ctx, c)
}

// warmUp has the job done once, so that the helper is known to be ready.
func (b *bench) warmUp(ctx context.Context, c contender) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("%s: nothing came from the seed within a minute", c.name))
	defer cancel()
	out, err := os.MkdirTemp(b.dir, "warm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(out)
	cmd := c.cmd(ctx, out)
	fmt.Printf("  %s's seed: %s\n", c.name, strings.ReplaceAll(strings.Join(c.helper.Cmd.Args, " "), b.dir, "$D"))
	if _, err := b.measure(cmd, nil); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// startHelper starts a process whose words go to a file.
func (b *bench) startHelper(cmd *exec.Cmd) (*lab.Process, error) {
	log, err := os.CreateTemp(b.dir, "helper-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	return b.here.Start(cmd)
}

func (b *bench) freePort() (uint16, error) {
	l, err := b.here.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	at, err := netip.ParseAddrPort(l.Addr().String())
	return at.Port(), err
}

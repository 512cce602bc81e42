package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"handout/sources/sourcetest"
	"handout/testlab/payload"
)

// The way to the slow destination: that of a machine with 100 Mbit/s in another building.
const (
	slowOneWay = 2 * time.Millisecond
	slowRate   = 100_000_000 / 8
)

// slowDest: a package for a destination on sshfs, fetched straight there and fetched here first, then moved, over the same
// slow way. Only the latter reads back what it wrote. Beside it cp, which checks nothing.
func slowDest(ctx context.Context, b *bench) error {
	goroot, _, err := goTree(ctx)
	if err != nil {
		return err
	}
	small, file := filepath.Join(goroot, "src", "net"), filepath.Join(b.dir, "made")
	if err := payload.Write(file, 1, 32<<20); err != nil {
		return err
	}
	export, dir := filepath.Join(b.dir, "export"), filepath.Join(b.dir, "sshfs")
	if err := errors.Join(os.Mkdir(export, 0o755), os.Mkdir(dir, 0o755)); err != nil {
		return err
	}
	mount := &sourcetest.SSHFS{Export: export, Dir: dir, OneWay: slowOneWay, Rate: slowRate}
	err = mount.Start()
	if errors.Is(err, sourcetest.ErrNoSSHFS) {
		fmt.Printf("  left out: %v\n", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer mount.Stop()
	for _, job := range []struct{ name, source string }{{"one file", file}, {"small files", small}} {
		if err := b.slowDestOf(ctx, mount, job.name, job.source); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) slowDestOf(ctx context.Context, mount *sourcetest.SSHFS, name, source string) error {
	size, err := payload.Bytes(source)
	if err != nil {
		return err
	}
	pkgDir := filepath.Join(b.dir, "pkg-"+filepath.Base(source))
	if err := os.Mkdir(pkgDir, 0o755); err != nil {
		return err
	}
	pkg, err := b.program.Publish(ctx, pkgDir, source, source, "--allow-non-windows-names")
	if err != nil {
		return err
	}
	fmt.Printf("  -- %s, %.1f MB, to sshfs over %v and %d Mbit/s one way\n", name, float64(size)/1e6, slowOneWay, slowRate*8/1_000_000)
	there := func(out string) string { return filepath.Join(mount.Mount, filepath.Base(out)) }
	check := func(out string) (string, error) {
		c, err := payload.Compare(source, filepath.Join(mount.Export, filepath.Base(out))) // sshfs shows not every symlink
		if err == nil && c.Content != c.Files {
			err = fmt.Errorf("%d of %d files are right", c.Content, c.Files)
		}
		return "", errors.Join(err, os.RemoveAll(there(out)))
	}
	// The walls of all rounds together, for the ratio.
	var staged, direct time.Duration
	timed := func(sum *time.Duration, cmd func(ctx context.Context, out string) *exec.Cmd) contender {
		var began time.Time
		return contender{
			cmd: func(ctx context.Context, out string) *exec.Cmd {
				c := cmd(ctx, out)
				began = time.Now()
				return c
			},
			check: func(out string) (string, error) {
				*sum += time.Since(began)
				return check(out)
			},
		}
	}
	first := timed(&staged, func(ctx context.Context, out string) *exec.Cmd {
		return b.program.Fetch(ctx, pkg, there(out), "--no-peers", "--stage", out)
	})
	first.name = "handout, staged"
	straight := timed(&direct, func(ctx context.Context, out string) *exec.Cmd {
		return b.program.Fetch(ctx, pkg, there(out), "--no-peers", "--direct")
	})
	straight.name = "handout, direct"
	err = b.contest(ctx, 1, size, first, straight,
		contender{name: "cp -r", check: check, cmd: func(ctx context.Context, out string) *exec.Cmd {
			return exec.CommandContext(ctx, "cp", "-r", source, there(out))
		}},
	)
	if err == nil {
		fmt.Printf("  direct took %.2f of the time of staged, moved and read back\n", direct.Seconds()/staged.Seconds())
	}
	return err
}

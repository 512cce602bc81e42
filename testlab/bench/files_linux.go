package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"text/tabwriter"
	"time"

	"handout/testlab/cli"
	"handout/testlab/lab"
)

// smallFile is the mean size of a small file, in bytes.
const smallFile = 2 << 10

// smallFileRounds is how often each step is taken. The least counts: whatever else the machine does only adds to it.
const smallFileRounds = 3

// files: what each step costs for ten times as many files, which should be ten times as much and no more.
func files(ctx context.Context, b *bench) error {
	counts := []int{10_000, 100_000}
	steps := []string{"publish", "fetch", "fetch, 8 ms a flush", "verify", "evict"}
	took := make(map[string][]effort)
	for _, n := range counts {
		efforts, flushes, err := b.smallFiles(ctx, n)
		if err != nil {
			return fmt.Errorf("%d files: %w", n, err)
		}
		for _, s := range steps {
			took[s] = append(took[s], efforts[s])
		}
		fmt.Printf("  %d files: %d flushes in a fetch; with 8 ms for each it takes %.2fx the time\n", n, flushes,
			efforts["fetch, 8 ms a flush"].wall.Seconds()/efforts["fetch"].wall.Seconds())
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  least of %d\t10,000: s\tCPU s\tpeak MiB\t100,000: s\tCPU s\tpeak MiB\ta file costs, by CPU\t\n", smallFileRounds)
	for _, s := range steps {
		few, many := took[s][0], took[s][1]
		fmt.Fprintf(w, "  %s\t%.2f\t%.2f\t%.0f\t%.2f\t%.2f\t%.0f\t%.2fx\t\n", s,
			few.wall.Seconds(), few.cpu.Seconds(), float64(few.peakBytes)/(1<<20),
			many.wall.Seconds(), many.cpu.Seconds(), float64(many.peakBytes)/(1<<20),
			many.cpu.Seconds()/few.cpu.Seconds()*float64(counts[0])/float64(counts[1]))
	}
	return w.Flush()
}

// smallFiles takes n files through every step; flushes is how often a fetch has the disk flush.
func (b *bench) smallFiles(ctx context.Context, n int) (efforts map[string]effort, flushes int64, err error) {
	dir := filepath.Join(b.dir, fmt.Sprint(n))
	source := filepath.Join(dir, "source")
	if err := writeSmallFiles(source, n); err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(dir)
	pkg, err := b.program.Publish(ctx, dir, source, source)
	if err != nil {
		return nil, 0, err
	}
	efforts = map[string]effort{}
	note := func(step string, e effort) {
		if before, ok := efforts[step]; ok {
			e.wall, e.cpu, e.peakBytes = min(e.wall, before.wall), min(e.cpu, before.cpu), max(e.peakBytes, before.peakBytes)
		}
		efforts[step] = e
	}
	for range smallFileRounds {
		if flushes, err = b.smallFilesRound(ctx, pkg, dir, source, note); err != nil {
			return nil, 0, err
		}
	}
	return efforts, flushes, nil
}

// smallFilesRound tells note what each step took.
func (b *bench) smallFilesRound(ctx context.Context, pkg cli.Package, dir, source string, note func(step string, e effort)) (flushes int64, err error) {
	for _, name := range []string{"dest", "slow", "state", "cache"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return 0, err
		}
	}
	disk := &slowDisk{flush: 8 * time.Millisecond}
	run := func(step string, cmd *exec.Cmd) {
		if err == nil {
			var e effort
			if e, err = b.measure(cmd, nil); err == nil {
				note(step, e)
			}
		}
	}
	command := func(args ...string) *exec.Cmd { return exec.CommandContext(ctx, string(b.program), args...) }
	run("publish", command("publish", source, "--origin", source, "--key", filepath.Join(dir, "lab.key"), "-o", filepath.Join(dir, "again.torrent")))
	run("fetch", b.program.Fetch(ctx, pkg, filepath.Join(dir, "dest"), "--no-peers"))
	slow := b.program.Fetch(ctx, pkg, filepath.Join(dir, "slow"), "--no-peers")
	started, held := disk.on(slow)
	if held != nil {
		return 0, held
	}
	run("fetch, 8 ms a flush", slow)
	started()
	run("verify", command("verify", filepath.Join(dir, "dest"), pkg.Manifest, "--trust", pkg.Trust))
	if err == nil {
		var e effort
		if e, err = b.evict(ctx, pkg, dir); err == nil {
			note("evict", e)
		}
	}
	return disk.flushes.Load(), err
}

// evict has an agent fetch the package into a cache, and then measures how the cache is emptied.
func (b *bench) evict(ctx context.Context, pkg cli.Package, dir string) (effort, error) {
	cache := filepath.Join(dir, "cache")
	config := func(name, more string) (string, error) {
		text := fmt.Sprintf("trust = [%q]\ncache_dir = %q\nstate_dir = %q\npeer_port = 24747\n%s", pkg.Trust, cache, filepath.Join(dir, "state"), more)
		return filepath.Join(dir, name), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)
	}
	keeps, err := config("keeps.toml", fmt.Sprintf("[[package]]\nmanifest = %q\n", pkg.Manifest))
	if err != nil {
		return effort{}, err
	}
	empty, err := config("empty.toml", "[cache]\nmax_bytes = \"1\"\n")
	if err != nil {
		return effort{}, err
	}
	agent, err := b.here.Start(exec.CommandContext(ctx, string(b.program), "agent", "run", "--config", keeps))
	if err != nil {
		return effort{}, err
	}
	if err := untilKept(ctx, agent, filepath.Join(cache, ".source.handout", "package.torrent")); err != nil {
		return effort{}, err
	}
	agent.Cmd.Process.Signal(os.Interrupt)
	agent.Wait()
	e, err := b.measure(exec.CommandContext(ctx, string(b.program), "gc", "--config", empty), nil)
	if err != nil {
		return e, err
	}
	if left, err := filepath.Glob(filepath.Join(cache, "*source*")); err != nil || len(left) > 0 {
		return e, fmt.Errorf("the cache was not emptied: %v, %w", left, err)
	}
	return e, nil
}

// untilKept waits until the agent has recorded what it fetched.
func untilKept(ctx context.Context, agent *lab.Process, record string) error {
	for {
		if _, err := os.Lstat(record); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-agent.Done():
			return fmt.Errorf("the agent ended: %w", agent.Wait())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// writeSmallFiles makes n files of up to twice smallFile bytes, a hundred to a folder.
func writeSmallFiles(dir string, n int) error {
	random := rand.NewChaCha8([32]byte{4})
	sizes := rand.New(random)
	buf := make([]byte, 2*smallFile)
	for i := range n {
		folder := filepath.Join(dir, fmt.Sprintf("%03d", i/10_000), fmt.Sprintf("%03d", i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		data := buf[:sizes.IntN(len(buf)+1)]
		random.Read(data)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%06d.dat", i)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

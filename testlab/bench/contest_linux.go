package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"handout/testlab/lab"
)

// contender is a tool that does a job in one process.
type contender struct {
	name   string
	cmd    func(ctx context.Context, out string) *exec.Cmd // puts its result below out, a folder that is new
	check  func(out string) (string, error)                // looks at the result, outside of the time taken; its words are printed
	fails  bool                                            // its exit code says nothing: check does
	helper *lab.Process                                    // works for it meanwhile; its processor time is shown too. nil: none
}

// effort is what one run took.
type effort struct {
	wall, cpu, helperCPU time.Duration
	peakBytes            int64 // of resident memory
}

// rate is bytes per second, where size bytes were moved.
func (e effort) rate(size int64) float64 { return float64(size) / e.wall.Seconds() }

// contest lets the contenders do the job in turn, several times, and prints their medians.
func (b *bench) contest(ctx context.Context, runs int, size int64, contenders ...contender) error {
	_, err := b.medians(ctx, runs, size, contenders...)
	return err
}

// medians is contest that also returns them, by the contender's name.
func (b *bench) medians(ctx context.Context, runs int, size int64, contenders ...contender) (map[string]effort, error) {
	if b.runs > 0 {
		runs = b.runs
	}
	contenders = slices.DeleteFunc(contenders, func(c contender) bool { return !b.lets(c.name) })
	efforts := make([][]effort, len(contenders))
	remarks := make([]string, len(contenders))
	for round := range runs {
		for i, c := range contenders {
			out, err := os.MkdirTemp(b.dir, "out-")
			if err != nil {
				return nil, err
			}
			cmd := c.cmd(ctx, out)
			if round == 0 {
				fmt.Printf("  %s: %s\n", c.name, strings.ReplaceAll(strings.Join(cmd.Args, " "), b.dir, "$D"))
			}
			e, err := b.measure(cmd, c.helper)
			if err != nil && !c.fails {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			efforts[i] = append(efforts[i], e)
			if c.check != nil {
				if remarks[i], err = c.check(out); err != nil {
					return nil, fmt.Errorf("%s: %w", c.name, err)
				}
			}
			if err := os.RemoveAll(out); err != nil {
				return nil, err
			}
		}
	}
	found := map[string]effort{}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  median of %d\tseconds\t(min-max)\tMB/s\tCPU s\tsender's CPU s\tpeak MiB\t\n", runs)
	for i, c := range contenders {
		all := efforts[i]
		walls := pick(all, func(e effort) time.Duration { return e.wall })
		m := effort{
			wall:      median(walls),
			cpu:       median(pick(all, func(e effort) time.Duration { return e.cpu })),
			helperCPU: median(pick(all, func(e effort) time.Duration { return e.helperCPU })),
			peakBytes: median(pick(all, func(e effort) int64 { return e.peakBytes })),
		}
		found[c.name] = m
		sender := "-"
		if c.helper != nil {
			sender = fmt.Sprintf("%.2f", m.helperCPU.Seconds())
		}
		fmt.Fprintf(w, "  %s\t%.2f\t(%.2f-%.2f)\t%.0f\t%.2f\t%s\t%.0f\t%s\n", c.name, m.wall.Seconds(), slices.Min(walls).Seconds(), slices.Max(walls).Seconds(),
			m.rate(size)/1e6, m.cpu.Seconds(), sender, float64(m.peakBytes)/(1<<20), remarks[i])
	}
	return found, w.Flush()
}

// measure runs cmd on this machine to its end.
func (b *bench) measure(cmd *exec.Cmd, helper *lab.Process) (e effort, err error) {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	var before time.Duration
	if helper != nil {
		if before, err = cpuSoFar(helper); err != nil {
			return e, err
		}
	}
	p, err := b.here.Start(cmd)
	if err != nil {
		return e, err
	}
	e.peakBytes = watchMemory(p)
	e.wall, e.cpu = p.Wall(), p.CPU()
	if err := p.Wait(); err != nil {
		return e, fmt.Errorf("%w: %s", err, &said)
	}
	if helper != nil {
		after, err := cpuSoFar(helper)
		if err != nil {
			return e, err
		}
		e.helperCPU = after - before
	}
	return e, nil
}

// watchMemory waits for the end of p and returns its peak of resident memory in bytes, but for its last hundredth of a
// second. (The kernel's own account, ru_maxrss, begins with what the parent had when it forked.)
func watchMemory(p *lab.Process) (peak int64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
		for line := range strings.Lines(string(text)) {
			var kib int64
			if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
				peak = max(peak, kib<<10)
			}
		}
		select {
		case <-p.Done():
			return peak
		case <-tick.C:
		}
	}
}

// cpuSoFar is the processor time that a running process and its children have used, user and system together.
func cpuSoFar(p *lab.Process) (sum time.Duration, err error) {
	all, err := p.Family()
	for _, pid := range all {
		cpu, err := cpuOf(pid)
		if err != nil {
			return 0, err
		}
		sum += cpu
	}
	return sum, err
}

func cpuOf(pid string) (time.Duration, error) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	// The program's name stands in brackets and may hold anything; fields 14 and 15 of proc_pid_stat(5) follow.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var user, system int64
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat of process %s: %q", pid, text)
	}
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0, fmt.Errorf("stat of process %s: %w", pid, err)
	}
	const perSecond = 100 // USER_HZ is 100 wherever Go runs
	return time.Duration(user+system) * time.Second / perSecond, nil
}

func pick[T any](all []effort, field func(effort) T) (values []T) {
	for _, e := range all {
		values = append(values, field(e))
	}
	return values
}

// median of an even number of values is the lower of the middle two.
func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// lets reports whether a contender runs: with -own only handout does.
func (b *bench) lets(contender string) bool {
	return !b.ownOnly || strings.HasPrefix(contender, "handout")
}

// installed tells and reports whether a tool for comparison is there.
func installed(tool string) bool {
	_, err := exec.LookPath(tool)
	if err != nil {
		fmt.Printf("  without %s, which is not installed: make bench does that, as root\n", tool)
	}
	return err == nil
}

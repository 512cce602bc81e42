package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"handout/testlab/cli"
	"handout/testlab/lab"
	"handout/testlab/payload"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == misbehave {
		if err := beFaulty(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "figures:", err)
			os.Exit(1)
		}
		return
	}
	lab.Enter()
	runs := flag.Int("runs", 1, "play each row `N` times and print the medians")
	size := flag.Int64("size", 0, "payload in `MiB` (default 64, and 256 for mute and lying)")
	link := flag.Float64("u", 0, "rate of a host's link in `Mbit/s` (default 25, and 10 for thirty hosts): with slower links a room costs the\nprocessor less")
	keep := flag.String("keep", "", "keep what each machine says in a folder of `DIR` for each run, its log and its events, and what the origin was asked for")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: figures [flags] [row ...]\n\n")
		for _, w := range rows {
			fmt.Fprintf(flag.CommandLine.Output(), "  %-14s %s\n", w.name, w.about)
		}
		fmt.Fprintln(flag.CommandLine.Output())
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *runs, *size, *link, *keep, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		stop()
		os.Exit(1)
	}
}

// run plays the named rows, or all. A row that goes wrong does not keep the next from being played.
func run(ctx context.Context, runs int, size int64, link float64, keep string, names []string) error {
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("nginx"); err != nil {
		return errors.New("needs nginx: make deps")
	}
	needed := int64(1)
	for i, w := range chosen {
		if size > 0 || w.size == 0 {
			chosen[i].size = cmp.Or(size, 64)
		}
		if link > 0 {
			chosen[i].rate = times(lab.Mbit, link)
			chosen[i].about += fmt.Sprintf(" (here u = %v)", chosen[i].rate)
		}
		needed = max(needed, chosen[i].size<<20*int64(chosen[i].machines()+2))
	}
	scratch, err := os.MkdirTemp(payload.Scratch(needed), "handout-figures-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	program, err := cli.Build(ctx, scratch)
	if err != nil {
		return err
	}
	var done []outcomes
	var wrong error
	for _, w := range chosen {
		if ctx.Err() != nil {
			break // what was played is shown
		}
		fmt.Printf("== %s: %s, %d MiB\n", w.name, w.about, w.size)
		o := outcomes{row: w}
		for k := range max(1, runs) {
			kept := ""
			if keep != "" {
				kept = filepath.Join(keep, fmt.Sprintf("%s-%d", w.name, k+1))
			}
			f, err := play(ctx, w, program, scratch, kept)
			if errors.Is(err, lab.ErrUnavailable) {
				return err
			}
			if ctx.Err() != nil {
				break
			}
			if err != nil {
				fmt.Printf("  wrong: %v\n", err)
				wrong = errors.Join(wrong, fmt.Errorf("%s: %w", w.name, err))
				continue
			}
			fmt.Printf("  %v\n", f)
			o.all = append(o.all, f)
		}
		if ctx.Err() == nil || len(o.all) > 0 {
			done = append(done, o)
		}
	}
	fmt.Println()
	return errors.Join(table(os.Stdout, done), wrong, context.Cause(ctx))
}

func choose(names []string) (chosen []row, err error) {
	if len(names) == 0 {
		return slices.Clone(rows), nil
	}
	for _, name := range names {
		i := slices.IndexFunc(rows, func(w row) bool { return w.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no row %q: see -help", name)
		}
		chosen = append(chosen, rows[i])
	}
	return chosen, nil
}

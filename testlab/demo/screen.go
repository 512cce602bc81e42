package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"handout/testlab/payload"
)

// watch shows the machines until all have ended, also after ctx is done. The first failure is returned.
func watch(ctx context.Context, all []*machine, o *origin, size int64) error {
	began := time.Now()
	show, every := plain, 2*time.Second
	// Older Windows consoles print escape sequences as they are.
	if term.IsTerminal(int(os.Stdout.Fd())) && runtime.GOOS != "windows" {
		show, every = redraw(), 200*time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for _, m := range all {
		for ended := false; !ended; {
			select {
			case <-m.ended:
				ended = true
			case <-tick.C:
				show(picture(all, o, size, time.Since(began)))
			}
		}
	}
	show(picture(all, o, size, time.Since(began)))
	var errs []error
	for _, m := range all {
		errs = append(errs, m.err)
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// picture is one line per machine and one for the origin.
func picture(all []*machine, o *origin, size int64, elapsed time.Duration) (lines []string) {
	for _, m := range all {
		s := m.state()
		status := "starts"
		switch {
		case s.last.Kind == "failed":
			status = "failed"
		case s.took > 0:
			status = fmt.Sprintf("complete after %.1f s", s.took)
		case s.last.Kind == "progress":
			status = fmt.Sprintf("origin %s/s, neighbours %s/s (%d)", megabytes(s.seen.OriginBytesPerSec), megabytes(s.seen.PeerBytesPerSec), s.seen.Neighbours)
		}
		share := float64(s.seen.Done) / float64(size)
		if s.took > 0 {
			share = 1
		}
		lines = append(lines, fmt.Sprintf("%s  %s %3.0f %%  %s", m.name, bar(share), share*100, status))
	}
	carried := o.carried.Load()
	return append(lines, fmt.Sprintf("origin     has carried %s, %.2f copies, in %.0f s", megabytes(carried), float64(carried)/float64(size), elapsed.Seconds()))
}

func bar(share float64) string {
	const width = 30
	full := min(int(share*width), width)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

// plain prints pictures one below the other.
func plain(lines []string) { fmt.Println("\n" + strings.Join(lines, "\n")) }

// redraw prints each picture over the one before.
func redraw() func([]string) {
	height := 0
	return func(lines []string) {
		if height > 0 {
			fmt.Printf("\x1b[%dA", height)
		} else {
			fmt.Println()
		}
		width, _, err := term.GetSize(int(os.Stdout.Fd()))
		for _, line := range lines {
			if err == nil && len(line) >= width && width > 0 {
				line = line[:width-1] // a wrapped line would spoil the count
			}
			fmt.Printf("\r%s\x1b[K\n", line)
		}
		height = len(lines)
	}
}

// report compares every tree with the source and prints the final table.
func report(all []*machine, o *origin, tree string, size int64) error {
	fmt.Println("\ncomparing the trees …")
	var comparisons errgroup.Group
	for _, m := range all {
		comparisons.Go(func() error {
			c, err := payload.Compare(tree, m.dest)
			if err == nil && len(c.Differs) > 0 {
				err = fmt.Errorf("%d of %d files are right: %s", c.Right, c.Files, c.Differs[0])
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", m.name, err)
			}
			return err
		})
	}
	if err := comparisons.Wait(); err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tseconds\tfrom origin\tfrom neighbours\tto neighbours\t")
	for _, m := range all {
		e := m.state().last
		fmt.Fprintf(w, "%s\t%.1f\t%s\t%s\t%s\t\n", m.name, e.Seconds, megabytes(e.FromOrigin), megabytes(e.FromPeers), megabytes(e.ToPeers))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	carried := o.carried.Load()
	_, err := io.WriteString(os.Stdout, fmt.Sprintf(`
All %d trees are identical to %s.
The origin carried %s: %.2f copies. %d plain copies would have been %s, and %.0f s at its %s/s.
`, len(all), tree, megabytes(carried), float64(carried)/float64(size), len(all), megabytes(size*int64(len(all))),
		float64(size)*float64(len(all))/originBytesPerSec, megabytes(originBytesPerSec)))
	return err
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"handout/testlab/cli"
	"handout/testlab/lab"
	"handout/testlab/payload"
)

// rows are the figures, in the order they are taken.
var rows = []struct {
	name, about string
	run         func(context.Context, *bench) error
}{
	{"lone", "a machine alone, one file of 1 GiB from nginx on loopback", lone},
	{"tree", "a machine alone, the Go installation's tree from nginx on loopback", tree},
	{"seed", "one machine gives 1 GiB to another on loopback", seed},
	{"room", "a room of 8 on equal links of 25 Mbit/s, 64 MiB", inRoom},
	{"smb", "a machine alone, from a share: a file, a slow server, the Go tree, beside smbclient", smb},
	{"smbroom", "the room of 8 from HTTP, and from a share", smbRoom},
	{"publish", "publishing the Go installation's tree", publish},
}

// bench is what the rows share.
type bench struct {
	program cli.Program
	dir     string       // scratch of the row that runs; emptied before each
	here    *lab.Machine // where everything runs that is in no lab
	runs    int          // how often a contest is repeated; 0: as the row likes
}

func main() {
	lab.Enter()
	runs := flag.Int("runs", 0, "repeat each contest `N` times (default: 3 or 5, by row)")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: bench [-runs N] [row ...]\n\n")
		for _, r := range rows {
			fmt.Fprintf(flag.CommandLine.Output(), "  %-8s %s\n", r.name, r.about)
		}
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *runs, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, runs int, names []string) (err error) {
	for _, name := range names {
		if !slices.ContainsFunc(rows, func(r struct {
			name, about string
			run         func(context.Context, *bench) error
		}) bool {
			return r.name == name
		}) {
			return fmt.Errorf("no row %q: see -help", name)
		}
	}
	if _, err := exec.LookPath("nginx"); err != nil {
		return errors.New("needs nginx: make deps")
	}
	scratch, err := os.MkdirTemp(payload.Scratch(needed), "handout-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	b := &bench{here: lab.Local(), runs: runs}
	defer b.here.Close()
	if b.program, err = cli.Build(ctx, scratch); err != nil {
		return err
	}
	fmt.Printf("%s, %d cores, data in %s, TCP %s\n", kernel(), runtime.NumCPU(), filepath.Dir(scratch), congestionControl())
	for _, r := range rows {
		if len(names) > 0 && !slices.Contains(names, r.name) {
			continue
		}
		fmt.Printf("\n== %s: %s\n", r.name, r.about)
		b.dir = filepath.Join(scratch, r.name)
		if err := os.Mkdir(b.dir, 0o755); err != nil {
			return err
		}
		if err := r.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if err := os.RemoveAll(b.dir); err != nil {
			return err
		}
	}
	return nil
}

// needed is the scratch space of the greediest row, in bytes.
const needed = 4 << 30

func kernel() string {
	var u unix.Utsname
	unix.Uname(&u)
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}

func congestionControl() string {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	return strings.TrimSpace(string(text))
}

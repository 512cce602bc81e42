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
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"handout/testlab/cli"
	"handout/testlab/hostile"
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
	{"room", "rooms of 1, 8 and 16 on equal links of 25 Mbit/s, 64 MiB, beside the tools people use", inRoom},
	{"smb", "a machine alone, from a share: a file, a slow server, the Go tree, beside smbclient", smb},
	{"smbroom", "the room of 8 from HTTP, and from a share", smbRoom},
	{"publish", "publishing the Go installation's tree", publish},
	{"slowdest", "to a slow sshfs mount: fetched here and moved, and fetched straight there", slowDest},
	{"delta", "a new version over the one before: typescript from npm, kernel headers from Debian, beside rsync", delta},
	{"files", "10,000 and 100,000 small files: publish, fetch, verify, evict; on a disk that takes 8 ms to flush", files},
	{"push", "a push to a site of 50 agents", push},
	{"idle", "an agent with nothing to do in a site of 50: memory, processor, wire", idle},
	{"hostile", "an agent that a machine of the LAN attacks at every door, and a neighbour that fetches from it", attacked},
	{"restart", "an agent with a cache of 20 GiB (sparse) starts again and gives", restart},
}

// bench is what the rows share.
type bench struct {
	program cli.Program
	dir     string       // scratch of the row that runs; emptied before each
	here    *lab.Machine // where everything runs that is in no lab
	runs    int          // how often a contest is repeated; 0: as the row likes
	ownOnly bool         // nothing runs beside handout
	hosts   []int        // of the rooms
	size    int64        // of a room's big file, in bytes
	cache   int64        // of the cache of an agent that starts again, in bytes
	picture string       // the file for the rooms' picture
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == heldArgument {
		fmt.Fprintln(os.Stderr, "bench:", beHeld(os.Args[2:]))
		os.Exit(1)
	}
	if len(os.Args) > 2 && os.Args[1] == bareArgument {
		if err := beBare(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 2 && os.Args[1] == hostile.Argument {
		if err := hostile.Be(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	lab.Enter()
	b := &bench{hosts: []int{1, 8, 16}}
	flag.IntVar(&b.runs, "runs", 0, "repeat each contest `N` times (default: 1, 3 or 5, by row)")
	flag.BoolVar(&b.ownOnly, "own", false, "run handout alone, nothing beside it")
	flag.Int64Var(&b.size, "size", 64, "payload of the rooms, in `MiB`")
	flag.Int64Var(&b.cache, "cache", 20<<10, "cache of an agent that starts again, in `MiB`")
	flag.Func("hosts", "rooms of so many hosts, a `LIST` with commas (default 1,8,16)", b.setHosts)
	flag.StringVar(&b.picture, "picture", "dist/rooms.svg", "draw the rooms into this `FILE`")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: bench [flags] [row ...]\n\n")
		for _, r := range rows {
			fmt.Fprintf(flag.CommandLine.Output(), "  %-8s %s\n", r.name, r.about)
		}
		fmt.Fprintln(flag.CommandLine.Output())
		flag.PrintDefaults()
	}
	flag.Parse()
	b.size <<= 20
	b.cache <<= 20
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// setHosts reads the flag.
func (b *bench) setHosts(list string) error {
	b.hosts = nil
	for number := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number of hosts", number)
		}
		b.hosts = append(b.hosts, n)
	}
	return nil
}

func (b *bench) run(ctx context.Context, names []string) (err error) {
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
	scratch, err := os.MkdirTemp(payload.Scratch(max(needed, int64(slices.Max(b.hosts)+2)*b.size)), "handout-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	b.here = lab.Local()
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

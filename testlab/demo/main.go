// Demo shows handout at work on one computer: it publishes the Go installation's tree, serves it from an HTTP origin that
// is slow enough to watch, and lets four machines, which are four processes, fetch it at once.
//
//	go run ./testlab/demo
//
// It needs Go, a gigabyte in memory or in the temporary folder, and no network but loopback. It leaves nothing behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"handout/testlab/cli"
	"handout/testlab/payload"
)

const (
	machines          = 4
	originBytesPerSec = 20e6
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demonstrate(ctx)
	interrupted := ctx.Err() != nil
	stop()
	if interrupted {
		fmt.Fprintln(os.Stderr, "demo: interrupted, all is ended and removed")
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demonstrate(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp(payload.Scratch(machines<<30), "handout-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	fmt.Println("building handout …")
	program, err := cli.Build(ctx, dir)
	if err != nil {
		return err
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	tree, err := filepath.EvalSymlinks(strings.TrimSpace(string(goroot)))
	if err != nil {
		return err
	}
	size, err := payload.Bytes(tree)
	if err != nil {
		return err
	}
	server, err := serve(tree)
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Printf("publishing %s (%s) for %s …\n", tree, megabytes(size), server.url)
	began := time.Now()
	// Go's test data has names that Windows could not hold.
	pkg, err := program.Publish(ctx, dir, tree, server.url, "--allow-non-windows-names")
	if err != nil {
		return err
	}
	fmt.Printf("published and signed in %.1f s; now %d machines fetch it from an origin of %s/s\n",
		time.Since(began).Seconds(), machines, megabytes(originBytesPerSec))

	ctx, endAll := context.WithCancel(ctx)
	var all []*machine
	defer func() {
		endAll()
		for _, m := range all {
			<-m.ended
		}
	}()
	ports, err := freePorts(machines)
	if err != nil {
		return err
	}
	for i := range ports {
		name := fmt.Sprintf("machine %d", i+1)
		m, err := startMachine(ctx, name, program, pkg, filepath.Join(dir, name), peering(ports, i))
		if err != nil {
			return err
		}
		all = append(all, m)
	}
	if err := watch(ctx, all, server, size); err != nil {
		return err
	}
	return report(all, server, tree, size)
}

// peering are the flags that tell machine i its port and where the others are: many computers have no multicast on
// loopback.
func peering(ports []int, i int) []string {
	flags := []string{"--port", fmt.Sprint(ports[i]), "--linger", "auto:1m"}
	for j, other := range ports {
		if j != i {
			flags = append(flags, "--seed", fmt.Sprintf("127.0.0.1:%d", other))
		}
	}
	return flags
}

// freePorts finds TCP ports that nothing listens on.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // held until all are found, so that none is found twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

package crash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// agent is a running "handout agent run".
type agent struct {
	addr  string // where neighbours find it
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
}

// runAgent runs an agent that keeps packages, by their destinations. It returns once ready says so; the agent ends with
// the test, if not before.
func runAgent(t *testing.T, ready func() bool, packages map[string]parcel) *agent {
	t.Helper()
	dir := folder(t)
	port := 20000 + 2*rand.IntN(5000) // nobody else is in our network
	var trust []string
	var config strings.Builder
	for dest, p := range packages {
		trust = append(trust, fmt.Sprintf("%q", p.Trust))
		fmt.Fprintf(&config, "[[package]]\nmanifest = %q\ndest = %q\n", p.Manifest, dest)
	}
	file := filepath.Join(dir, "agent.toml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, "trust = [%s]\nstate_dir = %q\ncache_dir = %q\npeer_port = %d\n%s",
		strings.Join(trust, ", "), filepath.Join(dir, "state"), filepath.Join(dir, "cache"), port, &config), 0o600))
	a := &agent{
		addr:  fmt.Sprintf("127.0.0.1:%d", port),
		cmd:   exec.Command(string(bin(t)), "agent", "run", "--config", file),
		ended: make(chan struct{}),
	}
	var said bytes.Buffer
	a.cmd.Stdout, a.cmd.Stderr = &said, &said
	must(t, a.cmd.Start())
	go func() { a.cmd.Wait(); close(a.ended) }()
	t.Cleanup(func() {
		a.stop()
		if t.Failed() {
			t.Logf("the agent said: %s", &said)
		}
	})
	a.wait(t, ready)
	return a
}

func (a *agent) wait(t *testing.T, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ready(); time.Sleep(10 * time.Millisecond) {
		select {
		case <-a.ended:
			t.Fatal("the agent has ended")
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not come to that within two minutes")
		}
	}
}

func (a *agent) stop() {
	a.cmd.Process.Kill()
	<-a.ended
}

// neighbour is an agent that has the package at dest, or fetches it there first, and gives it to others.
func neighbour(t *testing.T, p parcel, dest string) (addr string) {
	t.Helper()
	return runAgent(t, func() bool { _, err := os.Lstat(dest); return err == nil }, map[string]parcel{dest: p}).addr
}

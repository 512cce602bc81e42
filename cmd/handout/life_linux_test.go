package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// notifications are what systemd would hear from a service: each is one datagram (sd_notify(3)).
func notifications(t *testing.T, dir string) (socket string, heard <-chan string) {
	t.Helper()
	socket = filepath.Join(dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ch := make(chan string, 1000)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				close(ch)
				return
			}
			ch <- string(buf[:n])
		}
	}()
	return socket, ch
}

// expect waits for a notification, and returns those that were heard before it.
func expect(t *testing.T, heard <-chan string, want string) (others []string) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		select {
		case got := <-heard:
			if got == want {
				return others
			}
			others = append(others, got)
		case <-late:
			t.Fatalf("%q was not said, only %q", want, others)
		}
	}
}

// serviceUnderTest starts an agent as systemd would, without a port that anybody knows.
func serviceUnderTest(t *testing.T) (cmd *exec.Cmd, stderr *bytes.Buffer, heard <-chan string) {
	t.Helper()
	dir := t.TempDir()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	socket, heard := notifications(t, dir)
	cmd = exec.Command("handout", "agent", "run", "--state-dir", filepath.Join(dir, "state"), "--cache-dir", filepath.Join(dir, "cache"),
		"--port", port, "--site", "room-"+port, "--child-beat", "100ms")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "HANDOUT_CONFIG=")
	cmd.Dir = dir
	stderr = &bytes.Buffer{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, stderr, heard
}

// TestNotify: systemd hears that the agent is ready, that it lives, and that it stops.
func TestNotify(t *testing.T) {
	cmd, stderr, heard := serviceUnderTest(t)
	if before := expect(t, heard, "READY=1"); len(before) > 0 {
		t.Errorf("%q before it was ready", before)
	}
	for range 3 {
		expect(t, heard, "WATCHDOG=1")
	}
	cmd.Process.Signal(syscall.SIGTERM)
	expect(t, heard, "STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("stopped: %v\n%s", err, stderr)
	}
}

// childOf is the only child of a process.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range threads {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if child, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return child
		}
	}
	t.Fatal("no child")
	return 0
}

// TestHungChild: the process that works is stopped in its tracks, so that it says nothing. systemd hears nothing of life
// in that time, and soon another child lives.
func TestHungChild(t *testing.T) {
	cmd, stderr, heard := serviceUnderTest(t)
	expect(t, heard, "READY=1")
	child := childOf(t, cmd.Process.Pid)
	syscall.Kill(child, syscall.SIGSTOP)
	time.Sleep(300 * time.Millisecond)
	for len(heard) > 0 {
		<-heard
	}
	time.Sleep(500 * time.Millisecond) // of the 1.2 s after which it is given up
	if n := len(heard); n > 0 {
		t.Errorf("%d signs of life of an agent that was stopped", n)
	}
	expect(t, heard, "WATCHDOG=1")
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("stopped: %v\n%s", err, stderr)
	}
	if !regexp.MustCompile(`the engine crashed.*gave no sign of life for 1.2s`).Match(stderr.Bytes()) {
		t.Errorf("nothing is said about it:\n%s", stderr)
	}
}

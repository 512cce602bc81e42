package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"handout/agent/atomicfile"
)

// The agent is two processes. The one that is started, by a person or a service manager, only watches the other, its
// child: the same program with the same arguments, which holds the ports, the door and the engine. A panic in one of the
// engine's goroutines can be recovered by nobody outside, so it ends the process; the child's end is then noted and a new
// one started, after a pause that grows. State is on disk in any case, so nothing verified is fetched again. A service
// manager could start the whole again, but not everywhere is one, and it would not say why.
//
// The child is on a leash, its standard input: when that ends, because the parent wants it or is gone, it stops in order.
// That works the same on every system, and leaves no orphan that holds the ports.
//
// The child's standard output is its pulse: it writes there once it is open to neighbours, and from then on at every beat, after
// it has been through the locks that its work goes through (life.go). Who deadlocks says nothing any more, and is killed and
// started anew as if it had crashed. Each beat is passed on to the service manager, which watches the watcher in its turn.

// childFlags are for the program itself.
type childFlags struct {
	number int    // how many children there were before; below 0: this is the parent
	after  string // how the one before ended
	beat   time.Duration
}

const (
	firstRestart = time.Second
	lastRestart  = time.Minute
	// steady is how long a child must live for the next pause to be short again.
	steady = 10 * time.Minute
	// childTime is what a child may take to end in order: it flushes what it has verified.
	childTime   = time.Minute
	keptCrashes = 5
	// lastExitCode is the highest with which a program ends by itself: Windows reports a crash by a larger one.
	lastExitCode = 255
)

// endedError is the end of a child that has told by itself why.
type endedError struct{ code int }

func (e endedError) Error() string { return fmt.Sprintf("the agent ended with %d", e.code) }

// supervise runs children until one ends in order, or ctx does.
func (a *app) supervise(ctx context.Context, stateDir string, beat time.Duration, m manager, log *slog.Logger) error {
	after, pause := "", firstRestart
	for n := 0; ; n++ {
		began := time.Now()
		crash, err := a.child(ctx, stateDir, n, after, beat, m)
		if err != nil || crash == "" {
			return err
		}
		if time.Since(began) > steady {
			pause = firstRestart
		}
		log.Error("the engine crashed: it is started again", "cause", crash, "pause", pause.String())
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		after, pause = crash, min(2*pause, lastRestart)
	}
}

// child runs one. crash says how it ended if not in order.
func (a *app) child(ctx context.Context, stateDir string, n int, after string, beat time.Duration, m manager) (crash string, err error) {
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(program)
	cmd.Args = append(slices.Clone(os.Args), "--child", strconv.Itoa(n), "--child-after", after)
	beats := make(pulseWriter, 1)
	cmd.Stdout, cmd.Stderr = beats, a.err
	cmd.WaitDelay = childTime // whoever else has got hold of its output
	leash, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start the agent's engine: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	hung, err := watch(ctx, ended, beats, beat, m)
	switch {
	case err != nil:
		m.Stopping()
		leash.Close()
		var stopErr error
		select {
		case <-ended: // how, its state tells
		case <-time.After(childTime):
			cmd.Process.Kill()
			stopErr = <-ended
		}
		keepCrash(stateDir)
		if stopErr != nil {
			return "", fmt.Errorf("stop the agent's engine: %w", stopErr)
		}
		return "", nil
	case hung:
		endHung(cmd.Process, ended)
		crash := fmt.Sprintf("gave no sign of life for %v", silence*beat)
		if report := keepCrash(stateDir); report != "" {
			crash += "; " + report
		}
		return crash, nil
	}
	if report := keepCrash(stateDir); report != "" {
		return report, nil
	}
	switch code := cmd.ProcessState.ExitCode(); {
	case code == exitDone:
		return "", nil
	case code > exitDone && code <= lastExitCode:
		return "", endedError{code}
	}
	return cmd.ProcessState.String(), nil // a signal, or an exception of Windows
}

// crashFile is where the runtime writes how a child crashed.
func crashFile(stateDir string) string { return filepath.Join(stateDir, "crash.txt") }

// reportCrash lets the runtime write there how this process crashes, if it does.
func reportCrash(stateDir string) error {
	path := crashFile(stateDir)
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		if _, err := atomicfile.SetAside(path); err != nil {
			return fmt.Errorf("make room for a crash report: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make room for a crash report: %w", err)
	}
	defer f.Close()
	return debug.SetCrashOutput(f, debug.CrashOptions{})
}

// keepCrash puts a crash report aside and returns its first line and where it is; "": there is none. The newest few stay.
func keepCrash(stateDir string) string {
	path := crashFile(stateDir)
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	line, _ := bufio.NewReader(io.LimitReader(f, 1<<10)).ReadString('\n')
	f.Close()
	if line == "" {
		os.Remove(path)
		return ""
	}
	kept := filepath.Join(stateDir, "crash-"+time.Now().UTC().Format("20060102T150405.000Z")+".txt")
	if err := os.Rename(path, kept); err != nil {
		kept = path
	}
	all, _ := filepath.Glob(filepath.Join(stateDir, "crash-*.txt")) // sorted by name, which is by time
	for len(all) > keptCrashes {
		os.Remove(all[0])
		all = all[1:]
	}
	return fmt.Sprintf("%s (report: %s)", printable(strings.TrimSpace(line)), kept)
}

// errLeash ends a child whose parent lets go.
var errLeash = errors.New("the supervising process is gone")

// onLeash returns a context that ends when in does.
func onLeash(ctx context.Context, in io.Reader) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		io.Copy(io.Discard, in)
		cancel(errLeash)
	}()
	return ctx
}

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Process is a program that runs on a Machine. It is killed when its machine is closed or this process ends.
type Process struct {
	Cmd     *exec.Cmd // not to be waited for: Wait does that
	Started time.Time

	done  chan struct{}
	err   error
	ended time.Time
}

// Start starts cmd on this machine. A nil Env becomes this process's own without proxies, which are out of reach in a lab
// and would spoil figures outside of one, and without settings of handout, which are somebody else's.
func (m *Machine) Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if cmd.Env == nil {
		cmd.Env = Neutral(os.Environ())
	}
	p := &Process{Cmd: cmd, done: make(chan struct{})}
	err := m.Do(func() error {
		p.Started = time.Now()
		return cmd.Start()
	})
	if err != nil {
		return nil, fmt.Errorf("start %s on %s: %w", cmd.Path, m.Name, err)
	}
	go func() {
		p.err = cmd.Wait()
		p.ended = time.Now()
		close(p.done)
	}()
	m.mu.Lock()
	m.processes = append(m.processes, p)
	closed := m.closed
	m.mu.Unlock()
	if closed { // between the start and here: Close has not seen it
		p.Kill()
		p.Wait()
		return nil, fmt.Errorf("start %s on %s: %w", cmd.Path, m.Name, ErrClosed)
	}
	return p, nil
}

// Run starts cmd on this machine and waits for it.
func (m *Machine) Run(cmd *exec.Cmd) (*Process, error) {
	p, err := m.Start(cmd)
	if err != nil {
		return nil, err
	}
	return p, p.Wait()
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end and answers as exec.Cmd.Wait does. It may be called any number of times.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Kill ends the process at once, as a power cut would. It does nothing if the process has ended.
func (p *Process) Kill() { p.Cmd.Process.Kill() }

// ExitCode waits; -1 if a signal ended the process.
func (p *Process) ExitCode() int {
	<-p.done
	return p.Cmd.ProcessState.ExitCode()
}

// Wall waits, and is the time from start to end.
func (p *Process) Wall() time.Duration {
	<-p.done
	return p.ended.Sub(p.Started)
}

// CPU waits, and is the processor time used, user and system together.
func (p *Process) CPU() time.Duration {
	<-p.done
	return p.Cmd.ProcessState.UserTime() + p.Cmd.ProcessState.SystemTime()
}

// Neutral is an environment without proxies and settings of handout.
func Neutral(env []string) (kept []string) {
	for _, kv := range env {
		name, _, _ := strings.Cut(strings.ToUpper(kv), "=")
		if !strings.HasSuffix(name, "_PROXY") && !strings.HasPrefix(name, "HANDOUT_") {
			kept = append(kept, kv)
		}
	}
	return kept
}

// Family are the ids of the process and its children, itself first: an agent works in a child of the one that was started.
func (p *Process) Family() (all []string, err error) {
	pid := p.Cmd.Process.Pid
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	all = []string{fmt.Sprint(pid)}
	for _, t := range threads {
		children, _ := os.ReadFile(t) // a thread may have ended
		all = append(all, strings.Fields(string(children))...)
	}
	return all, nil
}

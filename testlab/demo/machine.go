package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"handout/testlab/cli"
)

// machine is one fetch in a process of its own.
type machine struct {
	name, dest string
	ended      chan struct{} // closed when the process has ended; err is set then
	err        error

	mu   sync.Mutex
	last cli.Event // the newest event
	seen cli.Event // the newest of progress
	took float64   // seconds until the tree stood; 0: not yet
}

// startMachine starts a fetch that is ended with ctx.
func startMachine(ctx context.Context, name string, program cli.Program, pkg cli.Package, home string, flags []string) (*machine, error) {
	m := &machine{name: name, dest: filepath.Join(home, "go"), ended: make(chan struct{})}
	if err := os.Mkdir(home, 0o755); err != nil {
		return nil, err
	}
	cmd := program.Fetch(ctx, pkg, m.dest, flags...)
	cmd.Dir = home
	cmd.WaitDelay = 5 * time.Second
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(m.ended)
		err := cli.ReadEvents(out, m.note)
		if werr := cmd.Wait(); werr != nil {
			err = fmt.Errorf("%w: %s%s", werr, m.state().last.Error, &said)
		}
		if err != nil {
			m.err = fmt.Errorf("%s: %w", name, err)
		}
	}()
	return m, nil
}

func (m *machine) note(e cli.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = e
	switch e.Kind {
	case "progress":
		m.seen = e
	case "published", "done":
		m.took = e.Seconds
	}
}

// state is what is known of a machine at one moment.
type state struct {
	last, seen cli.Event
	took       float64
}

func (m *machine) state() state {
	m.mu.Lock()
	defer m.mu.Unlock()
	return state{m.last, m.seen, m.took}
}

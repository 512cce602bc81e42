package main

import (
	"context"
	"io"
	"os"
	"time"
)

const (
	defaultBeat = 10 * time.Second
	// silence is so many beats that a child may miss: a machine that swaps, or a disk that hangs, is no deadlock. Beats are
	// counted rather than time, so that a machine that slept for a night has missed one at most.
	silence = 12
	// lastWords is what a hung child may take to write down where it hangs.
	lastWords = 5 * time.Second
)

// manager is what started this program as a service: systemd, Windows, or nobody.
type manager interface {
	Ready()    // the agent is open to neighbours
	Alive()    // the agent has just shown that it lives
	Stopping() // the agent is on its way out
}

// nobody is the manager of a program that a person started.
type nobody struct{}

func (nobody) Ready()    {}
func (nobody) Alive()    {}
func (nobody) Stopping() {}

// life writes a line to w at once and at every beat after it, each time after alive has returned, until ctx ends.
func life(ctx context.Context, w io.Writer, beat time.Duration, alive func()) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		alive()
		if _, err := io.WriteString(w, "alive\n"); err != nil {
			return // nobody listens: the leash ends as well
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// pulseWriter is the other end of life: something is received for what was written.
type pulseWriter chan struct{}

// Write implements io.Writer.
func (p pulseWriter) Write(b []byte) (int, error) {
	select {
	case p <- struct{}{}:
	default: // the one before is not yet noticed
	}
	return len(b), nil
}

// watch passes beats on to m. Three outcomes: err is why ctx ended; the child is hung; neither: it has ended. A child that has
// not begun to beat is not judged: how long a start may take the service manager knows better.
func watch(ctx context.Context, ended <-chan error, beats pulseWriter, beat time.Duration, m manager) (hung bool, err error) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	born, missed := false, 0
	for {
		select {
		case <-ended: // how, its state tells
			return false, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-beats:
			if !born {
				m.Ready()
			}
			born, missed = true, 0
			m.Alive()
		case <-tick.C:
			if missed++; born && missed > silence {
				return true, nil
			}
		}
	}
}

// endHung lets p write down where it hangs, if the system can ask for that, and ends it.
func endHung(p *os.Process, ended <-chan error) {
	if askWhereItHangs(p) == nil {
		select {
		case <-ended:
			return
		case <-time.After(lastWords):
		}
	}
	p.Kill()
	<-ended
}

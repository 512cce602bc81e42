package agent

import (
	"context"
	"time"

	"handout/agent/plan"
)

const loneEvery = 50 * time.Millisecond

// watchLone follows the reading of a run until ctx ends and, while this machine knows nobody, gives it up where too little
// comes: of a first piece as long as it is the only one (plan.View.GivesUp).
func (d *download) watchLone(ctx context.Context, giveUp context.CancelFunc, c *connection, r plan.Run, front bool) {
	d.mu.Lock()
	lone := d.verdict.Lone
	d.mu.Unlock()
	if !lone || r.Len != 1 && !front {
		return
	}
	before := c.came.Load()
	go func() {
		tick := time.NewTicker(loneEvery)
		defer tick.Stop()
		var since time.Time
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				got := c.came.Load() - before
				switch {
				case got == 0:
				case since.IsZero():
					since = now
				case d.givesUp(got, d.m.PieceSize(r.First), now.Sub(since)):
					giveUp()
					return
				}
			}
		}
	}()
}

func (d *download) givesUp(got, size int64, took time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gaveUp = d.gaveUp || d.view.GivesUp(got, size, took)
	return d.gaveUp
}

// listens reports whether this machine, having given up a lone read, still knows nobody: what was granted for afterwards goes
// back.
func (d *download) listens() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listening()
}

func (d *download) listening() bool {
	return d.gaveUp && (d.verdict.Lone || d.verdict.Connections == 0)
}

package agent

import (
	"context"
	"runtime/debug"
	"time"

	"handout/agent/api"
)

// giveBackEvery is how often an agent at rest gives memory back. The runtime would keep what a fetch once took, by far the
// most that an agent ever needs, for as long as it lives; a guest doesn't.
const giveBackEvery = 10 * time.Second

// giveBack gives unused memory back to the system, while nothing arrives, until ctx ends.
func (a *Agent) giveBack(ctx context.Context) {
	tick := time.NewTicker(giveBackEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if a.rests() {
				debug.FreeOSMemory()
			}
		}
	}
}

// rests reports whether every package is here, or waits for something.
func (a *Agent) rests() bool {
	packages, _, _ := a.doing()
	for _, p := range packages {
		if p.State != api.Here && p.State != api.Waiting {
			return false
		}
	}
	return true
}

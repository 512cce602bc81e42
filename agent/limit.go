package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"handout/manifest/amount"
)

// Limits are what this machine may send to neighbours, and receive from them and from origins together, in bytes per
// second; 0: as much as goes. They hold over some seconds, for payload and what the protocols add.
type Limits struct{ Up, Down int64 }

func (l Limits) check() error {
	for _, n := range []int64{l.Up, l.Down} {
		if n != 0 && n < leastLimit {
			return fmt.Errorf("a limit of %s is too low: %s is the least, 0 is no limit", amount.Limit(n), amount.Limit(leastLimit))
		}
	}
	return nil
}

const (
	// leastLimit still brings a piece within the time a lease may live.
	leastLimit = 10_000
	// paceStep is what is let through in one go, and what a limiter saves up.
	paceStep = 64 << 10
)

// pacer holds what passes to a rate that may change at any time. Its methods are safe for concurrent use.
type pacer struct {
	limiter *rate.Limiter

	mu      sync.Mutex
	free    bool
	changed *pulse
}

func newPacer() *pacer {
	return &pacer{limiter: rate.NewLimiter(rate.Inf, paceStep), free: true, changed: newPulse()}
}

// set changes the rate, in bytes per second; 0: any. Whoever waits reckons anew.
func (p *pacer) set(perSecond int64) {
	p.mu.Lock()
	p.free = perSecond == 0
	p.mu.Unlock()
	if perSecond == 0 {
		p.limiter.SetLimit(rate.Inf)
	} else {
		p.limiter.SetLimit(rate.Limit(perSecond))
	}
	p.changed.send()
}

// wait returns when n bytes may pass. An error is ctx's.
func (p *pacer) wait(ctx context.Context, n int) error {
	for n > 0 {
		changed := p.changed.wait()
		p.mu.Lock()
		free := p.free
		p.mu.Unlock()
		if free {
			return nil
		}
		step := min(n, paceStep)
		r := p.limiter.ReserveN(time.Now(), step)
		timer := time.NewTimer(r.Delay())
		select {
		case <-timer.C:
			n -= step
		case <-changed:
			r.Cancel()
		case <-ctx.Done():
			r.Cancel()
			timer.Stop()
			return context.Cause(ctx)
		}
		timer.Stop()
	}
	return nil
}

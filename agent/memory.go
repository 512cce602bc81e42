package agent

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"handout/agent/api"
)

const (
	// giveBackEvery is how often an agent at rest looks whether it has memory to give back. The runtime would keep what a
	// fetch once took, by far the most that an agent ever needs, for as long as it lives; a guest doesn't.
	giveBackEvery = 5 * time.Second
	// giveBackMin is how many bytes are worth it: to find out what is unused, everything that is used is gone through.
	giveBackMin = 1 << 20
	// giveBackAnyway so long after the last time it is done in any case: what was in use then may not be any more.
	giveBackAnyway = time.Minute
)

// giveBack gives unused memory back to the system, while nothing arrives, until ctx ends. It looks at every tick of that
// length.
func (a *Agent) giveBack(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var t thrift
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if before := mapped(); t.isDue(before, time.Now()) && a.rests() {
				debug.FreeOSMemory()
				t.gave(before, mapped(), time.Now())
			}
		}
	}
}

// thrift judges whether memory is to be given back now.
type thrift struct {
	kept  int64 // bytes that were left the last time
	last  time.Time
	again bool // it went on falling then: what lies in pools takes two rounds
}

func (t *thrift) isDue(mapped int64, now time.Time) bool {
	return t.again || mapped >= t.kept+giveBackMin || now.Sub(t.last) >= giveBackAnyway
}

// gave notes what giving back has brought.
func (t *thrift) gave(before, after int64, now time.Time) {
	*t = thrift{kept: after, last: now, again: before >= after+giveBackMin}
}

// mapped is how many bytes of memory the runtime has from the system at this moment.
func mapped() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
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

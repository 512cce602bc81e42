package agent

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What an agent once needed goes back soon after it rests, also what lay in a pool.
func TestUnusedMemoryGoesBack(t *testing.T) {
	const size = 64 << 20
	pool := sync.Pool{New: func() any { return new([size / 2]byte) }}
	before := mapped()
	one, two := new([size / 2]byte), pool.Get().(*[size / 2]byte)
	for i := 0; i < size/2; i += 4 << 10 {
		one[i], two[i] = 1, 1
	}
	runtime.KeepAlive(one)
	pool.Put(two)
	if got := mapped(); got < before+size/2 {
		t.Fatalf("%d bytes more after %d were taken", got-before, size)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { new(Agent).giveBack(ctx, 10*time.Millisecond) })
	defer work.Wait()
	defer cancel()
	for end := time.Now().Add(10 * time.Second); mapped() > before+size/4; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes more than before are still kept", mapped()-before)
		}
	}
	runtime.KeepAlive(&pool)
}

// An agent that gathers nothing goes through its memory once a minute and not at every look.
func TestMemoryIsLeftAloneAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th thrift
		const settled = 20 << 20
		used, rounds := int64(100<<20), 0
		for range int(10 * time.Minute / giveBackEvery) {
			time.Sleep(giveBackEvery)
			if used += 30 << 10; th.isDue(used, time.Now()) {
				th.gave(used, settled, time.Now())
				used = settled
				rounds++
			}
		}
		if rounds < 10 || rounds > 12 {
			t.Errorf("%d rounds in ten minutes, want one a minute, and two at first", rounds)
		}
	})
}

package door

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever comes, goes, gives up or shuts: those inside are at one place, no more than there is room, and all get in.
func TestOnePlaceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		at, inside, moves := "", 0, 0
		d := &Door{Room: 1, Moved: func(string) { moves++ }}
		var g sync.WaitGroup
		for i := range 50 {
			g.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), 1))
				for range 50 {
					place := string("abc"[rng.IntN(3)])
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(200))*time.Millisecond)
					err := d.Enter(ctx, place)
					cancel()
					if err != nil {
						if !errors.Is(err, context.DeadlineExceeded) {
							t.Error(err)
						}
						continue
					}
					mu.Lock()
					if inside++; inside > 1 && at != place {
						t.Errorf("at %s and %s", at, place)
					}
					if at = place; inside > 4 {
						t.Errorf("%d inside", inside)
					}
					mu.Unlock()
					switch rng.IntN(4) {
					case 0:
						d.Widen(4)
					case 1:
						d.Shut()
					}
					time.Sleep(time.Duration(rng.IntN(10)) * time.Millisecond)
					mu.Lock()
					inside--
					mu.Unlock()
					d.Leave()
				}
			})
		}
		g.Wait()
		if moves == 0 || len(d.queue) != 0 || d.inside != 0 {
			t.Errorf("%d moves, %d waiting, %d inside", moves, len(d.queue), d.inside)
		}
	})
}

// First come is first served: a place that is always wanted does not starve another.
func TestNobodyStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Door{Room: 2, Moved: func(string) {}}
		ctx := t.Context()
		for range 2 {
			if err := d.Enter(ctx, "a"); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		var order []string
		var g sync.WaitGroup
		for _, place := range []string{"b", "a", "a"} {
			g.Go(func() {
				if err := d.Enter(ctx, place); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, place)
				mu.Unlock()
				time.Sleep(time.Second)
				d.Leave()
			})
			synctest.Wait()
		}
		d.Leave()
		synctest.Wait()
		mu.Lock()
		if len(order) != 0 {
			t.Errorf("%v went past whoever waits", order)
		}
		mu.Unlock()
		d.Leave()
		g.Wait()
		if len(order) != 3 || order[0] != "b" {
			t.Errorf("order %v", order)
		}
	})
}

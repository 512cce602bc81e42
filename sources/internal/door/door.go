// Package door keeps readers that share one connection in order: those inside are all at the same place, first come is
// first served, and the place changes only when everyone has left. That is how one origin never has two connections
// though redirects, restarts and failover want it now here, now there.
package door

import (
	"context"
	"slices"
	"sync"
)

// Door admits readers to one place at a time. Set the fields before its first use.
type Door struct {
	Room int // how many may be inside at a place nobody has said Widen of
	// Moved is called when the place changes, with nobody inside and nobody coming in meanwhile; from is where they were,
	// "" the first time and after Shut.
	Moved func(from string)

	mu     sync.Mutex
	at     string
	room   int
	inside int
	queue  []*guest
}

type guest struct {
	place string
	in    chan struct{}
}

// Enter waits until the caller may be inside at place, which is not empty. Leave ends the stay, unless Enter failed:
// then with ctx's cause.
func (d *Door) Enter(ctx context.Context, place string) error {
	d.mu.Lock()
	if len(d.queue) == 0 && d.admits(place) {
		d.admit(place)
		d.mu.Unlock()
		return nil
	}
	g := &guest{place, make(chan struct{})}
	d.queue = append(d.queue, g)
	d.mu.Unlock()
	select {
	case <-g.in:
		return nil
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.queue, g); i >= 0 {
		d.queue = slices.Delete(d.queue, i, i+1)
	} else {
		d.inside--
	}
	d.callIn()
	return context.Cause(ctx)
}

// Leave ends a stay.
func (d *Door) Leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside--
	d.callIn()
}

// Widen lets n readers be inside at the present place. The caller is inside.
func (d *Door) Widen(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = n
	d.callIn()
}

// Shut lets nobody in until all have left; the next counts as a move. The caller is inside.
func (d *Door) Shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = ""
}

func (d *Door) admits(place string) bool {
	return d.inside == 0 || place == d.at && d.inside < d.room
}

func (d *Door) admit(place string) {
	if place != d.at {
		from := d.at
		d.at, d.room = place, d.Room
		d.Moved(from)
	}
	d.inside++
}

func (d *Door) callIn() {
	for len(d.queue) > 0 && d.admits(d.queue[0].place) {
		g := d.queue[0]
		d.queue = d.queue[1:]
		d.admit(g.place)
		close(g.in)
	}
}

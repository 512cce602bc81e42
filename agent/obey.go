package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"handout/agent/api"
	"handout/agent/orders"
	"handout/agent/site"
)

const (
	// A manifest is with a neighbour, as a rule, some tenths of a second after the order came.
	obeySoon  = 100 * time.Millisecond
	obeyAgain = 5 * time.Second // after anything else that went wrong
	obeyLater = time.Minute
)

// obey keeps here what orders say, until ctx ends.
func (a *Agent) obey(ctx context.Context) {
	keepers := map[string]*obedience{} // by package
	for {
		changed := a.orders.book.Changed()
		standing := map[string]orders.Standing{}
		for _, s := range a.orders.book.Standing() {
			if s.Kind == orders.Push {
				standing[s.Name] = s
			}
		}
		for name, k := range keepers {
			if s, ok := standing[name]; !ok || s.ID != k.order.ID || s.Clash != k.order.Clash {
				k.end()
				delete(keepers, name)
				if dest := *k.dest; dest != "" && a.orders.placed.holder(dest) == "" {
					a.Release(dest) // it was on its way
				}
			}
		}
		for _, name := range a.orders.placed.names() {
			if _, ok := standing[name]; !ok {
				a.endPushed(name)
			}
		}
		for name, s := range standing {
			if keepers[name] == nil {
				keepers[name] = a.beginPushed(ctx, s)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			for _, k := range keepers {
				k.end()
			}
			return
		}
	}
}

// sourceOf is who handed an order on; of one that was taken before the start nobody knows.
func (d *ordersDesk) sourceOf(id orders.ID) source {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.from[id]
}

// obedience is one order that is being obeyed.
type obedience struct {
	order orders.Standing
	dest  *string // where it goes, to be read after end; "": not known yet
	end   func()  // returns when nothing is done for it any more
}

func (a *Agent) beginPushed(ctx context.Context, s orders.Standing) *obedience {
	ctx, cancel := context.WithCancel(ctx)
	done, dest := make(chan struct{}), new(string)
	go func() {
		defer close(done)
		a.keepPushed(ctx, s, dest)
	}()
	return &obedience{s, dest, func() {
		cancel()
		<-done
		a.Trouble(troubleOf(s.Name), nil)
	}}
}

func troubleOf(name string) string { return "pushed " + name }

// keepPushed brings a pushed package here. It returns when that is done, or when ctx ends: an order doesn't change.
func (a *Agent) keepPushed(ctx context.Context, s orders.Standing, dest *string) {
	wait := obeySoon
	for {
		changed := a.orders.book.Changed()
		err := a.bringPushed(ctx, s, dest)
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, errNotYet) || wait > time.Second {
			a.Trouble(troubleOf(s.Name), err)
		}
		if err == nil {
			return
		}
		if !errors.Is(err, errNotYet) {
			wait = max(wait, obeyAgain)
		}
		pause := wait/2 + rand.N(wait)
		if wait = min(2*wait, obeyLater); errors.Is(err, site.ErrBusy) {
			wait = obeySoon
		}
		if _, refused := errors.AsType[*orders.Refusal](err); refused {
			a.refuseOrder(a.orders.sourceOf(s.ID), s.ID[:], err)
		} else if !errors.Is(err, errNotYet) {
			a.log.Warn("pushed package not here", "package", s.Name, "error", err, "again_in", pause.Round(time.Second).String())
		}
		select {
		case <-ctx.Done():
			return
		case <-changed: // a newer list of keys may have the publisher on it
		case <-time.After(pause):
		}
	}
}

func (a *Agent) bringPushed(ctx context.Context, s orders.Standing, goes *string) error {
	if s.Clash != "" {
		return &orders.Refusal{Reason: orders.Taken, Name: s.Name, Err: errors.New("its place belongs to " + s.Clash + ", which was pushed before")}
	}
	if err := a.fetchOrdered(ctx, s); err != nil {
		return err
	}
	m, err := a.openPushed(s.Order)
	if err != nil {
		return err
	}
	places := a.placing()
	dest, err := places.of(s.Order, m)
	if err == nil {
		err = places.prepare(s.Order)
	}
	if err == nil {
		err = places.refuses(s.Order, m)
	}
	if err != nil {
		return err
	}
	*goes = dest
	was := a.orders.placed.of(s.Name)
	before := was.Dest != ""
	if before && was.Dest != dest && (was.InfoHash == "" || was.InfoHash == m.InfoHash.String()) {
		// The same version goes to another place, and is given to neighbours from one only.
		if err := a.Release(was.Dest); err != nil {
			a.log.Warn("the old place is still held", "dest", was.Dest, "error", err)
		}
	}
	o := FetchOptions{Keep: true, Replace: before && was.Dest == dest,
		Own:    &OwnTrees{Trust: a.Trust(), Known: a.orders.placed.leftAt(dest)},
		Pushed: &api.Pushed{Key: s.Signer, Serial: s.Serial, Issued: s.Issued, From: a.orders.sourceOf(s.ID).text}}
	if before && was.Dest != dest {
		o.Reuse = []string{was.Dest}
	}
	if _, err := a.Fetch(ctx, m, dest, o); err != nil {
		return err
	}
	if before && was.Dest != dest {
		if err := a.giveUp(was.Dest); err != nil {
			a.log.Warn("the old version is still held", "dest", was.Dest, "error", err)
		}
	}
	return a.orders.placed.arrived(s.Name, dest, s.Serial, m.InfoHash)
}

// endPushed gives up a package that no order asks for any more. Its files stay: in the cache until their room is needed,
// in a root for good, as whoever uses them there was not asked.
func (a *Agent) endPushed(name string) {
	dest, err := a.orders.placed.ended(name)
	err = errors.Join(err, a.giveUp(dest))
	what := "its files stay, and are kept up no more"
	if a.inCache(dest) {
		what = "it is given to neighbours until its room is needed"
	}
	a.log.Info("pushed package is withdrawn: "+what, "package", name, "dest", dest)
	a.journal.Record(Event{Kind: OrderEnded, Package: name, Dest: dest, Detail: what, Err: err})
}

// giveUp says that no order asks for what stands at dest any more.
func (a *Agent) giveUp(dest string) error {
	a.mu.Lock()
	for _, j := range a.jobs {
		if j.dest == dest {
			j.mu.Lock()
			j.pushed = nil
			j.mu.Unlock()
		}
	}
	a.mu.Unlock()
	return a.Unwant(dest)
}

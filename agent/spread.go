package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"handout/agent/orders"
	"handout/agent/site"
)

const (
	// maxTold bounds the digests that wait to be looked into.
	maxTold = 64
	// learnWithin spreads the questions of a roomful that heard the same digest at once.
	learnWithin = 50 * time.Millisecond
	// learnAgain is how soon a neighbour is asked again whose book differs from this one in what this machine refuses.
	learnAgain = 5 * time.Minute
	// learnTries is how often a neighbour is asked that is busy or doesn't answer.
	learnTries = 40
	maxDiffer  = 64
)

// hearOrders takes what a member says of its book.
func (a *Agent) hearOrders(t site.Told) {
	select {
	case a.orders.told <- t:
	default: // it will be said again
	}
}

// tip is a digest that is looked into.
type tip struct {
	site.Told
	tries int
}

// spread learns the orders of neighbours and tells them of this machine's, until ctx ends.
func (a *Agent) spread(ctx context.Context) {
	type difference struct {
		ours string
		at   time.Time
	}
	differ := map[string]difference{} // by theirs: what was left when they were asked last
	again := make(chan tip, maxTold)
	later := func(t tip, after time.Duration) {
		if t.tries++; t.tries < learnTries {
			time.AfterFunc(after, func() {
				select {
				case again <- t:
				default:
				}
			})
		}
	}
	said := ""
	for {
		changed := a.orders.book.Changed()
		if ours := a.orders.book.Digest(); ours != said { // also what was learnt in the last round
			said = ours
			a.site.Tell()
		}
		var t tip
		select {
		case <-ctx.Done():
			return
		case <-changed:
			continue
		case heard := <-a.orders.told:
			t = tip{Told: heard}
		case t = <-again:
		}
		ours := a.orders.book.Digest()
		if d := differ[t.Digest]; ours == "" || t.Digest == ours || d.ours == ours && time.Since(d.at) < learnAgain {
			continue
		}
		if t.tries == 0 {
			later(t, rand.N(learnWithin))
			continue
		}
		switch err := a.learn(ctx, t.Member); {
		case ctx.Err() != nil:
			return
		case errors.Is(err, site.ErrBusy):
			later(t, learnWithin/2+rand.N(2*learnWithin))
			continue
		case err != nil:
			a.log.Debug("neighbour does not say what it was told", "member", t.Member, "error", err)
			later(t, time.Second+rand.N(time.Second))
			continue
		}
		if len(differ) >= maxDiffer {
			clear(differ)
		}
		differ[t.Digest] = difference{a.orders.book.Digest(), time.Now()}
	}
}

// askOrders has ask ask the member at an address, its port for members.
func (a *Agent) askOrders(ctx context.Context, member netip.AddrPort, ask func(*orders.Asker) error) error {
	ctx, cancel := context.WithTimeout(ctx, orders.ExchangeTime)
	defer cancel()
	c, err := site.Ask(ctx, member.String(), orders.Greeting, a.c.Site, a.c.SiteKey)
	if err != nil {
		return err
	}
	defer c.Close()
	return ask(orders.NewAsker(c))
}

// learn takes over what a member was told and this machine was not.
func (a *Agent) learn(ctx context.Context, member netip.AddrPort) error {
	return a.askOrders(ctx, member, func(k *orders.Asker) error {
		x, err := k.Index()
		if err != nil {
			return err
		}
		from := source{text: member.Addr().String(), member: member}
		// The list first: orders may be signed by keys that are new on it.
		if x.Keys != (orders.ID{}) && !a.orders.book.IsKnown(x.Keys) {
			text, err := k.Text(x.Keys)
			if err != nil {
				return err
			}
			if text != nil {
				a.takeKeys(from, text) // what is refused was told
			}
		}
		for _, id := range x.Orders {
			if a.orders.book.IsKnown(id) {
				continue
			}
			text, err := k.Text(id)
			if err != nil {
				return err
			}
			if text != nil {
				a.takeOrder(from, text)
			}
		}
		return nil
	})
}

// manifestTries is how many neighbours are asked for a manifest in a round.
const manifestTries = 4

// fetchOrdered has a neighbour give the manifest of an order: first the one that handed the order on.
func (a *Agent) fetchOrdered(ctx context.Context, s orders.Standing) error {
	if a.orders.book.HasManifest(s.Manifest) {
		return nil
	}
	first := a.orders.sourceOf(s.ID).member
	members := a.site.SomeMembers(manifestTries)
	if first.IsValid() {
		members = append([]netip.AddrPort{first}, members...)
	}
	err := errNotYet
	busy := false
	for _, m := range members {
		err := a.askOrders(ctx, m, func(k *orders.Asker) error {
			has, err := k.Manifest(s.Manifest, s.Size, a.orders.book.KeepManifest)
			if err == nil && !has {
				err = errNotYet
			}
			return err
		})
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		busy = busy || errors.Is(err, site.ErrBusy)
		a.log.Debug("neighbour does not give a manifest", "member", m, "package", s.Name, "error", err)
	}
	if busy {
		return fmt.Errorf("%w: %w", err, site.ErrBusy)
	}
	return err
}

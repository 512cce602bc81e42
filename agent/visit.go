package agent

import (
	"context"
	"errors"
	"time"

	"handout/agent/plan"
	"handout/agent/site"
	"handout/manifest"
)

const (
	// leasePatience is how long is waited for each of the site's connections before something else is thought of.
	leasePatience = 5 * time.Second
	// visitPatience is how long a visit waits for its connection. A steward that lets it wait for unheardOf is passed over,
	// as by a machine that is stalled: visits come before all else.
	visitPatience = time.Minute
	unheardOf     = 15 * time.Second
	// visits is how many there may be at once, of one machine.
	visits = 4
)

var (
	errNoLease   = errors.New("no origin connection is free: other machines of the site read from the origin")
	errLeaseLost = errors.New("the site wants its origin connection back")
)

// Visit calls read, which may open one connection to an origin for something else than the pieces of a package, such as a
// manifest. The connection is one of the site's, by a lease: read is called when it is granted, and its context ends if it
// is lost. It is beside those that Config.Connections lets this machine have. A machine that has met nobody waits half a
// second for others first.
func (a *Agent) Visit(ctx context.Context, read func(context.Context) error) error {
	var stream int
	select {
	case stream = <-a.visits:
		defer func() { a.visits <- stream }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := borrowed{agent: a, first: stream, lost: cancel}
	defer b.giveBack()
	for begun := time.Now(); b.upTo(ctx, 1) == 0; {
		waited := time.Since(begun)
		if waited > visitPatience {
			return errNoLease
		}
		b.stalled = waited > unheardOf
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(askAgain):
		}
	}
	return read(ctx)
}

// askAgain is how often it is looked whether a connection may be asked for.
const askAgain = 50 * time.Millisecond

// borrowed are leases for what is of no package.
type borrowed struct {
	agent   *Agent
	first   int // the number of the first one among the machine's streams
	held    []*site.Lease
	lost    context.CancelCauseFunc // called when one is
	stalled bool                    // the steward seems to be of no use
}

// upTo asks for leases until there are n, and returns how many there are. They are held until ctx ends and giveBack. A
// machine that has met nobody holds back as in a fetch.
func (b *borrowed) upTo(ctx context.Context, n int) int {
	a := b.agent
	policy := plan.Policy{Connections: a.c.Connections, EnoughSeeds: a.c.EnoughSeeds, NoPeers: a.c.NoPeers}
	patience, stop := context.WithTimeout(ctx, leasePatience)
	defer stop()
	for len(b.held) < n && patience.Err() == nil {
		if plan.MayUseOrigin(plan.View{Age: time.Since(a.born)}, policy).Connections <= len(b.held) {
			select {
			case <-patience.Done():
			case <-time.After(askAgain):
			}
			continue
		}
		turns := plan.NewBitfield(plan.Turns)
		turns.SetAll()
		ask := plan.Ask{Eligible: turns, After: manifest.PieceIndex(turns.Len()), Limit: 1, Stalled: b.stalled}
		l, err := a.site.Lease(patience, plan.NoPackage, b.first+len(b.held), nil, func() (plan.Ask, bool) { return ask, true }, nil)
		if err != nil {
			break
		}
		b.held = append(b.held, l)
		go func() {
			select {
			case <-l.Lost():
				b.lost(errLeaseLost)
			case <-ctx.Done():
			}
		}()
	}
	return len(b.held)
}

func (b *borrowed) giveBack() {
	for _, l := range b.held {
		b.agent.site.Release(l, l.Run.First)
	}
}

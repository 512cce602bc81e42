package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"handout/agent/plan"
	"handout/agent/store"
	"handout/agent/swarm"
	"handout/manifest"
)

var (
	// ErrTwice: the package is on this machine at another place already.
	ErrTwice = errors.New("a machine gives a package from one place")
	// errReleased ends a fetch whose destination was released.
	errReleased = errors.New("the package was released")
)

// held is a package that this machine fetches or gives to neighbours. All but m and dest is guarded by Agent.mu.
type held struct {
	m       *manifest.Manifest
	dest    string // absolute
	job     *job
	tree    *store.Tree    // nil: not open yet
	torrent *swarm.Torrent // nil: not among the neighbours
	wanted  bool           // somebody asked for it; false: it lies in the cache, and is given as long as there is room
	fetched FetchOptions   // how it was asked for

	stop    context.CancelCauseFunc // ends its fetch; nil: it is complete
	coming  int64                   // bytes that room was made for in the cache, of the fetch
	given   int64                   // bytes that neighbours had got when last looked at
	touched time.Time               // when its use was last recorded
	round   round
}

func (h *held) complete() bool { return h.stop == nil }

// hold enters m for dest, to be fetched. The outcomes:
//   - one that is complete there already: nothing is to be done;
//   - a new one, with the version that stands at dest and is given until the new one takes its place, or nil;
//   - ErrTwice, store.ErrInUse or errClosed.
func (a *Agent) hold(j *job, o FetchOptions, stop context.CancelCauseFunc) (h, old *held, err error) {
	dest := j.dest
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, nil, errClosed
	}
	for _, k := range slices.Clone(a.held) {
		switch same := k.m.InfoHash == j.m.InfoHash; {
		case k.dest == dest && !k.complete():
			return nil, nil, fmt.Errorf("fetch to %s: %w: it is being fetched to", dest, store.ErrInUse)
		case same && k.dest == dest && !k.tree.Damaged() && !o.Repair && k.fetched.Only.Equal(o.Only):
			k.wanted, k.fetched, k.job = true, o, j
			return k, nil, nil
		case same && k.wanted && k.dest != dest:
			return nil, nil, fmt.Errorf("fetch %q to %s: %w, and it is at %s already", j.m.Name, dest, ErrTwice, k.dest)
		case same:
			a.dropLocked(k)
		case k.dest == dest:
			old = k
		}
	}
	h = &held{m: j.m, dest: dest, job: j, wanted: true, fetched: o, stop: stop}
	a.held = append(a.held, h)
	return h, old, nil
}

// opened gives h its tree; false: the agent was closed meanwhile.
func (a *Agent) opened(h *held, t *store.Tree) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		h.tree = t
	}
	return !a.closed
}

// drop gives h up: neighbours get nothing of it any more, and its files are closed.
func (a *Agent) drop(h *held) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dropLocked(h)
}

func (a *Agent) dropLocked(h *held) error {
	a.held = slices.DeleteFunc(a.held, func(k *held) bool { return k == h })
	if t := h.torrent; t != nil {
		h.torrent = nil
		h.job.joined(nil)
		a.leave(t)
	}
	if h.tree == nil {
		return nil
	}
	return h.tree.Close()
}

// leave takes a package out of the swarm.
func (a *Agent) leave(t *swarm.Torrent) {
	from, to := t.Received(), t.Sent()
	delete(a.torrents, t)
	if !a.closed {
		a.finished.FromPeers += from
		a.finished.ToPeers += to
	}
	t.Drop()
}

// arrived notes that h is complete.
func (a *Agent) arrived(h *held) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h.stop = nil
}

// at lists what is held at dest: a complete version, one that is being fetched, or both.
func (a *Agent) at(dest string) (all []*held) {
	for _, h := range a.held {
		if h.dest == dest {
			all = append(all, h)
		}
	}
	return all
}

// Release gives up the package at dest: it is no longer fetched or given to neighbours, and its files are closed. They stay
// where they are. A fetch under way fails.
func (a *Agent) Release(dest string) error {
	dest, err := filepath.Abs(dest)
	if err != nil {
		return fmt.Errorf("release %s: %w", dest, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.at(dest) {
		if !h.complete() {
			h.stop(errReleased) // its Fetch drops it
			continue
		}
		err = errors.Join(err, a.dropLocked(h))
	}
	a.jobs = slices.DeleteFunc(a.jobs, func(j *job) bool { return j.dest == dest })
	return err
}

// Unwant says that the complete package at dest is no longer asked for. In the cache it is given to neighbours until its room
// is needed; elsewhere it is released.
func (a *Agent) Unwant(dest string) error {
	if !a.inCache(dest) {
		return a.Release(dest)
	}
	dest, err := filepath.Abs(dest)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.at(dest) {
		if h.complete() {
			h.wanted = false
		}
	}
	return err
}

// OpenCache gives to neighbours what lies complete in the cache and is signed by a trusted key, whether or not anybody has
// asked for it yet. It is called before anything is fetched.
func (a *Agent) OpenCache(ctx context.Context) error {
	if a.c.Cache.Dir == "" {
		return nil
	}
	entries, err := store.List(a.c.Cache.Dir, a.cacheNow().Trust)
	if err != nil {
		return fmt.Errorf("open the cache: %w", err)
	}
	for _, e := range entries {
		if e.State == store.Remains || e.Standing == nil || e.Standing.Expired(time.Now()) {
			continue
		}
		if err := a.reopen(ctx, e.Standing, e.Dest); err != nil && ctx.Err() == nil {
			a.log.Warn("a package in the cache is not given to neighbours", "dest", e.Dest, "error", err)
		}
	}
	return ctx.Err()
}

// reopen gives what stands at dest to neighbours.
func (a *Agent) reopen(ctx context.Context, m *manifest.Manifest, dest string) error {
	tree, err := store.Reopen(ctx, m, dest, store.Options{Log: a.log})
	if err != nil {
		return err
	}
	h := &held{m: m, dest: dest, tree: tree, fetched: FetchOptions{Keep: true}}
	h.job = a.begin(m, dest, "", nil)
	a.mu.Lock()
	twice := slices.ContainsFunc(a.held, func(k *held) bool { return k.m.InfoHash == m.InfoHash })
	if !twice && !a.closed {
		a.held = append(a.held, h)
	}
	a.mu.Unlock()
	if twice {
		return errors.Join(ErrTwice, tree.Close())
	}
	if err := a.join(h); err != nil {
		return errors.Join(err, a.drop(h))
	}
	h.job.end(Result{Bytes: m.Length}, nil)
	if _, doubtful := tree.Doubtful(); doubtful {
		a.log.Info("the agent did not come to its end: pieces are checked before they are given", "dest", dest)
	}
	a.log.Info("package is here", "package", m.Name, "version", m.Version, "dest", dest, "bytes", m.Length)
	return nil
}

// needed reports whether a neighbour lacks a piece that nobody else near has. It is called with a.mu held.
func (h *held) needed() bool {
	if h.torrent == nil {
		return false
	}
	near, _ := h.torrent.Look()
	others := plan.NewBitfield(h.m.NumPieces())
	incomplete := false
	for _, n := range near {
		others.Or(n.Have)
		incomplete = incomplete || !n.Complete
	}
	return incomplete && !others.Full()
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"handout/agent/api"
	"handout/agent/store"
	"handout/agent/swarm"
	"handout/manifest"
)

// FetchOptions are what one fetch may ask for.
type FetchOptions struct {
	Origins  []string       // URLs tried before the manifest's own
	NoOrigin bool           // neighbours only
	Replace  bool           // a destination that holds something else is replaced
	Repair   bool           // a destination that holds this package, but not as it should be, is hashed and replaced
	Reuse    []string       // folders and files that may have parts of the package; what stands at the destination is one
	Stage    string         // the tree grows beneath this folder and is then moved to dest; "": only if dest is on a network mount
	Direct   bool           // it grows beside dest in any case
	Keep     bool           // remember beside the destination that it was verified, for the next start
	Priority api.Priority   // before packages of a lower one; "": normal
	Progress func(Progress) // called several times a second, never twice at once; nil: nobody watches
}

// Phase is what a fetch is doing.
type Phase string

// The phases in their order.
const (
	Checking   Phase = "checking" // what is at the destination, or was left by an earlier run; after Moving what arrived
	Reusing    Phase = "reusing"  // what of the package lies on this machine in other trees
	Fetching   Phase = "fetching"
	Publishing Phase = "publishing"
	Moving     Phase = "moving" // to a destination on another volume; Publishing, Moving, Checking in this order
)

// Progress is where a fetch stands.
type Progress struct {
	Phase                          Phase
	Done, Total                    int64 // verified bytes, or those that are moved, and all bytes of the package
	FromOrigin, FromPeers, ToPeers int64 // payload bytes of this fetch so far
	OriginBytesPerSec              int64
	PeerBytesPerSec                int64
	Neighbours                     int
	OriginConnections              int           // that read at this moment, of this machine
	SiteConnections                int           // leases out in the whole site, as far as this machine knows
	Members                        int           // machines of the site, this one included
	Steward                        string        // who gives out the leases: an address, or "this machine"
	Blocked                        string        // this machine's ports that others tried and could not reach: "TCP 4747"; "": none
	Unreachable                    []netip.Addr  // other machines of the site that can't be reached
	Remaining                      time.Duration // below 0: unknown
	Why                            string        // why the origin is, or is not, used at this moment
}

// Result is what a fetch did.
type Result struct {
	AlreadyThere          bool  // the destination matched: nothing was fetched
	Files                 int   // regular files and symlinks of the package
	Bytes                 int64 // of the package
	Resumed               int64 // bytes that an earlier run had verified
	Reused                int64 // bytes that were taken from what lay here: the tree that is replaced, FetchOptions.Reuse
	FromOrigin, FromPeers int64
	Elapsed               time.Duration
}

// Fetch brings package m to dest, from its origins and from neighbours, and returns once the tree stands there, whole.
// It goes on handing the package out until the agent is closed. What was fetched is kept if it fails or ctx ends; the
// next Fetch to the same dest goes on from there.
//
// Errors to ask for: ErrNoSource, ErrOriginCorrupt, store.ErrExists, store.ErrInUse, store.ErrNoSpace,
// store.ErrNotWritable and ctx's own.
func (a *Agent) Fetch(ctx context.Context, m *manifest.Manifest, dest string, o FetchOptions) (Result, error) {
	j := a.begin(m, dest, o.Priority)
	res, err := a.fetch(ctx, j, o)
	j.end(res, err)
	e := Event{Kind: PackageFetched, Package: m.Name, Version: m.Version, Dest: dest, Bytes: m.Length,
		FromOrigin: res.FromOrigin, FromPeers: res.FromPeers, Took: res.Elapsed, Err: err}
	switch {
	case err == nil && !res.AlreadyThere:
		a.journal.Record(e)
	case err != nil && ctx.Err() == nil:
		e.Kind = PackageFailed
		a.journal.Record(e)
	}
	return res, err
}

func (a *Agent) fetch(ctx context.Context, j *job, o FetchOptions) (Result, error) {
	began := time.Now()
	m, dest := j.m, j.dest
	tell := serial(o.Progress)
	res := Result{Files: len(m.Files), Bytes: m.Length}
	show := func(p Progress) {
		if p.Phase != Fetching {
			p.FromOrigin, p.FromPeers = res.FromOrigin, res.FromPeers
		}
		j.show(p)
		tell(p)
	}
	stage, err := a.stageFor(m, dest, o)
	if err != nil {
		return res, err
	}
	tree, err := store.Open(ctx, m, dest, store.Options{
		Replace: o.Replace, Repair: o.Repair, Reuse: o.Reuse, Keep: o.Keep, Stage: stage, Log: a.log,
		Moving: moving(show),
		Progress: func(done, total int64) {
			show(Progress{Phase: Checking, Done: done, Total: total, Remaining: -1})
		},
		Reusing: func(done, total int64) {
			show(Progress{Phase: Reusing, Done: done, Total: total, Remaining: -1})
		},
	})
	if err != nil {
		return res, err
	}
	if !a.adopt(tree) {
		tree.Close()
		return res, errClosed
	}
	res.AlreadyThere = tree.Published()
	res.Reused = tree.Reused()
	res.Resumed = -res.Reused
	for i := range tree.Have().All {
		res.Resumed += m.PieceSize(i)
	}
	t, err := a.join(m, tree)
	if err != nil {
		return res, errors.Join(err, a.abandon(tree))
	}
	j.joined(t)
	if !tree.Published() {
		if !tree.Have().Full() {
			var d *download
			if d, err = newDownload(a, j, tree, t, o); err == nil {
				err = d.run(ctx, show)
				res.FromOrigin, res.FromPeers = d.received()
			}
		}
		if err == nil {
			show(Progress{Phase: Publishing, Done: m.Length, Total: m.Length})
			err = tree.Publish(ctx)
		}
		if err != nil {
			j.joined(nil)
			a.leave(t)
			return res, errors.Join(err, a.abandon(tree))
		}
	}
	res.Elapsed = time.Since(began)
	a.log.Info("package is here", "package", m.Name, "version", m.Version, "dest", dest,
		"seconds", res.Elapsed.Seconds(), "from_origin", res.FromOrigin, "from_peers", res.FromPeers, "reused", res.Reused)
	return res, nil
}

// serial calls f one call at a time; nil: nobody is told.
func serial(f func(Progress)) func(Progress) {
	var mu sync.Mutex
	return func(p Progress) {
		if f == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		f(p)
	}
}

// adopt makes the agent the tree's owner; false: the agent is closed.
func (a *Agent) adopt(t *store.Tree) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.trees = append(a.trees, t)
	}
	return !a.closed
}

func (a *Agent) abandon(t *store.Tree) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, k := range a.trees {
		if k == t {
			a.trees = append(a.trees[:i], a.trees[i+1:]...)
			break
		}
	}
	return t.Close()
}

// join brings the package into the swarm; nil where there is none, or nothing to share.
func (a *Agent) join(m *manifest.Manifest, tree *store.Tree) (*swarm.Torrent, error) {
	if a.engine == nil || m.NumPieces() == 0 {
		return nil, nil
	}
	t, err := a.engine.Add(m, watched{tree, a, m})
	if err != nil {
		return nil, fmt.Errorf("offer %q to neighbours: %w", m.Name, err)
	}
	a.mu.Lock()
	a.torrents[t] = struct{}{}
	addrs := a.addresses()
	a.mu.Unlock()
	t.Introduce(addrs)
	return t, nil
}

// watched is a tree whose checks of neighbours' pieces are counted.
type watched struct {
	*store.Tree
	agent *Agent
	m     *manifest.Manifest
}

// Verify implements swarm.Pieces.
func (w watched) Verify(i manifest.PieceIndex) (bool, error) {
	ok, err := w.Tree.Verify(i)
	switch {
	case ok:
		w.agent.peersVerified.Add(1)
	case err == nil:
		w.agent.peersRefused.Add(1)
		w.agent.journal.Record(Event{Kind: PieceRefused, Package: w.m.Name, Version: w.m.Version,
			Detail: fmt.Sprintf("piece %d, from a neighbour", i)})
	}
	return ok, err
}

func (a *Agent) leave(t *swarm.Torrent) {
	if t == nil {
		return
	}
	from, to := t.Totals()
	a.mu.Lock()
	delete(a.torrents, t)
	if !a.closed {
		a.finished.FromPeers += from
		a.finished.ToPeers += to
	}
	a.mu.Unlock()
	t.Drop()
}

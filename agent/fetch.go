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
	"handout/manifest"
)

// FetchOptions are what one fetch may ask for.
type FetchOptions struct {
	Origins  []string            // URLs tried before the manifest's own
	NoOrigin bool                // neighbours only
	Replace  bool                // a destination that holds something else is replaced
	Own      *OwnTrees           // what an agent of this user put at the destination is replaced; nil: only as Replace says
	Repair   bool                // a destination that holds this package, but not as it should be, is hashed and replaced
	Only     *manifest.Selection // a part of the package; nil: the whole; not together with Keep
	Reuse    []string            // folders and files that may have parts of the package; what stands at the destination is one
	Stage    string              // the tree grows beneath this folder and is then moved to dest; "": only if dest is on a network mount
	Direct   bool                // it grows beside dest in any case
	Wait     time.Duration       // how long to try an origin there is no way to yet, as while a machine starts; 0: some seconds
	Keep     bool                // remember beside the destination that it was verified, for the next start
	Priority api.Priority        // before packages of a lower one; "": normal
	Pushed   *api.Pushed         // the order that asked for it; nil: none did
	Progress func(Progress)      // called several times a second, never twice at once; nil: nobody watches
}

// Phase is what a fetch is doing.
type Phase string

// The phases in their order.
const (
	Checking Phase = "checking" // what is at the destination, or was left by an earlier run; after Moving what arrived
	Reusing  Phase = "reusing"  // what of the package lies on this machine in other trees
	Fetching Phase = "fetching"
	Placing  Phase = "placing"
	Moving   Phase = "moving" // to a destination on another volume; Placing, Moving, Checking in this order
)

// Progress is where a fetch stands.
type Progress struct {
	Phase                          Phase
	Done, Total                    int64 // verified bytes, or those that are moved, and all bytes of the pieces that are wanted
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

// PackageError is an error of a fetch, which status shows with its package until a fetch to the same place begins. It says no
// more than what it holds.
type PackageError struct{ error }

// Unwrap is for package errors.
func (e *PackageError) Unwrap() error { return e.error }

// Result is what a fetch did.
type Result struct {
	AlreadyThere          bool  // the destination matched: nothing was fetched
	Files                 int   // regular files and symlinks of the package, or of the part
	Bytes                 int64 // of these
	Resumed               int64 // bytes that an earlier run had verified
	Reused                int64 // bytes that were taken from what lay here: the tree that is replaced, FetchOptions.Reuse
	FromOrigin, FromPeers int64
	Elapsed               time.Duration
}

// Fetch brings package m to dest, from its origins and from neighbours, and returns once the tree stands there, whole.
// It goes on handing the package out until the agent is closed or dest released. What was fetched is kept if it fails or ctx
// ends; the next Fetch to the same dest goes on from there. Another version that the agent holds at dest is handed out until
// the new one takes its place.
//
// Errors to ask for: ErrNoSource, ErrOriginCorrupt, ErrTwice, store.ErrExists, store.ErrInUse, store.ErrNoSpace,
// store.ErrNotWritable and ctx's own.
//
// Of a part, neighbours get the pieces that lie in it wholly. It is never complete to them.
func (a *Agent) Fetch(ctx context.Context, m *manifest.Manifest, dest string, o FetchOptions) (Result, error) {
	j := a.begin(m, dest, o.Priority, o.Pushed)
	res, err := a.fetch(ctx, j, o)
	j.end(res, err)
	if err != nil {
		err = &PackageError{err}
	}
	e := Event{Kind: PackageFetched, Package: m.Name, Version: m.Version, Dest: dest, Bytes: res.Bytes,
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
	res := Result{Files: len(j.m.Files), Bytes: j.m.Length}
	if o.Only != nil {
		res.Files, res.Bytes = o.Only.Count, o.Only.Bytes
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	h, old, err := a.hold(j, o, stop)
	if err != nil {
		return res, err
	}
	if h.stop == nil { // it was complete before
		res.AlreadyThere, res.Resumed = true, res.Bytes
		j.joined(h.torrent)
		return res, nil
	}
	began := time.Now()
	if err := a.bring(ctx, h, old, &res); err != nil {
		return res, errors.Join(err, a.drop(h))
	}
	a.arrived(h)
	res.Elapsed = time.Since(began)
	a.log.Info("package is here", "package", h.m.Name, "version", h.m.Version, "dest", h.dest,
		"seconds", res.Elapsed.Seconds(), "from_origin", res.FromOrigin, "from_peers", res.FromPeers, "reused", res.Reused)
	return res, nil
}

// bring fetches and publishes h; old is the version that is given to neighbours until it is replaced, or nil.
func (a *Agent) bring(ctx context.Context, h, old *held, res *Result) error {
	m, o := h.m, h.fetched
	tell := serial(o.Progress)
	show := func(p Progress) {
		if p.Phase != Fetching {
			p.FromOrigin, p.FromPeers = res.FromOrigin, res.FromPeers
		}
		h.job.show(p)
		tell(p)
	}
	stage, err := a.stageFor(m, h.dest, o)
	if err != nil {
		return err
	}
	if err := a.roomFor(ctx, h); err != nil {
		return err
	}
	if old != nil {
		if err := old.tree.LetGo(); err != nil {
			return err
		}
	}
	options := store.Options{
		Replace: o.Replace, Repair: o.Repair, Only: o.Only, Reuse: o.Reuse, Keep: o.Keep, Stage: stage, Log: a.log,
		Moving: moving(show),
		Progress: func(done, total int64) {
			show(Progress{Phase: Checking, Done: done, Total: total, Remaining: -1})
		},
		Reusing: func(done, total int64) {
			show(Progress{Phase: Reusing, Done: done, Total: total, Remaining: -1})
		},
	}
	tree, err := store.Open(ctx, m, h.dest, options)
	if errors.Is(err, store.ErrExists) && o.Own != nil {
		if err2 := o.Own.check(ctx, m, h.dest, options, a.log); err2 != nil {
			return fmt.Errorf("%w: %w", err, err2)
		}
		options.Replace = true
		tree, err = store.Open(ctx, m, h.dest, options)
	}
	if err != nil {
		return err
	}
	if !a.opened(h, tree) {
		tree.Close()
		return errClosed
	}
	res.AlreadyThere = tree.Published()
	res.Reused = tree.Reused()
	here, _ := tree.Bytes()
	res.Resumed = here - res.Reused
	if err := a.join(h); err != nil {
		return err
	}
	if !tree.Published() && tree.Missing().Count() > 0 {
		d, err := newDownload(a, h.job, tree, h.torrent, o)
		if err != nil {
			return err
		}
		err = d.run(ctx, show)
		res.FromOrigin, res.FromPeers = d.received()
		if err != nil {
			return err
		}
	}
	if old != nil {
		// Windows replaces nothing in which a file is open.
		if err := a.drop(old); err != nil {
			a.log.Warn("the old version was not closed as it should be", "dest", h.dest, "error", err)
		}
	}
	if tree.Published() {
		return nil
	}
	show(Progress{Phase: Placing, Done: res.Bytes, Total: res.Bytes})
	return tree.Publish(ctx)
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

// join brings the package into the swarm, unless there is none, or nothing to share.
func (a *Agent) join(h *held) error {
	if a.engine == nil || h.m.NumPieces() == 0 {
		return nil
	}
	t, err := a.engine.Add(h.m, watched{h.tree, a, h.m})
	if err != nil {
		return fmt.Errorf("offer %q to neighbours: %w", h.m.Name, err)
	}
	a.mu.Lock()
	h.torrent = t
	a.torrents[t] = struct{}{}
	named, others := a.addresses()
	a.mu.Unlock()
	t.Introduce(named, others)
	h.job.joined(t)
	return nil
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

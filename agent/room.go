package agent

import (
	"context"
	"path/filepath"
	"time"

	"handout/agent/plan"
	"handout/agent/store"
)

// inCache reports whether dest lies in the cache.
func (a *Agent) inCache(dest string) bool {
	if a.c.Cache.Dir == "" {
		return false
	}
	cache, err := filepath.Abs(a.c.Cache.Dir)
	if err != nil {
		return false
	}
	dest, err = filepath.Abs(dest)
	return err == nil && filepath.Dir(dest) == cache
}

// roomFor makes room in the cache for a package that is to be fetched. ErrNoSpace: there is none, and nothing went for it.
func (a *Agent) roomFor(ctx context.Context, h *held) error {
	if !a.inCache(h.dest) {
		return nil
	}
	entries, err := store.List(a.c.Cache.Dir, a.cacheNow().Trust)
	if err != nil {
		return err
	}
	coming := h.m.Length
	for _, e := range entries {
		switch {
		case e.Dest != h.dest:
		case e.State == store.Complete && e.Standing != nil && e.Standing.InfoHash == h.m.InfoHash:
			return nil
		case e.Growing != nil && e.Growing.InfoHash == h.m.InfoHash:
			coming = max(coming-e.Growth, 0)
		}
	}
	a.room.Lock()
	defer a.room.Unlock()
	would := func(store.Entry) error { return nil }
	_, short, err := a.cacheNow().makeRoom(coming+a.coming(), a.judge, would)
	if err == nil && short == 0 {
		short, err = a.makeRoom(ctx, coming+a.coming())
	}
	if err != nil {
		return err
	}
	if short > 0 {
		return a.c.Cache.errNoRoom("fetch to "+h.dest, short)
	}
	a.mu.Lock()
	h.coming = coming
	a.mu.Unlock()
	return nil
}

// coming is how many bytes the fetches into the cache, for which room was made, will still write.
func (a *Agent) coming() (bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.held {
		if h.complete() || h.coming == 0 {
			continue
		}
		missing := h.m.Length
		if h.tree != nil {
			here, all := h.tree.Bytes()
			missing = all - here
		}
		bytes += min(missing, h.coming)
	}
	return bytes
}

// judge adds to a package in the cache what this agent knows of it.
func (a *Agent) judge(e store.Entry, p *plan.Cached) {
	p.Named = a.cacheNow().isNamed(e.Dest)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.at(e.Dest) {
		p.Named = p.Named || h.wanted
		p.Busy = p.Busy || !h.complete()
		p.Needed = p.Needed || h.needed()
	}
}

// makeRoom evicts from the cache until coming more bytes are within its budget, and returns by how many they are not.
func (a *Agent) makeRoom(ctx context.Context, coming int64) (short int64, err error) {
	gone, short, err := a.cacheNow().makeRoom(coming, a.judge, func(e store.Entry) error { return a.evict(ctx, e) })
	for _, e := range gone {
		if e.Err != nil {
			a.log.Warn("package could not be evicted from the cache", "dest", e.Dest, "error", e.Err)
			continue
		}
		a.log.Info("package evicted from the cache: its room is needed", "dest", e.Dest, "bytes", e.Bytes, "last_used", e.Used)
		ev := Event{Kind: CacheEvicted, Dest: e.Dest, Bytes: e.Bytes, Detail: "its room is needed"}
		if e.Standing != nil {
			ev.Package, ev.Version = e.Standing.Name, e.Standing.Version
		}
		a.journal.Record(ev)
	}
	return short, err
}

// evict gives a package up and removes it. Where that fails it is given to neighbours again.
func (a *Agent) evict(ctx context.Context, e store.Entry) error {
	was := a.isHeld(e.Dest)
	err := a.Release(e.Dest)
	if err == nil {
		err = store.Evict(ctx, e.Dest)
	}
	if err != nil && was && e.Standing != nil {
		if again := a.reopen(ctx, e.Standing, e.Dest); again != nil {
			a.log.Warn("package is no longer given to neighbours", "dest", e.Dest, "error", again)
		}
	}
	return err
}

func (a *Agent) isHeld(dest string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.at(dest)) > 0
}

const (
	// relieveEvery is how often the free space is looked at: others write to the disk too.
	relieveEvery = 10 * time.Second
	// useEvery is how exactly the last use of a package is recorded.
	useEvery = time.Hour
)

// relieve keeps free what the budget says, whoever filled the disk: packages are evicted and, where that is not enough,
// fetches into the cache are ended.
func (a *Agent) relieve(ctx context.Context) {
	_, free, err := store.Disk(a.c.Cache.Dir)
	if err != nil || free < 0 {
		return // the folder may not have been made yet
	}
	coming := a.coming()
	if a.c.Cache.Budget.MinFree == 0 || free >= a.c.Cache.Budget.MinFree+coming {
		return
	}
	a.room.Lock()
	defer a.room.Unlock()
	short, err := a.makeRoom(ctx, coming)
	if err != nil {
		a.log.Warn("the cache can't be looked through", "error", err)
	}
	if _, free, err = store.Disk(a.c.Cache.Dir); err != nil || short == 0 || free >= a.c.Cache.Budget.MinFree {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.held {
		if h.coming > 0 && !h.complete() {
			h.stop(a.c.Cache.errNoRoom("fetch to "+h.dest, short))
		}
	}
}

// noteUse records which packages neighbours have asked for since it was last called.
func (a *Agent) noteUse(now time.Time) {
	a.mu.Lock()
	var used []*store.Tree
	for _, h := range a.held {
		if h.torrent == nil || !h.complete() {
			continue
		}
		to := h.torrent.Sent()
		if to > h.given && now.Sub(h.touched) >= useEvery {
			h.touched = now
			used = append(used, h.tree)
		}
		h.given = to
	}
	a.mu.Unlock()
	for _, t := range used {
		if err := t.Used(); err != nil {
			a.log.Warn("the last use of a package is not recorded", "dest", t.Dest(), "error", err)
		}
	}
}

// keepCache looks after the cache until ctx ends.
func (a *Agent) keepCache(ctx context.Context) {
	tick := time.NewTicker(relieveEvery)
	defer tick.Stop()
	for a.c.Cache.Dir != "" {
		a.relieve(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		a.noteUse(time.Now())
	}
}

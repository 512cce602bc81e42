package agent

import (
	"context"
	"fmt"

	"handout/agent/plan"
	"handout/agent/store"
	"handout/manifest"
	"handout/manifest/amount"
)

// Cache is the folder in which a machine keeps packages, and what it may take.
type Cache struct {
	Dir    string // empty: there is none
	Budget plan.Budget
	Trust  manifest.Trust         // whose packages in it are known
	Named  func(dest string) bool // the config wants what lies there, an absolute path; nil: it wants nothing
}

func (c Cache) isNamed(dest string) bool { return c.Named != nil && c.Named(dest) }

// Eviction is a package that had to go from a cache.
type Eviction struct {
	store.Entry
	Err error // why it is still there; nil: it went, or would go
}

// Shrink brings a cache back to its budget: the least useful packages go, as plan.Evict chooses, but none that is named.
// What an agent holds stays, as that keeps to the budget by itself. With dry nothing goes. short is by how many bytes the cache is
// still beyond its budget.
func (c Cache) Shrink(ctx context.Context, dry bool) (gone []Eviction, short int64, err error) {
	judge := func(e store.Entry, p *plan.Cached) { p.Named = c.isNamed(e.Dest) }
	evict := func(e store.Entry) error { return store.Evict(ctx, e.Dest) }
	if dry {
		evict = func(store.Entry) error { return nil }
	}
	return c.makeRoom(0, judge, evict)
}

// makeRoom evicts until coming more bytes are within the budget. judge adds to a package what the disk does not tell.
func (c Cache) makeRoom(
	coming int64, judge func(store.Entry, *plan.Cached), evict func(store.Entry) error,
) (gone []Eviction, short int64, err error) {
	entries, err := store.List(c.Dir, c.Trust)
	if err != nil {
		return nil, 0, err
	}
	_, free, err := store.Disk(c.Dir)
	if err != nil {
		return nil, 0, err
	}
	var used int64
	cached := make([]plan.Cached, len(entries))
	for i, e := range entries {
		used += e.Bytes + e.Growth
		cached[i] = plan.Cached{Bytes: e.Bytes, Used: e.Used, Pinned: e.Pinned, Busy: e.State != store.Complete}
		judge(e, &cached[i])
	}
	excess := c.Budget.Excess(used, free, coming)
	for excess > 0 {
		victims, _ := plan.Evict(cached, excess)
		if len(victims) == 0 {
			break
		}
		v := victims[0]
		cached[v].Busy = true // gone, or not to be had: not a second time
		err := evict(entries[v])
		if err == nil {
			excess -= cached[v].Bytes
		}
		gone = append(gone, Eviction{entries[v], err})
	}
	return gone, max(excess, 0), nil
}

// errNoRoom is what it means that a cache is short of room for what is to be done.
func (c Cache) errNoRoom(doing string, short int64) error {
	return fmt.Errorf("%s: %w: %s too many for the budget of %s, and nothing more there may go: "+
		"raise cache.max_bytes or lower cache.min_free, free the disk, or unpin a package (handout list, handout pin --remove)",
		doing, store.ErrNoSpace, amount.Bytes(short), c.Dir)
}

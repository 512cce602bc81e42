package agent

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"handout/agent/api"
	"handout/agent/site"
	"handout/agent/store"
	"handout/manifest"
)

// Agent is what its door shows: it implements api.Machine.
var _ api.Machine = (*Agent)(nil)

// Status implements api.Machine.
func (a *Agent) Status() api.Status {
	st := a.site.StatusNow(context.Background())
	s := api.Status{
		Version: a.c.Version, Started: a.born, PeerPort: a.PeerPort(), Site: a.c.Site,
		Members: st.Members, Steward: st.Steward, SiteConnections: st.Connections, Connections: st.Mine,
		PID: os.Getpid(), Restarts: a.c.Restarts, CacheBytes: a.cache.bytes(a.c.CacheDir),
	}
	s.Packages, s.Paused, s.Errors = a.doing()
	a.mu.Lock()
	l := a.limits()
	s.UpLimit, s.DownLimit = l.Up, l.Down
	totals := a.totals()
	near := map[netip.AddrPort]bool{}
	for t := range a.torrents {
		for _, addr := range t.Addresses() {
			near[addr] = true
		}
	}
	a.mu.Unlock()
	for _, m := range a.site.All() {
		s.Machines = append(s.Machines, memberStatus(m))
	}
	s.Neighbours = len(near)
	s.FromOrigin, s.FromPeers, s.ToPeers = totals.FromOrigin, totals.FromPeers, totals.ToPeers
	s.Counts = api.Counts{
		Leases: a.leases.Load(), LeasesLost: a.leasesLost.Load(),
		OriginVerified: a.originVerified.Load(), PeersVerified: a.peersVerified.Load(),
		OriginRefused: a.originRefused.Load(), PeersRefused: a.peersRefused.Load(),
	}
	return s
}

// doing is what this machine does about its packages, whether all are paused, and what does not work beside them.
func (a *Agent) doing() (packages []api.Package, paused bool, troubles []api.Trouble) {
	packages, troubles = []api.Package{}, []api.Trouble{}
	a.mu.Lock()
	jobs := slices.Clone(a.jobs)
	paused = a.decided.Paused
	for what, t := range a.troubles {
		troubles = append(troubles, api.Trouble{What: manifest.Shown(what), Error: t.err, Since: t.since})
	}
	a.mu.Unlock()
	for _, j := range jobs {
		packages = append(packages, j.wire())
	}
	slices.SortFunc(troubles, func(x, y api.Trouble) int { return strings.Compare(x.What, y.What) })
	return packages, paused, troubles
}

func memberStatus(m site.Member) api.Member {
	return api.Member{
		Address: m.Peer.String(), Since: m.Since, Mine: m.Mine, Installed: m.Installed, Steward: m.Steward,
		Blocked: m.Shut.Ports(int(m.Peer.Port())),
	}
}

// Events implements api.Machine.
func (a *Agent) Events(after uint64) ([]api.Event, <-chan struct{}) { return a.journal.After(after) }

// trouble is what does not work on this machine, beside the packages that are known.
type trouble struct {
	err   string
	since time.Time
}

// Trouble notes that what (a manifest's location, say) does not work, for status to show; nil: it works. What is shown with a
// package is not shown twice.
func (a *Agent) Trouble(what string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, shown := errors.AsType[*PackageError](err); shown || err == nil {
		delete(a.troubles, what)
		return
	}
	t, known := a.troubles[what]
	if !known {
		t.since = time.Now()
	}
	t.err = clip(manifest.ShownIn(err.Error()))
	a.troubles[what] = t
}

// cacheSize is what the packages of a cache take on disk, as it was a moment ago: to look is a walk through all of them.
type cacheSize struct {
	mu   sync.Mutex
	at   time.Time
	size int64
}

const cacheSizeEvery = time.Minute

func (c *cacheSize) bytes(dir string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if dir == "" || !c.at.IsZero() && time.Since(c.at) < cacheSizeEvery {
		return c.size
	}
	entries, err := store.List(dir, manifest.Trust{AllowUnsigned: true}) // whose they are makes no difference here
	if err == nil {
		c.size = 0
		for _, e := range entries {
			c.size += e.Bytes + e.Growth
		}
	}
	c.at = time.Now()
	return c.size
}

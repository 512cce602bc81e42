package agent

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"handout/agent/api"
)

// Agent is what its door shows: it implements api.Machine.
var _ api.Machine = (*Agent)(nil)

// Status implements api.Machine.
func (a *Agent) Status() api.Status {
	st := a.site.Status()
	s := api.Status{
		Version: a.c.Version, Started: a.born, PeerPort: a.PeerPort(), Site: a.c.Site,
		Members: st.Members, Steward: st.Steward, SiteConnections: st.Connections, Connections: st.Mine,
		Packages: []api.Package{}, Errors: []api.Trouble{},
	}
	a.mu.Lock()
	jobs := slices.Clone(a.jobs)
	l := a.limits()
	s.Paused, s.UpLimit, s.DownLimit = a.decided.Paused, l.Up, l.Down
	for what, t := range a.troubles {
		s.Errors = append(s.Errors, api.Trouble{What: what, Error: t.err, Since: t.since})
	}
	totals := a.totals()
	near := map[netip.AddrPort]bool{}
	for t := range a.torrents {
		for _, addr := range t.Addresses() {
			near[addr] = true
		}
	}
	a.mu.Unlock()
	for _, m := range a.site.All() {
		s.Machines = append(s.Machines, api.Member{
			Address: m.Peer.String(), Since: m.Since, Mine: m.Mine, Installed: m.Installed, Steward: m.Steward,
			Blocked: m.Shut.Ports(int(m.Peer.Port())),
		})
	}
	s.Neighbours = len(near)
	s.FromOrigin, s.FromPeers, s.ToPeers = totals.FromOrigin, totals.FromPeers, totals.ToPeers
	for _, j := range jobs {
		s.Packages = append(s.Packages, j.wire())
	}
	slices.SortFunc(s.Errors, func(x, y api.Trouble) int { return strings.Compare(x.What, y.What) })
	return s
}

// Events implements api.Machine.
func (a *Agent) Events(after uint64) ([]api.Event, <-chan struct{}) { return a.journal.After(after) }

// trouble is what does not work on this machine, beside the packages that are known.
type trouble struct {
	err   string
	since time.Time
}

// Trouble notes that what (a manifest's location, say) does not work, for status to show; nil: it works.
func (a *Agent) Trouble(what string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		delete(a.troubles, what)
		return
	}
	t, known := a.troubles[what]
	if !known {
		t.since = time.Now()
	}
	t.err = clip(err.Error())
	a.troubles[what] = t
}

package agent

import (
	"slices"
	"strings"
	"sync"
	"time"

	"handout/agent/api"
	"handout/agent/swarm"
	"handout/manifest"
)

// job is one package on this machine, from the moment it is asked for: what status shows of it, and what an operator
// decided about it.
type job struct {
	agent *Agent
	m     *manifest.Manifest
	dest  string

	mu       sync.Mutex
	progress Progress
	state    api.State
	torrent  *swarm.Torrent // nil: not in the swarm
	origin   int64          // bytes from origins, of a download that has ended
	err      error          // why the last attempt came to nothing
	paused   bool           // by order, this package or all
}

// begin notes that m is asked for; whatever was known of another package for the same destination is forgotten.
func (a *Agent) begin(m *manifest.Manifest, dest string) *job {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.jobs = slices.DeleteFunc(a.jobs, func(j *job) bool { return j.dest == dest })
	j := &job{agent: a, m: m, dest: dest, state: api.Checking}
	j.progress = Progress{Phase: Checking, Total: m.Length, Remaining: -1}
	j.paused = a.isPaused(j)
	a.jobs = append(a.jobs, j)
	return j
}

// show notes where the fetch stands.
func (j *job) show(p Progress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.progress = p
	switch p.Phase {
	case Checking:
		j.state = api.Checking
	case Fetching:
		j.state = api.Fetching
	case Publishing, Moving:
		j.state = api.Publishing
	}
}

// joined notes that the package is among the neighbours.
func (j *job) joined(t *swarm.Torrent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.torrent = t
	if t != nil && j.paused {
		t.Pause(true)
	}
}

// end notes how the fetch came out.
func (j *job) end(res Result, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err, j.origin = err, j.origin+res.FromOrigin
	if err != nil {
		j.state, j.torrent = api.Waiting, nil
		return
	}
	j.state = api.Here
	j.progress = Progress{Done: j.m.Length, Total: j.m.Length, FromPeers: res.FromPeers}
}

// pause stops or resumes fetching and giving.
func (j *job) pause(stop bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.paused == stop {
		return
	}
	j.paused = stop
	if j.torrent != nil {
		j.torrent.Pause(stop)
	}
}

func (j *job) isPaused() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.paused
}

// isNamed reports whether an operator means this package.
func (j *job) isNamed(name string) bool {
	return name == j.m.Name || name == j.dest || strings.EqualFold(name, j.m.InfoHash.String())
}

// wire is the job as the door shows it.
func (j *job) wire() api.Package {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.progress
	w := api.Package{
		InfoHash: j.m.InfoHash.String(), Name: j.m.Name, Version: j.m.Version, Dest: j.dest,
		State: j.state, Paused: j.paused, Done: p.Done, Total: p.Total,
		FromOrigin: j.origin, FromPeers: p.FromPeers, ToPeers: p.ToPeers,
	}
	if j.torrent != nil {
		w.FromPeers, w.ToPeers = j.torrent.Totals()
		w.Neighbours = j.torrent.Neighbours()
	}
	if j.state == api.Fetching {
		w.FromOrigin = max(w.FromOrigin, p.FromOrigin)
		w.OriginRate, w.PeerRate, w.Connections, w.Why = p.OriginBytesPerSec, p.PeerBytesPerSec, p.OriginConnections, p.Why
		if p.Remaining >= 0 {
			s := p.Remaining.Round(time.Second).Seconds()
			w.Remaining = &s
		}
	}
	if j.err != nil {
		w.Error = clip(strings.ReplaceAll(j.err.Error(), "\n", "; "))
	}
	return w
}

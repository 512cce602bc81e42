package agent

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	dest  string // absolute
	named string // dest as whoever asked for the package wrote it

	mu       sync.Mutex
	pushed   *api.Pushed // nil: no order asks for it
	progress Progress
	state    api.State
	torrent  *swarm.Torrent // nil: not in the swarm
	tally    *tally         // shared with earlier jobs of this package at this place
	running  bool           // a fetch is on: what progress says of the origin is not in the tally yet
	err      error          // why the last attempt came to nothing
	paused   bool           // by order, this package or all
	yields   bool           // to packages of a higher priority
	asked    api.Priority   // by whoever began the fetch
	decided  api.Priority   // by an operator; "": nothing
	moved    time.Time      // when the last bytes came, or the fetch began
}

// tally is what moved of a package since the agent began, but for what its torrent counts: payload bytes. It outlives the job,
// so that an order that comes once more, or a repair, begins no count anew.
type tally struct{ fromOrigin, fromPeers, toPeers atomic.Int64 }

// begin notes that m is asked for; whatever was known of another package for the same destination is forgotten.
func (a *Agent) begin(m *manifest.Manifest, dest string, priority api.Priority, pushed *api.Pushed) *job {
	named := dest
	if abs, err := filepath.Abs(dest); err == nil {
		dest = abs
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	j := &job{agent: a, m: m, dest: dest, named: named, pushed: pushed, state: api.Checking, asked: priority, moved: time.Now(),
		tally: new(tally), running: true}
	a.jobs = slices.DeleteFunc(a.jobs, func(old *job) bool {
		if old.dest == dest && old.m.InfoHash == m.InfoHash {
			j.tally = old.tally
		}
		return old.dest == dest
	})
	j.progress = Progress{Phase: Checking, Total: m.Length, Remaining: -1}
	a.tell(j)
	a.jobs = append(a.jobs, j)
	return j
}

// show notes where the fetch stands.
func (j *job) show(p Progress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != api.Fetching || p.FromOrigin+p.FromPeers > j.progress.FromOrigin+j.progress.FromPeers {
		j.moved = time.Now()
	}
	j.progress = p
	switch p.Phase {
	case Checking:
		j.state = api.Checking
	case Fetching:
		j.state = api.Fetching
	case Placing, Moving:
		j.state = api.Placing
	}
}

// joined notes that the package is among the neighbours.
func (j *job) joined(t *swarm.Torrent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if was := j.torrent; was != nil && was != t {
		j.tally.fromPeers.Add(was.Received())
		j.tally.toPeers.Add(was.Sent())
	}
	j.torrent = t
	j.hold()
}

// end notes how the fetch came out.
func (j *job) end(res Result, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err, j.running = err, false
	j.tally.fromOrigin.Add(res.FromOrigin)
	if err != nil {
		j.state = api.Waiting
		return
	}
	j.state = api.Here
	j.progress = Progress{Done: res.Bytes, Total: res.Bytes, FromPeers: res.FromPeers}
}

// order takes what an operator decided.
func (j *job) order(paused bool, priority api.Priority) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.decided = priority
	if j.paused != paused {
		j.paused = paused
		j.hold()
	}
}

// hold passes on to the swarm whether blocks are asked for and given.
func (j *job) hold() {
	if j.torrent != nil {
		j.torrent.Hold(j.paused || j.yields, j.paused)
	}
}

func (j *job) priority() api.Priority {
	switch {
	case j.decided != "":
		return j.decided
	case j.asked != "":
		return j.asked
	}
	return api.Normal
}

// arrives reports whether the package is being fetched and something of it came lately, and its priority.
func (j *job) arrives() (api.Priority, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.priority(), j.state == api.Fetching && !j.paused && time.Since(j.moved) < arrivesWithin
}

// arrivesWithin is how long others wait for a package of which nothing comes: one that can't be had must not keep the
// rest away.
const arrivesWithin = 10 * time.Second

// stopped is why nothing of the package is fetched now; "": it is. A package waits while one of a higher priority
// arrives; what is here is given to neighbours all the same.
func (a *Agent) stopped(j *job) string {
	a.mu.Lock()
	others := slices.Clone(a.jobs)
	a.mu.Unlock()
	highest := api.Low
	for _, o := range others {
		if p, ok := o.arrives(); o != j && ok && p.Above(highest) {
			highest = p
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if yields := highest.Above(j.priority()); yields != j.yields {
		j.yields = yields
		j.hold()
	}
	switch {
	case j.paused:
		return "paused"
	case j.yields:
		j.moved = time.Now() // its own wait is not a sign that it can't be had
		return "waits for a package of a higher priority"
	}
	return ""
}

// isNamed reports whether an operator means this package.
func (j *job) isNamed(name string) bool {
	return name == j.m.Name || name == j.dest || name == j.named || strings.EqualFold(name, j.m.InfoHash.String())
}

func (j *job) isPushed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.pushed != nil
}

// wire is the job as the door shows it.
func (j *job) wire() api.Package {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.progress
	w := api.Package{
		InfoHash: j.m.InfoHash.String(), Name: j.m.Name, Version: j.m.Version, Dest: j.dest,
		State: j.state, Paused: j.paused, Priority: j.priority(), Done: p.Done, Total: p.Total,
		FromOrigin: j.tally.fromOrigin.Load(), FromPeers: j.tally.fromPeers.Load(), ToPeers: j.tally.toPeers.Load(), Pushed: j.pushed,
	}
	if j.torrent != nil {
		w.FromPeers, w.ToPeers = w.FromPeers+j.torrent.Received(), w.ToPeers+j.torrent.Sent()
		w.Neighbours = j.torrent.Neighbours()
	}
	if j.running {
		w.FromOrigin += p.FromOrigin
	}
	if j.state == api.Fetching {
		w.OriginRate, w.PeerRate, w.Connections, w.Why = p.OriginBytesPerSec, p.PeerBytesPerSec, p.OriginConnections, p.Why
		if p.Remaining >= 0 {
			s := p.Remaining.Round(time.Second).Seconds()
			w.Remaining = &s
		}
	}
	if j.err != nil {
		w.Error = clip(strings.ReplaceAll(manifest.ShownIn(j.err.Error()), "\n", "; "))
	}
	return w
}

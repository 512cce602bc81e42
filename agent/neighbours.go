package agent

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"handout/agent/site"
	"handout/agent/swarm"
)

const (
	// maxKnown bounds what anybody can make us remember by announcing addresses.
	maxKnown = 4096
	// forgetAfter is how long an address is tried without being heard of again.
	forgetAfter = 15 * time.Minute
	// manyBans is how many banned neighbours are an alarm: a spoiled piece has one sender, a bad memory chip or a
	// liar has few.
	manyBans = 3
)

// sighted is what is known of an address.
type sighted struct {
	first time.Time // when it was heard of
	heard time.Time // and when last
	named bool      // by an admin: it is tried first
}

// found takes an address where an agent may be.
func (a *Agent) found(addr netip.AddrPort, named bool) {
	if !a.admits(addr.Addr()) {
		a.log.Debug("address lies outside the networks of this site: it is left alone", "address", addr)
		return
	}
	a.mu.Lock()
	s, old := a.known[addr]
	s.heard, s.named = time.Now(), s.named || named
	if !old {
		s.first = s.heard
	}
	if old || named || len(a.known) < maxKnown {
		a.known[addr] = s
	}
	a.mu.Unlock()
	if old {
		return
	}
	tell(a.news)
	tell(a.faces)
}

// tell notes in news, which holds one, that there is some.
func tell(news chan struct{}) {
	select {
	case news <- struct{}{}:
	default:
	}
}

const (
	// rejoinEvery is how often addresses that are not of a member are tried again: the membership does not heal a partition
	// by itself.
	rejoinEvery = 15 * time.Second
	// rejoinSoon is the same for a machine that has met nobody, and a quarter more after each try: machines that start
	// together aren't there at the same moment.
	rejoinSoon = 200 * time.Millisecond
)

// meet joins the site by every address that is heard of. A member's own port is the one after that for neighbours.
func (a *Agent) meet(ctx context.Context) {
	changes, stop := a.nets.Changes()
	defer stop()
	wait := rejoinSoon
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.news:
			wait = rejoinSoon
		case <-changes: // who was lost with an address may be there again
			wait = rejoinSoon
		case <-time.After(wait/2 + rand.N(wait)):
			wait = min(wait+wait/4, rejoinEvery)
		}
		if len(a.site.Members()) > 0 {
			wait = rejoinEvery
		}
		a.mu.Lock()
		named, others := a.heard()
		a.mu.Unlock()
		// Each in its own time: neither seeds that are off nor many that have gone hold up the rest.
		var work sync.WaitGroup
		work.Go(func() { a.site.Join(memberPorts(named)) })
		a.site.JoinNear(memberPorts(others))
		work.Wait()
	}
}

func memberPorts(peers []netip.AddrPort) []netip.AddrPort {
	for i, at := range peers {
		peers[i] = netip.AddrPortFrom(at.Addr(), at.Port()+1)
	}
	return peers
}

func (a *Agent) running() (all []*swarm.Torrent) {
	for t := range a.torrents {
		all = append(all, t)
	}
	return all
}

// addresses is where neighbours may be: those that an admin named, and what else was heard and the members of the site. A
// member that says it can't be reached is left out: it comes by itself, and dials into its firewall would hold up others.
func (a *Agent) addresses() (named, others []netip.AddrPort) {
	named, others = a.heard()
	for _, m := range a.site.Members() {
		isPeer := func(at netip.AddrPort) bool { return at == m.Peer }
		switch shut := m.Shut&site.PeerTCP != 0; {
		case m.Peer.Port() == 0:
		case shut:
			named, others = slices.DeleteFunc(named, isPeer), slices.DeleteFunc(others, isPeer)
		case !slices.ContainsFunc(named, isPeer) && !slices.ContainsFunc(others, isPeer):
			others = append(others, m.Peer)
		}
	}
	return named, others
}

func (a *Agent) heard() (named, others []netip.AddrPort) {
	for addr, s := range a.known {
		switch {
		case time.Since(s.heard) > forgetAfter:
			delete(a.known, addr)
		case s.named:
			named = append(named, addr)
		default:
			others = append(others, addr)
		}
	}
	return named, others
}

// neighbourJoins is how long a neighbour gets to turn out to be a member; after that it is of another site.
const neighbourJoins = 10 * time.Second

// awaits reports whether nobody of the site was met yet though there is somebody to meet: one of the neighbours that a download
// of that age has, or else a machine that an admin named.
func (a *Agent) awaits(neighbours int, age time.Duration) bool {
	switch {
	case len(a.site.Members()) > 0:
		return false
	case neighbours > 0:
		return age < neighbourJoins
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	named, _ := a.heard()
	return len(named) > 0
}

const (
	// introduceSeedOnce is in how many rounds a seed dials: who lacks something dials it by itself, and seeds hang up on each
	// other at once. That it dials at all is for those whose dials get lost.
	introduceSeedOnce = 15
	noRound           = -1 // of seeds
	// welcomes is how many seeds of a site dial a newcomer, about.
	welcomes = 8
)

func (a *Agent) introduceAll(round int) {
	a.mu.Lock()
	torrents := a.running()
	a.mu.Unlock()
	canBeDialled := a.site.Reach().Shut&site.PeerTCP == 0
	at := 0
	torrents = slices.DeleteFunc(torrents, func(t *swarm.Torrent) bool {
		at++
		return (round == noRound || (round+at)%introduceSeedOnce != 0) && canBeDialled && t.IsSeed()
	})
	if len(torrents) == 0 {
		return // at rest, as a rule: nobody looks for addresses then
	}
	a.mu.Lock()
	named, others := a.addresses()
	a.mu.Unlock()
	for _, t := range torrents {
		t.Introduce(named, others)
	}
}

// welcome has seeds dial who was met or first heard of since then. Machines that start together have each other for
// neighbours before they hear of a seed, and no place left to look for it: eight arrivals read 0.65 of the package beside it.
func (a *Agent) welcome(since time.Time) {
	a.mu.Lock()
	seeds := slices.DeleteFunc(a.running(), func(t *swarm.Torrent) bool { return !t.IsSeed() })
	all := map[netip.AddrPort]bool{} // of all others: whether they are new
	for addr, s := range a.known {
		all[addr] = s.first.After(since)
	}
	a.mu.Unlock()
	if len(seeds) == 0 {
		return
	}
	for _, m := range a.site.Members() {
		if m.Peer.Port() != 0 {
			all[m.Peer] = (all[m.Peer] || m.Since.After(since)) && m.Shut&site.PeerTCP == 0
		}
	}
	for _, t := range seeds {
		var newcomers []netip.AddrPort
		for addr, isNew := range all {
			if isNew && rand.IntN(len(all)) < welcomes {
				newcomers = append(newcomers, addr)
			}
		}
		t.Welcome(newcomers)
	}
}

// alone reports whether neither a member of the site nor a neighbour is known: then discovery goes on looking.
func (a *Agent) alone() bool {
	if len(a.site.Members()) > 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for t := range a.torrents {
		if t.Neighbours() > 0 {
			return false
		}
	}
	return true
}

func (a *Agent) warnOfBans() {
	if b := a.engine.Banned(); len(b) >= manyBans {
		a.log.Warn("many neighbours sent bytes that do not match the manifest; they are not spoken to for a while",
			"addresses", b)
		if !a.banned {
			a.banned = true
			a.journal.Record(Event{Kind: NeighboursBanned, Detail: strings.Join(b, ", ")})
		}
	}
}

func (a *Agent) admits(at netip.Addr) bool { return a.nets.Now().Admits(at) }

package plan

import (
	"slices"
	"time"

	"handout/manifest"
)

// MemberID names a member of the site.
type MemberID string

// LeaseID names a lease; no steward uses one twice.
type LeaseID uint64

// Lease is the right to hold one origin connection and to read Run of a package on it, until it expires unrenewed.
type Lease struct {
	ID      LeaseID
	Member  MemberID
	Package manifest.InfoHash
	Run     Run
	Link    float64 // of the member, as it asked for Run
	// Front: Run is one of pieces that are bound (Bound). It is read from the front of its files in one go, those pieces
	// included that are here already, and may be renewed for as long as the reading gets on; Read of its pieces it has passed.
	Front bool
	Read  int
}

// NoPackage is what leases are of that are for something else than the pieces of a package: for a manifest, or the test of
// an origin. Its pieces are turns, of which nobody reads the same twice.
var NoPackage = manifest.InfoHash([]byte("handout: no package!"))

// Turns is how many pieces NoPackage has: so many may come by within justFetched.
const Turns = 1024

// Ask is a member's wish for an origin connection.
type Ask struct {
	Member   MemberID
	Stream   int // which of the member's connections it is for
	Package  manifest.InfoHash
	Eligible Bitfield            // what it may read, as it sees it; its length is the number of pieces
	After    manifest.PieceIndex // where the last run on this connection ended; of a lease held, what was read of it
	Limit    int                 // pieces it can read in about a second
	Link     float64             // bytes per second, the most it received from everybody so far; 0: not known
	Holds    LeaseID             // the lease whose connection is open and whose run was read; 0: none
	Fed      bool                // neighbours have plenty to give: it reads for the room, and only what the room lacks
	Bound    Bitfield            // pieces that can't begin a run, as it sees it (Bound); no pieces: it knows of none
	Again    bool                // it gets nothing from anybody: where pieces are bound it may read what others have read
	Seq      uint64              // the asker's number of it, by which the answer says what it answers
	Stalled  bool                // nothing comes from anywhere; the asker's own affair, no steward is told
}

// Answer is what a steward says to an ask, at once or later.
type Answer struct {
	Member  MemberID
	Package manifest.InfoHash
	Stream  int
	Seq     uint64 // the ask's
	Lease   Lease  // Run.Len 0: none
	// Yield: somebody who has had less waits. The connection of the lease held is closed and the lease released before
	// another ask.
	Yield bool
}

const (
	// LeaseTerm is how long a lease lives after it was granted or renewed.
	LeaseTerm = 3 * time.Second
	// askLives is how long an ask stands; whoever still wants a lease repeats it with fresher eligible pieces.
	askLives = time.Second
	// Fresh is how old a grant may be when its run begins. A run that was asked for while a slow one was read is asked for
	// again then: others may have read it, and there may be another steward by now.
	Fresh = time.Second
	// justFetched is how long a piece counts as fetched though its HAVE may not have reached everybody: where not all are
	// neighbours it is passed on more than once, and waits each time.
	justFetched = 10 * time.Second
	// longestRun is how long a lease may be renewed for one run, which was sized for a second or so: whoever clings to
	// it longer takes a connection from the others.
	longestRun = 20 * time.Second
	// slowRun is it on a slow link while a faster one waits: nobody gets these pieces sooner than he reads them.
	slowRun = 2 * runTime
	// longestVisit is it for a manifest, which has to be read in one go, and for the next piece of a run from the front.
	longestVisit = time.Minute
	// shortest is how short a run may get, as a part of the longest, which takes about a second. Asking for the next one
	// takes two journeys through queues that are full: with runs of a sixteenth the origin was idle half of the last seconds.
	shortest = 3
	// turn is how many runs a machine reads before it makes room for one that had less: each machine reads its share and
	// passes it on. To hand a connection on takes four journeys and a new connection a while to get going: with turns of four,
	// and of none where somebody else was hungry, a tenth of what the origin can give was lost in rooms of sixteen and more.
	// With turns of twelve who reads has more to pass on than its link takes, and others' links are idle.
	turn = 6
	// maxAsks, maxPackages and maxReadings, of a package, bound what askers can make a steward remember.
	maxAsks     = 4096
	maxPackages = 256
	maxReadings = 16384
	// forgetPackage is how long a package is remembered that nobody asks for.
	forgetPackage = 10 * time.Minute
)

// Steward gives out the site's origin connections, each piece once. It is a plain state machine: the caller brings the
// time and the messages and carries the answers away. Not safe for concurrent use.
type Steward struct {
	connections int
	last        LeaseID
	asks        []standing // in the order they came
	leases      map[LeaseID]*held
	links       map[MemberID]float64 // of the living, as they said last
	packages    map[manifest.InfoHash]*ledger
	closed      time.Time // nothing is granted before: leases of a former steward may be out
	random      func(n int) int
}

type standing struct {
	Ask
	until time.Time
}

type held struct {
	Lease
	before  Run // what was read of the run before, as the holder said when it asked for this one
	expires time.Time
	granted time.Time // when the run was
	class   int       // of who asked for it
	pieces  int       // of all its runs
}

// NewSteward returns a steward of so many origin connections. Its first lease is numbered after first, which differs
// from steward to steward. Random returns a number in [0, n).
func NewSteward(connections int, first LeaseID, random func(n int) int) *Steward {
	return &Steward{
		connections: connections, last: first, random: random,
		leases:   map[LeaseID]*held{},
		links:    map[MemberID]float64{},
		packages: map[manifest.InfoHash]*ledger{},
	}
}

// Hold keeps the steward from granting anything before until: leases that a former steward gave may be out unreported.
func (s *Steward) Hold(until time.Time) { s.closed = until }

// Connections is how many leases are out.
func (s *Steward) Connections(now time.Time) int {
	s.expire(now)
	return len(s.leases)
}

// Idle reports whether nobody holds a lease or waits for one.
func (s *Steward) Idle() bool { return len(s.asks) == 0 && len(s.leases) == 0 }

// Ask takes a wish; it replaces an older one for the same connection. Answers come from Decide. A wish that does not fit
// what is known of its package is ignored.
func (s *Steward) Ask(now time.Time, a Ask) {
	b := s.ledger(now, a.Package, a.Eligible.Len())
	if b == nil {
		return
	}
	b.hears(now, a) // it may wait for long before there is something to decide
	b.bind(a.Bound)
	if h := s.leases[a.Holds]; h == nil || h.Member != a.Member || h.Package != a.Package {
		a.Holds = 0
	}
	a.Limit = max(1, a.Limit)
	if a.Link > 0 && (len(s.links) < maxAsks || s.links[a.Member] > 0) {
		s.links[a.Member] = a.Link
	}
	st := standing{a, now.Add(askLives)}
	for i := range s.asks {
		if o := &s.asks[i]; o.Member == a.Member && o.Stream == a.Stream && o.Package == a.Package {
			*o = st
			return
		}
	}
	if len(s.asks) < maxAsks {
		s.asks = append(s.asks, st)
	}
}

// Withdraw forgets the wishes for one connection.
func (s *Steward) Withdraw(m MemberID, stream int, p manifest.InfoHash) {
	s.asks = slices.DeleteFunc(s.asks, func(a standing) bool {
		return a.Member == m && a.Stream == stream && a.Package == p
	})
}

// Renew keeps a lease alive for another term; it reports whether member m holds it.
func (s *Steward) Renew(now time.Time, m MemberID, id LeaseID) bool {
	s.expire(now)
	h := s.leases[id]
	if h == nil || h.Member != m || now.Sub(h.granted) > longest(h) || s.holdsUp(now, h) {
		return false
	}
	h.expires = now.Add(LeaseTerm)
	return true
}

func longest(h *held) time.Duration {
	if h.Package == NoPackage || h.Front {
		return longestVisit
	}
	return longestRun
}

// Adopt takes over a lease that a former steward gave, as its holder reports it.
func (s *Steward) Adopt(now time.Time, l Lease, pieces int) {
	if s.leases[l.ID] != nil || l.Run.Len < 0 || int64(l.Run.First)+int64(l.Run.Len) > int64(pieces) {
		return
	}
	b := s.ledger(now, l.Package, pieces)
	if b == nil || len(s.leases) >= maxAsks {
		return
	}
	if l.Front {
		bound := NewBitfield(pieces)
		if l.Run.Len > 0 {
			Run{First: l.Run.First + 1, Len: l.Run.Len - 1}.Mark(bound)
		}
		b.bind(bound)
	}
	if b.bound.Len() > 0 && s.yields(l) {
		return
	}
	s.leases[l.ID] = &held{Lease: l, expires: now.Add(LeaseTerm), granted: now, class: hungry}
	b.had[l.Member] += l.Run.Len
	l.Run.Mark(b.given)
}

// Release ends a lease of member m: its connection is closed. What was read of its run before after counts as fetched for a
// moment, and is known to be in the room as long as m is; the rest is given again.
func (s *Steward) Release(now time.Time, m MemberID, id LeaseID, after manifest.PieceIndex) {
	if h := s.leases[id]; h != nil && h.Member == m {
		s.fetched(now, h, after)
		delete(s.leases, id)
	}
}

// Forget drops everything of a member that is gone; what it had fetched is gone with it.
func (s *Steward) Forget(m MemberID) {
	s.asks = slices.DeleteFunc(s.asks, func(a standing) bool { return a.Member == m })
	for id, h := range s.leases {
		if h.Member == m {
			s.lose(h)
			delete(s.leases, id)
		}
	}
	delete(s.links, m)
	for _, b := range s.packages {
		b.forget(func(_ int, r reading) bool { return r.by == m })
		delete(b.had, m)
		delete(b.since, m)
	}
}

// Decide answers what can be answered now: it never has more leases out than the site's connections, gives no member
// more than its share, no piece twice, and those first who wait for new pieces and have had least.
func (s *Steward) Decide(now time.Time) []Answer {
	s.expire(now)
	if now.Before(s.closed) || !s.answerable() {
		return nil
	}
	s.compare(now)
	var answers []Answer
	for s.answerable() {
		best := -1
		shares := s.shares()
		for i, a := range s.asks {
			if a.Holds == 0 && (len(s.leases) >= s.connections || s.holds(a.Ask) >= shares[s.class(a.Ask)] || s.isServed(a.Ask)) {
				continue
			}
			if best < 0 || s.before(a, s.asks[best]) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		a := s.asks[best]
		s.asks = slices.Delete(s.asks, best, best+1)
		if a.Holds != 0 && (s.waiting(a, shares) || s.holds(a.Ask) > shares[s.class(a.Ask)] || s.isServed(a.Ask)) {
			answers = append(answers, Answer{Member: a.Member, Package: a.Package, Stream: a.Stream, Seq: a.Seq, Yield: true})
			continue
		}
		answers = append(answers, Answer{Member: a.Member, Package: a.Package, Stream: a.Stream, Seq: a.Seq, Lease: s.grant(now, a.Ask)})
	}
	return answers
}

// answerable reports whether there may be an ask that can be answered now. In a room of a thousand that wait their turn there
// mostly isn't, and it takes a while to look at each of them at every message.
func (s *Steward) answerable() bool {
	return len(s.asks) > 0 && len(s.leases) < s.connections ||
		slices.ContainsFunc(s.asks, func(a standing) bool { return a.Holds != 0 })
}

// grant gives a run out of the asker's eligible pieces that nobody reads or has just read. A lease that is held goes on
// under its number; without anything to read it stays as it is, for its connection is open.
func (s *Steward) grant(now time.Time, a Ask) Lease {
	b := s.packages[a.Package]
	if h := s.leases[a.Holds]; h != nil {
		s.fetched(now, h, a.After)
		h.Run, h.Front = Run{}, false
	}
	free := a.Eligible.Clone()
	free.Without(b.given)
	if a.Fed {
		free.Without(b.around)
	}
	// Towards the end the runs get short, so that the last pieces come on all connections at once; but not so short that
	// asking for them takes longer than reading them.
	limit := min(a.Limit, max((a.Limit+shortest-1)/shortest, free.Count()/(4*s.connections)))
	var r Run
	front := false
	if b.bound.Len() > 0 {
		r, front = s.nextWhole(a, free, limit)
	} else {
		r = NextRun(free, a.After, limit, s.random)
	}
	if r.Len == 0 {
		return Lease{}
	}
	r.Mark(b.given)
	b.had[a.Member] += r.Len
	h := s.leases[a.Holds]
	if h == nil {
		s.last++
		h = &held{Lease: Lease{ID: s.last, Member: a.Member, Package: a.Package}}
		s.leases[s.last] = h
	}
	h.Run, h.Link, h.granted, h.expires, h.class = r, a.Link, now, now.Add(LeaseTerm), s.class(a)
	h.Front, h.Read = front, 0
	h.pieces += r.Len
	return h.Lease
}

func (s *Steward) expire(now time.Time) {
	s.asks = slices.DeleteFunc(s.asks, func(a standing) bool { return !now.Before(a.until) })
	for id, h := range s.leases {
		if !now.Before(h.expires) {
			s.lose(h)
			delete(s.leases, id)
		}
	}
	for p, b := range s.packages {
		for ; b.settled < len(b.readings) && now.Sub(b.readings[b.settled].ended) >= justFetched; b.settled++ {
			b.readings[b.settled].Unmark(b.given)
		}
		if now.Sub(b.used) > forgetPackage && !s.leased(p) {
			delete(s.packages, p)
		}
	}
}

func (s *Steward) leased(p manifest.InfoHash) bool {
	for _, h := range s.leases {
		if h.Package == p {
			return true
		}
	}
	return false
}

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
	After    manifest.PieceIndex // where the last run on this connection ended
	Limit    int                 // pieces it can read in about a second
	Link     float64             // bytes per second, the most it received from everybody so far; 0: not known
	Holds    LeaseID             // the lease whose connection is open and whose run was read; 0: none
	Stalled  bool                // nothing comes from anywhere; the asker's own affair, no steward is told
}

// Answer is what a steward says to an ask, at once or later.
type Answer struct {
	Member  MemberID
	Package manifest.InfoHash
	Stream  int
	Lease   Lease // Run.Len 0: none
	// Yield: somebody who has had less waits. The connection of the lease held is closed and the lease released before
	// another ask.
	Yield bool
}

const (
	// LeaseTerm is how long a lease lives after it was granted or renewed.
	LeaseTerm = 3 * time.Second
	// askLives is how long an ask stands; whoever still wants a lease repeats it with fresher eligible pieces.
	askLives = time.Second
	// justFetched is how long a piece counts as fetched though its HAVE may not have reached everybody.
	justFetched = 3 * time.Second
	// longestRun is how long a lease may be renewed for one run, which was sized for a second or so: whoever clings to
	// it longer takes a connection from the others.
	longestRun = 20 * time.Second
	// longestVisit is it for a manifest, which has to be read in one go.
	longestVisit = time.Minute
	// shortest is how short a run may get, as a part of the longest, which takes about a second.
	shortest = 16
	// turn is how many runs a machine reads before it makes room for one that had less: each machine reads its share and
	// passes it on, yet a new connection takes a while to get going.
	turn = 4
	// maxAsks and maxPackages bound what askers can make a steward remember.
	maxAsks     = 4096
	maxPackages = 256
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
	expires time.Time
	granted time.Time // when the run was
}

// ledger is what a steward remembers of one package.
type ledger struct {
	used    time.Time
	given   Bitfield                      // leased or just fetched
	fetched map[manifest.PieceIndex]fetch // of given: those no longer leased
	had     map[MemberID]int              // pieces granted so far
	fastest float64                       // the best link of those who ask now
}

type fetch struct {
	by    MemberID
	until time.Time
}

// NewSteward returns a steward of so many origin connections. Its first lease is numbered after first, which differs
// from steward to steward. Random returns a number in [0, n).
func NewSteward(connections int, first LeaseID, random func(n int) int) *Steward {
	return &Steward{
		connections: connections, last: first, random: random,
		leases:   map[LeaseID]*held{},
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
	if s.ledger(now, a.Package, a.Eligible.Len()) == nil {
		return
	}
	if h := s.leases[a.Holds]; h == nil || h.Member != a.Member || h.Package != a.Package {
		a.Holds = 0
	}
	a.Limit = max(1, a.Limit)
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
	if h == nil || h.Member != m || now.Sub(h.granted) > longest(h.Package) {
		return false
	}
	h.expires = now.Add(LeaseTerm)
	return true
}

func longest(p manifest.InfoHash) time.Duration {
	if p == NoPackage {
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
	s.leases[l.ID] = &held{l, now.Add(LeaseTerm), now}
	for k := range l.Run.Len {
		b.given.Set(l.Run.First + manifest.PieceIndex(k))
	}
}

// Release ends a lease of member m: its connection is closed. What it covered counts as fetched for a moment.
func (s *Steward) Release(now time.Time, m MemberID, id LeaseID) {
	if h := s.leases[id]; h != nil && h.Member == m {
		s.fetched(now, h)
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
	for _, b := range s.packages {
		for i, f := range b.fetched {
			if f.by == m {
				b.given.Clear(i)
				delete(b.fetched, i)
			}
		}
		delete(b.had, m)
	}
}

// Decide answers what can be answered now: it never has more leases out than the site's connections, gives no member
// more than its share, no piece twice, and those first who have had least.
func (s *Steward) Decide(now time.Time) []Answer {
	s.expire(now)
	if now.Before(s.closed) {
		return nil
	}
	s.compare()
	var answers []Answer
	for {
		best := -1
		share := s.share()
		for i, a := range s.asks {
			if a.Holds == 0 && (len(s.leases) >= s.connections || s.holds(a.Ask) >= share) {
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
		if a.Holds != 0 && (s.waiting(a, share) || s.holds(a.Ask) > share) {
			answers = append(answers, Answer{Member: a.Member, Package: a.Package, Stream: a.Stream, Yield: true})
			continue
		}
		answers = append(answers, Answer{Member: a.Member, Package: a.Package, Stream: a.Stream, Lease: s.grant(now, a.Ask)})
	}
	return answers
}

// before orders asks: what is of no package first, for it is short; the slow after all others, then those who had least of
// the package first; among equals, those whose connection is open.
func (s *Steward) before(a, b standing) bool {
	if x, y := a.Package == NoPackage, b.Package == NoPackage; x != y {
		return x
	}
	if x, y := s.slow(a), s.slow(b); x != y {
		return y
	}
	x, y := s.packages[a.Package].had[a.Member], s.packages[b.Package].had[b.Member]
	if x != y {
		return x < y
	}
	return a.Holds != 0 && b.Holds == 0
}

// compare finds the fastest of those who ask, for each package.
func (s *Steward) compare() {
	for _, b := range s.packages {
		b.fastest = 0
	}
	for _, a := range s.asks {
		b := s.packages[a.Package]
		b.fastest = max(b.fastest, a.Link)
	}
}

// slow reports whether the asker's link has less than half the rate of another's who asks, as one on Wi-Fi does. What
// the others read reaches it sooner than what it reads itself, and holds nobody up. A newcomer's link is not known yet.
// What one connection to the origin gave says nothing about the link: whoever had to share the origin with a whole room
// at first would be taken for slow, never be given another run, and never find out.
func (s *Steward) slow(a standing) bool {
	b := s.packages[a.Package]
	return b.had[a.Member] > 0 && 2*a.Link < b.fastest
}

// waiting reports whether, with all connections out, somebody without one has had so much less than the holder a that a
// connection is worth closing.
func (s *Steward) waiting(a standing, share int) bool {
	switch {
	case len(s.leases) < s.connections:
		return false
	case len(s.leases) > s.connections: // two sites have become one
		return true
	}
	mine := s.packages[a.Package].had[a.Member] - turn*a.Limit
	for _, o := range s.asks {
		if o.Holds != 0 || s.holds(o.Ask) >= share || o.Member == a.Member && o.Package != NoPackage {
			continue
		}
		if o.Package != a.Package || s.slow(a) && !s.slow(o) || s.packages[o.Package].had[o.Member] <= mine {
			return true
		}
	}
	return false
}

// share is what one member may hold: K/n, rounded up, while n members hold or ask.
func (s *Steward) share() int {
	n := map[MemberID]bool{}
	for _, a := range s.asks {
		n[a.Member] = true
	}
	for _, h := range s.leases {
		n[h.Member] = true
	}
	return (s.connections + len(n) - 1) / max(1, len(n))
}

// holds is how many leases the asker has: of packages, or of none.
func (s *Steward) holds(a Ask) (n int) {
	for _, h := range s.leases {
		if h.Member == a.Member && (h.Package == NoPackage) == (a.Package == NoPackage) {
			n++
		}
	}
	return n
}

// grant gives a run out of the asker's eligible pieces that nobody reads or has just read. A lease that is held goes on
// under its number; without anything to read it stays as it is, for its connection is open.
func (s *Steward) grant(now time.Time, a Ask) Lease {
	b := s.packages[a.Package]
	if h := s.leases[a.Holds]; h != nil {
		s.fetched(now, h)
		h.Run = Run{}
	}
	free := a.Eligible.Clone()
	free.Without(b.given)
	// Towards the end the runs get short, so that the last pieces come on all connections at once; but not so short that
	// asking for them takes longer than reading them.
	limit := min(a.Limit, max(1, a.Limit/shortest, free.Count()/(4*s.connections)))
	r := NextRun(free, a.After, limit, s.random)
	if r.Len == 0 {
		return Lease{}
	}
	for k := range r.Len {
		b.given.Set(r.First + manifest.PieceIndex(k))
	}
	b.had[a.Member] += r.Len
	h := s.leases[a.Holds]
	if h == nil {
		s.last++
		h = &held{Lease: Lease{ID: s.last, Member: a.Member, Package: a.Package}}
		s.leases[s.last] = h
	}
	h.Run, h.granted, h.expires = r, now, now.Add(LeaseTerm)
	return h.Lease
}

// ledger is what is remembered of a package; nil where its number of pieces is another, or where there are too many.
func (s *Steward) ledger(now time.Time, p manifest.InfoHash, pieces int) *ledger {
	b := s.packages[p]
	switch {
	case b == nil && len(s.packages) < maxPackages:
		b = &ledger{given: NewBitfield(pieces), fetched: map[manifest.PieceIndex]fetch{}, had: map[MemberID]int{}}
		s.packages[p] = b
	case b == nil || b.given.Len() != pieces:
		return nil
	}
	b.used = now
	return b
}

func (s *Steward) fetched(now time.Time, h *held) {
	b := s.packages[h.Package]
	for k := range h.Run.Len {
		b.fetched[h.Run.First+manifest.PieceIndex(k)] = fetch{h.Member, now.Add(justFetched)}
	}
}

// lose gives the pieces of a lease that was not read to its end back.
func (s *Steward) lose(h *held) {
	b := s.packages[h.Package]
	for k := range h.Run.Len {
		b.given.Clear(h.Run.First + manifest.PieceIndex(k))
	}
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
		for i, f := range b.fetched {
			if !now.Before(f.until) {
				b.given.Clear(i)
				delete(b.fetched, i)
			}
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

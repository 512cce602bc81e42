package plan

import "time"

// before orders asks by their class, then those who had least of the package first; among equals, those whose connection
// is open.
func (s *Steward) before(a, b standing) bool {
	if x, y := s.class(a.Ask), s.class(b.Ask); x != y {
		return x < y
	}
	x, y := s.packages[a.Package].had[a.Member], s.packages[b.Package].had[b.Member]
	if x != y {
		return x < y
	}
	return a.Holds != 0 && b.Holds == 0
}

// The classes of askers, by whose turn it is.
const (
	brief  = iota // what is of no package is short
	hungry        // who waits for new pieces has room for them on its link
	fed           // whose link neighbours fill reads the slower beside that
	slow          // what it reads itself reaches it later than what others read
	classes
)

func (s *Steward) class(a Ask) int {
	switch {
	case a.Package == NoPackage:
		return brief
	case s.slow(a):
		return slow
	case a.Fed:
		return fed
	}
	return hungry
}

// askedLately is how long whoever asked counts as one who still needs pieces: it may be reading a run.
const askedLately = LeaseTerm

// compare finds the fastest of those who ask, for each package, and whose links are known by now.
func (s *Steward) compare(now time.Time) {
	for _, b := range s.packages {
		if now.Sub(b.asked) > askedLately {
			b.fastest = 0
		}
		for m, since := range b.since {
			if now.Sub(since) >= linkKnown {
				b.since[m] = time.Time{}
			}
		}
	}
	for _, a := range s.asks {
		s.packages[a.Package].hears(now, a.Ask)
	}
}

// linkKnown is how long after its first ask a machine's link is known, if anything came by it.
const linkKnown = 5 * time.Second

// hears takes an asker's link into account.
func (b *ledger) hears(now time.Time, a Ask) {
	b.fastest = max(b.fastest, a.Link)
	if 2*a.Link >= b.fastest {
		b.asked = now
	}
	if _, asked := b.since[a.Member]; !asked && len(b.since) < maxAsks {
		b.since[a.Member] = now
	}
}

// slow reports whether the asker's link has less than half the rate of another's who asks, as one on Wi-Fi does. What
// the others read reaches it sooner than what it reads itself, and holds nobody up. A newcomer's link is not known yet.
// What one connection to the origin gave says nothing about the link: whoever had to share the origin with a whole room
// at first would be taken for slow, cut off, never be given another run, and never find out. Nor does it stay unknown until
// a run is granted: of two machines at a tenth one had its first pieces when the others lacked only those, and took six
// seconds to pass them on.
func (s *Steward) slow(a Ask) bool {
	b := s.packages[a.Package]
	since, asked := b.since[a.Member]
	return asked && since.IsZero() && a.Link > 0 && 2*a.Link < b.fastest
}

// Outpaced reports whether half of the others, or more, have links of more than twice the rate that m's has, as far as they
// asked. One that lies about its link does not make everybody else slow.
func (s *Steward) Outpaced(m MemberID) bool {
	link, others, faster := s.links[m], 0, 0
	for o, l := range s.links {
		if o != m {
			others++
		}
		if l > 2*link {
			faster++
		}
	}
	return link > 0 && faster > 0 && 2*faster >= others
}

// isServed reports whether the asker gets more from faster machines that still need pieces than it could read beside that.
func (s *Steward) isServed(a Ask) bool { return a.Fed && s.slow(a) }

// holdsUp reports whether a run lasts because the holder's link is slow, and somebody faster waits for the connection.
func (s *Steward) holdsUp(now time.Time, h *held) bool {
	if h.Package == NoPackage || now.Sub(h.granted) <= slowRun && !h.Front {
		return false
	}
	s.compare(now)
	if h.Front {
		return s.outrun(h)
	}
	holder := standing{Ask: Ask{Member: h.Member, Package: h.Package, Link: h.Link, Holds: h.ID}}
	return s.slow(holder.Ask) && s.waiting(holder, s.shares())
}

// waiting reports whether, with all connections out, somebody without one is so much better placed than the holder a, or
// has had so much less, that a connection is worth closing. For the last second's pieces it is not, unless the holder is
// slow.
func (s *Steward) waiting(a standing, shares [classes]int) bool {
	switch {
	case len(s.leases) < s.connections:
		return false
	case len(s.leases) > s.connections: // two sites have become one
		return true
	}
	class, full := s.class(a.Ask), turn*a.Limit
	mine := s.packages[a.Package].had[a.Member] - full
	served := class == slow || s.leases[a.Holds].pieces >= full // its turn is over
	ends := class != slow && s.left(a.Ask) < s.connections*a.Limit
	for _, o := range s.asks {
		c := s.class(o.Ask)
		switch {
		case o.Holds != 0 || s.holds(o.Ask) >= shares[c] || o.Member == a.Member && o.Package != NoPackage:
		case o.Package != a.Package:
			return true
		case !ends && (c < class && served || c == class && s.packages[o.Package].had[o.Member] <= mine):
			return true
		}
	}
	return false
}

// left is how many pieces the asker could still be given.
func (s *Steward) left(a Ask) int {
	free := a.Eligible.Clone()
	free.Without(s.packages[a.Package].given)
	return free.Count()
}

// shares is what one member of each class may hold: K/n, rounded up, while n members hold or ask whose turn it is as well.
func (s *Steward) shares() (shares [classes]int) {
	best := map[MemberID]int{}
	note := func(m MemberID, class int) {
		if c, ok := best[m]; !ok || class < c {
			best[m] = class
		}
	}
	for _, a := range s.asks {
		note(a.Member, s.class(a.Ask))
	}
	for _, h := range s.leases {
		note(h.Member, h.class)
	}
	n := 0
	for class := range shares {
		for _, c := range best {
			if c == class {
				n++
			}
		}
		shares[class] = (s.connections + n - 1) / max(1, n)
	}
	shares[brief] = shares[hungry]
	return shares
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

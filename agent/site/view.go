package site

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"

	"handout/agent/plan"
)

// Member is a machine of the site.
type Member struct {
	ID        plan.MemberID
	Peer      netip.AddrPort // where it takes neighbours
	Port      netip.AddrPort // where it takes members, and questions in dialects
	Installed bool
	Shut      Doors     // that nobody came in by, as it says itself
	Slow      bool      // it was steward and its link too slow for that, as it says itself
	Since     time.Time // when this machine first met it
	Steward   bool
	Mine      bool // it is this machine
}

// Members are the living members, without this machine.
func (s *Site) Members() []Member {
	return slices.DeleteFunc(s.All(), func(m Member) bool { return m.Mine })
}

// All are the living members, this machine first, then those that this machine has known longest.
func (s *Site) All() []Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Member, 0, len(s.members))
	for id, it := range s.members {
		m := it.Member
		m.Since, m.Steward, m.Mine = s.since[id], id == s.steward, id == s.id
		if m.Mine {
			m.Shut, m.Installed = s.reach.Shut, s.o.Installed
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int {
		if a.Mine != b.Mine {
			if a.Mine {
				return -1
			}
			return 1
		}
		return a.Since.Compare(b.Since)
	})
	return all
}

// member is a living one: how the membership knows it, and what it said of itself, read once and not at each look.
type member struct {
	node *memberlist.Node
	Member
}

// sayingOf is what a member says of itself. Who says nothing of its addresses is where the membership knows it.
func sayingOf(n *memberlist.Node) (m meta) {
	if json.Unmarshal(n.Meta, &m) != nil {
		m = meta{} // a member that says nonsense takes no neighbours
	}
	m.At = m.At[:min(len(m.At), maxSaid)]
	if ip, ok := netip.AddrFromSlice(n.Addr); ok && len(m.At) == 0 {
		m.At = []netip.Addr{ip.Unmap()}
	}
	return m
}

// maxSaid is how many addresses of a member are looked at.
const maxSaid = 8

func (s *Site) memberOf(n *memberlist.Node) *member {
	m := sayingOf(n)
	var at netip.Addr
	if len(m.At) > 0 {
		at = m.At[0]
	}
	if plan.MemberID(n.Name) != s.id {
		if reach, ok := s.reachable(m.At); ok {
			at = s.inZone(n.Name, reach, n.Port)
		} else if was := s.members[plan.MemberID(n.Name)]; was != nil {
			at = was.Port.Addr() // this machine is now where nobody reaches it
		}
	}
	return &member{n, Member{
		ID: plan.MemberID(n.Name), Installed: m.Installed, Shut: m.Shut & allDoors, Slow: m.Slow,
		Port: netip.AddrPortFrom(at, n.Port),
		Peer: netip.AddrPortFrom(at, uint16(min(max(m.Peer, 0), 65535))),
	}}
}

// enter notes that a member lives, or what it says of itself now.
func (s *Site) enter(n *memberlist.Node) {
	m := s.memberOf(n)
	was := s.members[m.ID]
	s.members[m.ID], s.alive[m.ID] = m, true
	s.leaves(was, m)
	if s.port != nil && m.ID != s.id {
		s.port.members.note(n.Name, m.Port)
	}
}

// strike forgets a member.
func (s *Site) strike(id plan.MemberID) {
	delete(s.members, id)
	delete(s.alive, id)
	delete(s.since, id)
	delete(s.follows, id)
	s.port.members.forget(string(id))
}

// Status is the site at this moment, for people.
type Status struct {
	Members     int          // living, this machine included
	Steward     string       // its address; "this machine"
	Connections int          // leases out in the site, as the steward said within a term; else this machine's own
	Mine        int          // of these, this machine's
	Reach       Reach        // whether others can reach this machine
	Unreachable []netip.Addr // other members that can't be reached
}

const (
	// freshFor is how old the steward's word on connections may be for those who ask for the newest.
	freshFor = time.Second
	// statusTime is how long its answer is waited for. On a LAN it is there within milliseconds.
	statusTime = 300 * time.Millisecond
)

// StatusNow is Status after the steward was asked how many leases are out, unless it said so a moment ago: to a machine that
// reads nothing it says nothing by itself.
func (s *Site) StatusNow(ctx context.Context) Status {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	for asked := false; ; asked = true {
		s.mu.Lock()
		id, ok := s.who()
		fresh := !ok || id == s.id || s.closed || time.Since(s.siteConnAt) < freshFor
		if !fresh && !asked {
			s.reportTo(id)
		}
		s.mu.Unlock()
		if fresh || ctx.Err() != nil {
			return s.Status()
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Status tells who is steward and who reads the origin.
func (s *Site) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Members: len(s.members), Mine: len(s.held), Connections: s.siteConn, Reach: s.reach}
	if time.Since(s.siteConnAt) > plan.LeaseTerm {
		st.Connections = st.Mine // every lease of which it spoke has been renewed since, or has ended
	}
	switch id, ok := s.who(); {
	case !ok:
		st.Steward = "nobody"
	case id == s.id:
		st.Steward = "this machine"
		st.Connections = s.office.Connections(time.Now())
	default:
		st.Steward = s.members[id].Port.Addr().String()
	}
	for id, m := range s.members {
		if id != s.id && s.shutOf(id) != 0 {
			st.Unreachable = append(st.Unreachable, m.Port.Addr())
		}
	}
	slices.SortFunc(st.Unreachable, netip.Addr.Compare)
	return st
}

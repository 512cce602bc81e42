package site

import (
	"errors"
	"net/netip"
	"time"

	"handout/agent/plan"
)

// Names cost nothing: one machine can be as many members as it likes. So wherever a number of members decides something, or
// each of them has to be waited for in turn, the machines count, by their addresses.

// host is the machine that a member is of.
type host struct {
	at netip.Addr
	is plan.MemberID // of agents that share this machine, who are told apart; else ""
}

// hostOf is the machine of a living member.
func (s *Site) hostOf(id plan.MemberID) host {
	m := s.members[id]
	if m == nil {
		return host{is: id}
	}
	at := m.Port.Addr()
	if me := s.members[s.id]; id == s.id || at.IsLoopback() || me != nil && me.Port.Addr() == at {
		return host{at, id}
	}
	return host{at: at}
}

// maxOfOneHost is more than the agents, and the fetches at the same time, that a machine has; those of this machine are not
// counted.
const maxOfOneHost = 64

var errCrowd = errors.New("too many members")

// roomFor is an error if a newcomer at that address would be one too many: of its host, or of all.
func (s *Site) roomFor(id plan.MemberID, at netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.members[id] != nil {
		return nil
	}
	same := 0
	for k, m := range s.members {
		if m.Port.Addr() == at && s.hostOf(k).is == "" {
			same++
		}
	}
	if same >= maxOfOneHost || len(s.members) >= maxMembers {
		return errCrowd
	}
	return nil
}

// hostsOn is how many machines have a living member on a roll that is not passed over.
func (s *Site) hostsOn(r roll) int {
	passed := s.passedNow(r)
	all := map[host]bool{}
	for _, id := range r.Order {
		if s.alive[id] && !passed[id] {
			all[s.hostOf(id)] = true
		}
	}
	return len(all)
}

// passedNow are those on a roll that are passed over: with a steward that does not serve this machine all members of the
// same host.
func (s *Site) passedNow(r roll) map[plan.MemberID]bool {
	if len(s.passed) == 0 {
		return nil
	}
	now := time.Now()
	passed, hosts := map[plan.MemberID]bool{}, map[host]bool{}
	for id, p := range s.passed {
		switch {
		case !now.Before(p.until):
			delete(s.passed, id)
		case p.refuses():
			hosts[s.hostOf(id)] = true
			passed[id] = true
		default:
			passed[id] = true
		}
	}
	if len(hosts) > 0 {
		for _, id := range r.Order {
			if hosts[s.hostOf(id)] {
				passed[id] = true
			}
		}
	}
	return passed
}

// refuse is how many machines do not serve this one.
func (s *Site) refuse() int {
	hosts := map[host]bool{}
	for id, p := range s.passed {
		if p.refuses() {
			hosts[s.hostOf(id)] = true
		}
	}
	return len(hosts)
}

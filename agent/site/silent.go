package site

import (
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"handout/agent/plan"
)

// passing is why a member of the roll is passed over, and until when.
type passing struct {
	until time.Time
	why   reason
}

type reason int

const (
	isDeaf   reason = iota // it answers the membership and not this machine
	isUnfair               // it answers, and grants nothing to this machine, which is stalled
	isAbsent               // it does not even answer the membership, which may not know yet
)

const (
	// passOverFor is how long a steward is passed over. One that was only slow to answer is followed again at its next word.
	passOverFor = 30 * time.Second
	// absentFor is enough for the membership to find out for itself.
	absentFor = 6 * time.Second
	// deafAfter without any word, though it owes one, makes a steward deaf: some three messages were lost, or it is gone
	// and the membership does not know yet. After doubtAfter it is asked for a sign of life. One that is heard and grants
	// nothing to a machine that is stalled is passed over after unfairAfter.
	deafAfter   = plan.LeaseTerm / 2
	doubtAfter  = deafAfter / 2
	unfairAfter = 2 * time.Second
	// inOfficeAfter is when a new steward has no more reason to hold back.
	inOfficeAfter = plan.LeaseTerm + time.Second
	// lastResort is how many living members may be passed over before a machine helps itself.
	lastResort = 2

	// sounded is how many at the head of the roll are asked for a sign of life at once: the next ones may have died with
	// the steward, and to find each of them deaf would take deafAfter.
	sounded = 8
	// soundTries so many unanswered questions are no accident.
	soundTries = 2
	// onTheWay is for the last words of a steward that died.
	onTheWay = 200 * time.Millisecond
	// maxEnded bounds what members can make a steward remember.
	maxEnded = 4096
)

// passOver has the next on the roll asked for a while.
func (s *Site) passOver(id plan.MemberID, why reason) {
	if id == s.id || s.members[id] == nil {
		return
	}
	now := time.Now()
	before, passed := s.passed[id]
	switch {
	case passed && (before.why == isUnfair || before.why == why):
		return
	case why != isAbsent:
		said := "does not answer"
		if why == isUnfair {
			said = "grants nothing to this machine, which is stalled"
		}
		s.log.Warn("the steward "+said+": the next member is asked", "steward", s.members[id].Port)
		s.passed[id] = passing{now.Add(passOverFor), why}
	default:
		s.log.Debug("member gives no sign of life", "member", s.members[id].Port)
		s.passed[id] = passing{now.Add(absentFor), isAbsent}
	}
	s.wake()
	s.reckon()
}

// refuse is how many living members do not serve this machine.
func (s *Site) refuse() (n int) {
	for _, p := range s.passed {
		if p.why != isAbsent {
			n++
		}
	}
	return n
}

// sound asks those at the head of the roll for a sign of life, in the background, and passes over who gives none, unless
// nobody does: then it may be this machine that is cut off.
func (s *Site) sound() {
	if s.sounding || s.list == nil || s.closed {
		return
	}
	s.sounding = true
	var asked []*memberlist.Node
	for _, id := range s.roll.Order {
		if m := s.members[id]; m != nil && id != s.id && len(asked) < sounded {
			asked = append(asked, m.node)
		}
	}
	s.work.Go(func() {
		silent := make([]bool, len(asked))
		var all sync.WaitGroup
		for k, n := range asked {
			all.Go(func() { silent[k] = !s.givesSign(n) })
		}
		all.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sounding = false
		if s.closed || !slices.Contains(silent, false) {
			return
		}
		for k, n := range asked {
			if silent[k] {
				s.passOver(plan.MemberID(n.Name), isAbsent)
			}
		}
	})
}

func (s *Site) givesSign(n *memberlist.Node) bool {
	for range soundTries {
		if _, err := s.list.Ping(n.Name, &net.UDPAddr{IP: n.Addr, Port: int(n.Port)}); err == nil {
			return true
		}
	}
	return false
}

// turnFrom notes since when a steward that is followed no more has been silent. It may have died then.
func (s *Site) turnFrom(id plan.MemberID) {
	switch _, passed := s.passed[id]; {
	case s.members[id] != nil && !passed: // another is better
		s.silent = time.Time{}
	case s.silent.IsZero():
		s.silent = s.owed
	}
	s.owed = time.Time{}
}

// leasesEnd is when the leases that a former steward gave have run out. What it was asked in vain it has not granted.
func (s *Site) leasesEnd(now time.Time) time.Time {
	end := now.Add(plan.LeaseTerm)
	if silent := s.silent.Add(plan.LeaseTerm + onTheWay); !s.silent.IsZero() && silent.Before(end) {
		return silent
	}
	return end
}

// hasEnded notes that a lease was given back to this machine: an earlier report of it may come later.
func (s *Site) hasEnded(now time.Time, id plan.LeaseID) {
	if len(s.ended) >= maxEnded {
		clear(s.ended)
	}
	for id, at := range s.ended {
		if now.Sub(at) > 2*plan.LeaseTerm {
			delete(s.ended, id)
		}
	}
	s.ended[id] = now
}

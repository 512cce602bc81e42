package site

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"handout/agent/plan"
)

// passing is why a member of the roll is passed over, and until when.
type passing struct {
	until time.Time
	why   reason
}

// refuses reports whether it lives and does not serve this machine.
func (p passing) refuses() bool { return p.why == isDeaf || p.why == isUnfair }

type reason int

const (
	isDeaf   reason = iota // it answers the membership and not this machine
	isUnfair               // it answers, and grants nothing to this machine, which is stalled
	isAbsent               // it does not even answer the membership, which may not know yet
	isGone                 // its machine says that nobody listens there: whatever it held ended with it
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
	// soundedAtOffice is how many a new steward asks that have not reported.
	soundedAtOffice = 64
	// soundTries so many unanswered questions are no accident.
	soundTries = 2
	// onTheWay is for the last words of a steward that died.
	onTheWay = 200 * time.Millisecond
	// reportsAfter is how soon members that have not reported to a new steward are asked for a sign of life.
	reportsAfter = 100 * time.Millisecond
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
	case passed && (before.why == isUnfair || before.why == isGone || before.why == why):
		return
	case why == isDeaf || why == isUnfair:
		said := "does not answer"
		if why == isUnfair {
			said = "grants nothing to this machine, which is stalled"
		}
		s.log.Warn("the steward "+said+": the next member is asked", "steward", s.members[id].Port)
		s.passed[id] = passing{now.Add(passOverFor), why}
	default:
		s.log.Debug("member gives no sign of life", "member", s.members[id].Port, "gone", why == isGone)
		s.passed[id] = passing{now.Add(absentFor), why}
	}
	s.wake()
	s.reckon()
}

// Doubt notes that a machine hung up, by where it takes neighbours: if it is the steward, the next ones ought to know soon
// whether it is gone.
func (s *Site) Doubt(peer netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.members[s.steward]; m != nil && m.ID != s.id && m.Peer == peer {
		s.sound()
	}
}

// sound asks those at the head of the roll for a sign of life.
func (s *Site) sound() {
	s.soundOut(sounded, func(plan.MemberID) bool { return true })
}

// soundOut asks some on the roll, n at most, for a sign of life, in the background, and passes over who gives none, unless nobody does:
// then it may be this machine that is cut off.
func (s *Site) soundOut(n int, which func(plan.MemberID) bool) {
	if s.sounding || s.list == nil || s.closed {
		return
	}
	var asked []*member
	for _, id := range s.roll.Order {
		if m := s.members[id]; m != nil && id != s.id && len(asked) < n && which(id) {
			asked = append(asked, m)
		}
	}
	if len(asked) == 0 {
		return
	}
	s.sounding = true
	s.work.Go(func() {
		signs := make([]sign, len(asked))
		var all sync.WaitGroup
		for k, m := range asked {
			all.Go(func() { signs[k] = s.signOf(m) })
		}
		all.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sounding = false
		if s.closed {
			return
		}
		cutOff := !slices.Contains(signs, ofLife) && !slices.Contains(signs, ofDeath)
		for k, m := range asked {
			switch {
			case signs[k] == ofDeath:
				s.passOver(m.ID, isGone)
			case signs[k] == none && !cutOff:
				s.passOver(m.ID, isAbsent)
			}
		}
		if s.steward == s.id && s.reported != nil {
			s.allReported(time.Now())
		}
	})
}

type sign int

const (
	none sign = iota
	ofLife
	ofDeath
)

// signOf asks a member for a sign. A machine that runs refuses connections where nobody listens, and has closed those that an
// ended process had to an origin. A firewall may refuse them too: that a member is gone is believed only if it does not answer
// the membership either.
func (s *Site) signOf(m *member) sign {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	refused := make(chan struct{})
	go func() {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", m.Port.String())
		switch {
		case err == nil:
			c.Close() // somebody listens, and may hang all the same
		case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, wsaeconnrefused):
			close(refused)
		}
	}()
	for range soundTries {
		if _, err := s.list.Ping(m.node.Name, &net.UDPAddr{IP: m.node.Addr, Port: int(m.node.Port)}); err == nil {
			return ofLife
		}
		select {
		case <-refused:
			return ofDeath
		default:
		}
	}
	return none
}

// wsaeconnrefused is what Windows calls ECONNREFUSED.
const wsaeconnrefused = syscall.Errno(10061)

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

package site

import (
	"slices"
	"time"

	"handout/agent/plan"
)

const (
	// tellEvery bounds how often a steward tells a roll that keeps changing while a room starts.
	tellEvery = 100 * time.Millisecond
	// While its site reads, a steward repeats its roll to so few members every remindEvery. Where a message got lost while
	// the room met there may be two stewards who both think that they are known to everybody: somebody will object.
	remindEvery = time.Second
	reminded    = 3
	// meetEvery bounds how often a roll with unknown names on it makes this machine ask around, twice as long each time
	// that it is in vain: who is on it may be out of reach.
	meetEvery  = 500 * time.Millisecond
	meetRarely = time.Minute
)

// hear takes a checked message.
func (s *Site) hear(m *message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if m.Roll != nil {
		s.follow(m.From, *m.Roll)
		if m.From == s.steward && m.From != s.id && m.Roll.Version != s.heard && s.members[m.From] != nil {
			s.heard = m.Roll.Version
			s.reportTo(m.From)
		}
	}
	if m.From == s.id {
		return
	}
	if s.members[m.From] == nil { // not of this site, or no longer, or not yet: it would take this machine for deaf
		s.meetAgain()
		return
	}
	if m.Digest != "" && s.o.Heard != nil {
		s.o.Heard(Told{Member: s.members[m.From].Port, Digest: m.Digest})
	}
	now := time.Now()
	if m.From == s.steward {
		s.owed, s.silent, s.spoke = time.Time{}, time.Time{}, now
	}
	if p, passed := s.passed[m.From]; passed && p.why != isUnfair {
		delete(s.passed, m.From) // it speaks
		s.reckon()
	}
	if m.Starving {
		s.help.hears(now, s.hostOf(m.From))
	}
	if m.Ask != nil || m.Release != nil || m.Report {
		s.serveMember(now, m)
	}
	if a := m.Answer; a != nil {
		l := a.Lease.lease(s.id)
		s.takeAnswer(m.From, plan.Answer{Member: s.id, Package: l.Package, Stream: a.Stream, Seq: a.Seq, Lease: l, Yield: a.Yield})
	}
	if r := m.Renewed; r != nil && m.From == s.steward {
		s.siteConn, s.siteConnAt = r.Connections, now
		if r.Report {
			s.unheard = 0
		}
		for _, id := range r.IDs {
			if l := s.held[id]; l != nil && s.asked.After(l.renewed) {
				l.renewed = s.asked
			}
		}
		for _, id := range r.Ended {
			if l := s.held[id]; l != nil {
				l.lose() // it is held until it is given back, its connection closed
			}
		}
	}
}

// follow takes a roll that is better than the one followed so far; whoever sent a worse one is told.
func (s *Site) follow(from plan.MemberID, r roll) {
	if r.living(s.alive) < len(r.Order) {
		s.meetAgain()
	}
	switch {
	case s.roll.better(r, s.hostsOn):
		was := s.roll.Founder
		s.roll, s.meetPause = r, meetEvery
		s.reckon()
		if heir := slices.Index(r.Order, from); was == r.Founder && from != s.steward && heir >= 0 && heir < sounded {
			s.sound() // an heir keeps the roll: it may know that the steward is gone
		}
	case r.better(s.roll, s.hostsOn) && from != s.id:
		mine := s.roll
		s.send(from, message{Roll: &mine})
	}
}

// meetAgain has another member tell whom it knows. Gossip about a member that came while this machine did may have
// passed it by, and the membership's own rounds are half a minute apart.
func (s *Site) meetAgain() {
	now := time.Now()
	if s.list == nil || now.Sub(s.met) < s.meetPause {
		return
	}
	// The steward knows most, or else any may know more: two that know only each other could ask in turns.
	first := s.meetPause <= meetEvery && s.steward != s.id
	for id, m := range s.members {
		if id != s.id && (!first || id == s.steward) {
			s.met, s.meetPause = now, min(2*max(s.meetPause, meetEvery/2), meetRarely)
			at := m.Port.String()
			s.work.Go(func() { s.list.Join([]string{at}) }) // what fails now is tried again
			return
		}
	}
}

// reckon finds out who is steward now and, if it is this machine, keeps the roll.
func (s *Site) reckon() {
	if s.closed {
		return // the membership may still tell of deaths
	}
	id, ok := s.who()
	if !ok {
		// Nobody on the roll lives: it was of a site that is gone.
		s.roll = roll{Founder: s.id, Version: 1, Order: []plan.MemberID{s.id}}
		id = s.id
	}
	now := time.Now()
	resort := s.isResort(now)
	switch {
	case id != s.steward:
		s.turnFrom(s.steward)
		s.steward, s.followed, s.resort, s.unheard = id, now, resort, 0
		if id == s.id {
			s.takeOffice(now)
		} else {
			s.reportTo(id)
		}
	case id == s.id && resort != s.resort:
		s.resort = resort
		s.takeOffice(now)
	}
	if id != s.id || resort || s.isAhead(now) {
		return
	}
	if s.roll.keep(s.known(now), s.rank) {
		s.untold = true
	}
	if s.untold && now.Sub(s.told) >= tellEvery {
		s.told, s.untold = now, false
		r := s.roll
		for m := range s.members {
			if m != s.id {
				s.send(m, message{Roll: &r})
			}
		}
	}
	if s.untold {
		s.wake()
	}
}

// paceAfter is how long others have been faster before a steward makes room for them: links are known after a second of
// reading.
const paceAfter = time.Second

// mindPace has a steward go to the end of the roll whose link is slow: what it is asked and answers waits in the queues before
// that, and connections are idle meanwhile. It stays there.
func (s *Site) mindPace(now time.Time) {
	outpaced := s.steward == s.id && !s.resort && !s.slow && s.office.Outpaced(s.id)
	if plan.Lasting(now, &s.outpaced, outpaced) < paceAfter {
		return
	}
	s.slow, s.told = true, time.Time{} // the new roll is told at once
	s.log.Info("most have faster links than this machine: another gives out origin connections")
	s.work.Go(func() { s.list.UpdateNode(time.Second) }) // what gossip loses now comes with the next exchange
}

// remind repeats the roll to some members, any of them.
func (s *Site) remind(now time.Time) {
	if s.steward != s.id || s.resort || s.office.Idle() || now.Sub(s.remindedAt) < remindEvery {
		return
	}
	s.remindedAt = now
	r, told := s.roll, 0
	for m := range s.members {
		if m != s.id && told < reminded {
			s.send(m, message{Roll: &r})
			told++
		}
	}
}

// takeOffice makes this machine steward: leases that a former one gave count as held until all have reported, or a term
// has passed.
func (s *Site) takeOffice(now time.Time) {
	connections := s.o.Connections
	if s.resort {
		connections = 1
	}
	s.office = plan.NewSteward(connections, firstLease(), s.random)
	s.reported, s.allTold = map[plan.MemberID]bool{s.id: true}, false
	for _, l := range s.held {
		s.office.Adopt(now, l.Lease, l.pieces)
		l.renewed = now
	}
	if !s.help.on(now) { // else it has waited for long enough
		s.office.Hold(s.leasesEnd(now))
	}
	s.silent = time.Time{}
	s.untold = true
	if !s.resort {
		s.roll.Version++ // whoever hears a new roll reports, again if it did before this machine was in office
	}
	s.allReported(now)
	s.log.Info("this machine gives out origin connections", "connections", connections, "members", len(s.members))
}

// allReported lets a new steward begin, if everybody who lives has told what it holds.
func (s *Site) allReported(now time.Time) {
	for m := range s.members {
		if s.isAwaited(m) {
			return
		}
	}
	s.office.Hold(now)
	s.allTold = true
}

// isAwaited reports whether a new steward has yet to hear what a member holds. From a steward that was unfair no report is
// awaited: whatever it holds, it holds by nobody's leave.
func (s *Site) isAwaited(m plan.MemberID) bool {
	p, passed := s.passed[m]
	return !s.reported[m] && !(passed && (p.why == isUnfair || p.why == isGone))
}

// reportTo tells a new steward which leases this machine holds, none included: it waits to hear from everybody.
func (s *Site) reportTo(id plan.MemberID) {
	m := message{Report: true}
	for _, l := range s.held {
		m.Holds = append(m.Holds, wire(l.Lease, l.pieces))
	}
	s.asked = time.Now()
	s.unheard++
	s.question(id, m)
}

// serveMember is a steward's work on a message.
func (s *Site) serveMember(now time.Time, m *message) {
	var said *renewed
	s.wake()
	if s.steward != s.id {
		// Asked by somebody who follows another roll, or who passes the steward over. In the first case it will learn
		// soon. In the second it is served once this machine, which asks now, finds the steward deaf too; what it holds
		// it may go on holding.
		mine := s.roll
		s.send(m.From, message{Roll: &mine})
		s.reportTo(s.steward)
		if m.Ask != nil && now.Sub(s.spoke) > doubtAfter {
			s.sound()
		}
		m.Ask = nil
	}
	if m.Report {
		said = &renewed{Report: s.steward == s.id}
		if s.steward == s.id && !s.follows[m.From] {
			s.follows[m.From] = true
			s.reckon()
		}
		for _, w := range m.Holds {
			l := w.lease(m.From)
			if _, ended := s.ended[l.ID]; ended {
				continue // the report was overtaken by the release
			}
			s.office.Adopt(now, l, w.Pieces)
			s.office.Reads(now, m.From, l.ID, l.Read)
			if s.office.Renew(now, m.From, l.ID) {
				said.IDs = append(said.IDs, l.ID)
			} else {
				said.Ended = append(said.Ended, l.ID)
			}
		}
		if s.reported != nil && !s.reported[m.From] {
			s.reported[m.From] = true
			s.allReported(now)
		}
	}
	if m.Release != nil {
		s.office.Release(now, m.From, m.Release.ID, m.Release.After)
		s.hasEnded(now, m.Release.ID)
	}
	if m.Ask != nil {
		s.office.Ask(now, m.Ask.ask(m.From))
		said = &renewed{} // heard; the answer may take a while
	}
	s.decide()
	if said != nil {
		said.Connections = s.office.Connections(now)
		s.send(m.From, message{Renewed: said})
	}
}

// decide answers what this machine, if it is steward, can answer now.
func (s *Site) decide() {
	if s.steward != s.id || s.isUnsettled(time.Now()) {
		return
	}
	for _, a := range s.office.Decide(time.Now()) {
		if a.Member == s.id {
			s.answered(s.id, a)
			continue
		}
		a.Lease.Package = a.Package
		s.send(a.Member, message{Answer: &wireAnswer{Stream: a.Stream, Seq: a.Seq, Lease: wire(a.Lease, 0), Yield: a.Yield}})
	}
}

// takeAnswer takes a steward's answer. One that comes from whom this machine follows no more is refused: it may have told the
// new steward already what it holds.
func (s *Site) takeAnswer(from plan.MemberID, a plan.Answer) {
	switch {
	case from == s.steward:
		s.answered(from, a)
	case a.Lease.Run.Len > 0 && s.held[a.Lease.ID] == nil:
		s.send(from, message{Release: &wireRelease{ID: a.Lease.ID, After: a.Lease.Run.First}})
	}
}

// answered hands an answer to the stream that waits for it. A lease that nobody waits for any more goes back.
func (s *Site) answered(from plan.MemberID, a plan.Answer) {
	if w := s.waiting[line{a.Package, a.Stream}]; w != nil && (a.Seq == 0 || a.Seq >= w.first) {
		select {
		case w.answer <- a:
			return
		default:
		}
	}
	if a.Lease.Run.Len == 0 || s.held[a.Lease.ID] != nil {
		return
	}
	if from == s.id {
		s.office.Release(time.Now(), s.id, a.Lease.ID, a.Lease.Run.First)
		return
	}
	s.send(from, message{Release: &wireRelease{ID: a.Lease.ID, After: a.Lease.Run.First}})
}

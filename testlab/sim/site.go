package main

import (
	"fmt"
	"time"

	"handout/agent/plan"
	"handout/manifest"
)

const (
	serveEvery = 50 * time.Millisecond
	renewEvery = plan.LeaseTerm / 4
	// holdsFor is how long a holder believes in its lease, from the moment it asked for it or for its renewal: the steward
	// counts from later, so that no lease is given to another while its holder still reads.
	holdsFor  = plan.LeaseTerm - 2*serveEvery
	deafAfter = plan.LeaseTerm / 2
	deafFor   = 5 * time.Second
	unfairFor = 30 * time.Second
	// toldAll is how often members tell each other all they know, so that a missed newcomer is heard of after all.
	toldAll = 10 * time.Second
)

// A member is a machine's part in the site: whom it believes to be steward, and the office if that is itself. It stands
// for agent/site, whose messages need a real network; the steward in it is the real one. What it does on top of carrying
// messages was found here to be needed: a holder's term ends before the steward's, a new steward lets everybody report
// again, and one that refuses a stalled machine is passed over like a deaf one.
type member struct {
	steward  *machine
	since    moment            // when it began to follow the steward
	owed     moment            // since when the steward owes an answer; 0: it doesn't
	known    map[*machine]bool // heard of from others before the membership brought it
	passed   map[*machine]moment
	met      moment // since when it follows whom all will follow; never: it has not met the site yet
	office   *plan.Steward
	terms    int
	reported map[*machine]bool // since it took office; nil: all have
	renewed  moment
}

var pkg = manifest.InfoHash{1}

func (m *machine) name() plan.MemberID { return plan.MemberID(fmt.Sprintf("%04d", m.id)) }

// join makes a machine a site of its own.
func (m *machine) join() {
	b := &m.member
	b.steward, b.met = m, never
	b.office = m.newOffice()
	m.serve()
}

func (m *machine) newOffice() *plan.Steward {
	m.member.terms++
	return plan.NewSteward(m.w.k, plan.LeaseID(m.id<<40|m.member.terms<<32), m.w.random.IntN)
}

// sees reports whether o, by all that has reached m, is a living member.
func (m *machine) sees(o *machine) bool {
	w := m.w
	if o == m {
		return true
	}
	if m.site != o.site && w.now < w.oneSite || o.starts > w.now {
		return false
	}
	if o.died != 0 && w.now >= o.died+w.between(w.detect, dice(w.seed, m, o, 1)) {
		return false
	}
	if m.member.known[o] {
		return true
	}
	a, b := m, o // two machines meet each other at the same moment
	if a.id > b.id {
		a, b = b, a
	}
	late := w.between(w.view, dice(w.seed, a, b, 2))
	if dice(w.seed, a, b, 3) < w.missing {
		late += moment(dice(w.seed, a, b, 4) * float64(toldAll))
	}
	since := max(m.starts, o.starts)
	if m.site != o.site {
		since = max(since, w.oneSite)
	}
	return w.now >= since+late
}

// dice is a number in [0, 1) that is always the same for the two machines.
func dice(seed uint64, a, b *machine, salt uint64) float64 {
	x := seed*0x9e3779b97f4a7c15 + uint64(a.id)<<32 + uint64(b.id)<<8 + salt
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return float64((x^x>>31)>>11) / (1 << 53)
}

// follows is who is steward as m sees it: the longest standing of those it sees and has not passed over.
func (m *machine) follows() *machine {
	for _, o := range m.w.standing {
		if o.starts > m.w.now {
			break
		}
		if m.member.passed[o] <= m.w.now && m.sees(o) {
			return o
		}
	}
	return m
}

// serve is the member's clock.
func (m *machine) serve() {
	if m.died != 0 {
		return
	}
	b := &m.member
	m.reckon()
	now := m.w.now
	if now-b.renewed >= renewEvery {
		b.renewed = now
		m.report()
	}
	for _, s := range m.streams {
		if s.lease != nil && now-s.lease.renewed >= holdsFor {
			s.lose()
		}
	}
	if b.owed != 0 && now-b.owed > deafAfter {
		m.passOver(b.steward, deafFor)
	}
	if b.steward == m {
		m.allReported()
		m.decideLeases()
	}
	m.w.after(serveEvery, m.serve)
}

// reckon finds out who is steward now.
func (m *machine) reckon() {
	b := &m.member
	now := m.follows()
	if now == m.w.first(m.site) {
		b.met = min(b.met, m.w.now)
	}
	if now == b.steward {
		return
	}
	b.steward, b.owed, b.since = now, 0, m.w.now
	if now != m {
		m.reportTo(now)
		return
	}
	b.office = m.newOffice()
	b.reported = map[*machine]bool{m: true}
	for _, s := range m.streams {
		if s.lease != nil {
			b.office.Adopt(m.w.time(), s.lease.Lease, m.w.pieces)
			s.lease.renewed = m.w.now
		}
	}
	b.office.Hold(m.w.time().Add(plan.LeaseTerm))
	for _, o := range m.w.machines { // those who followed this machine before it knew report again
		if o != m && o.starts <= m.w.now && m.sees(o) {
			m.message(o, func() {
				if o.member.steward == m {
					o.reportTo(m)
				}
			})
		}
	}
	m.allReported()
}

// first is who should be steward: the longest standing that lives.
func (w *world) first(site int) *machine {
	for _, o := range w.standing {
		if (o.site == site || w.now >= w.oneSite) && o.alive() {
			return o
		}
	}
	return nil
}

// allReported opens the office once every living member has said what it holds.
func (m *machine) allReported() {
	b := &m.member
	for _, o := range m.w.machines {
		if o.died != 0 && !m.sees(o) {
			b.office.Forget(o.name())
		}
		if b.reported != nil && o.starts <= m.w.now && m.sees(o) && !b.reported[o] {
			return
		}
	}
	if b.reported != nil {
		b.reported = nil
		b.office.Hold(m.w.time())
	}
}

// report renews this machine's leases.
func (m *machine) report() {
	b := &m.member
	if b.steward != m {
		if m.holds() > 0 {
			m.reportTo(b.steward)
		}
		return
	}
	for _, s := range m.streams {
		if s.lease != nil && b.office.Renew(m.w.time(), m.name(), s.lease.ID) {
			s.lease.renewed = m.w.now
		}
	}
}

func (m *machine) holds() (n int) {
	for _, s := range m.streams {
		if s.lease != nil {
			n++
		}
	}
	return n
}

// reportTo tells a steward which leases this machine holds: it renews or adopts them.
func (m *machine) reportTo(o *machine) {
	var all []plan.Lease
	asked := m.w.now
	for _, s := range m.streams {
		if s.lease != nil {
			all = append(all, s.lease.Lease)
		}
	}
	m.question(o, func() {
		if !o.takes(m) {
			return
		}
		var ids []plan.LeaseID
		for _, l := range all {
			o.member.office.Adopt(o.w.time(), l, o.w.pieces)
			if o.member.office.Renew(o.w.time(), m.name(), l.ID) {
				ids = append(ids, l.ID)
			}
		}
		if o.member.reported != nil {
			o.member.reported[m] = true
			o.allReported()
		}
		o.decideLeases()
		o.message(m, func() { m.renewedBy(o, ids, asked) })
	})
}

// renewedBy is a word of a steward, and of the leases it has renewed as they were reported at a moment.
func (m *machine) renewedBy(o *machine, ids []plan.LeaseID, asked moment) {
	if m.member.steward != o {
		return
	}
	m.member.owed = 0
	for _, id := range ids {
		for _, s := range m.streams {
			if s.lease != nil && s.lease.ID == id {
				s.lease.renewed = max(s.lease.renewed, asked)
			}
		}
	}
}

// takes reports whether this machine acts as steward for o; otherwise o is told whom this machine follows.
func (m *machine) takes(o *machine) bool {
	if m.deaf {
		return false
	}
	m.reckon()
	if s := m.member.steward; s != m {
		m.message(o, func() {
			o.member.known[s] = true
			o.reckon()
		})
		return false
	}
	return true
}

// ask puts a wish to the steward.
func (m *machine) ask(a plan.Ask) {
	a.Package = pkg
	o := m.member.steward
	if o == m {
		o.member.office.Ask(m.w.time(), a)
		m.w.after(0, m.decideLeases)
		return
	}
	m.question(o, func() {
		switch {
		case !o.takes(m):
		case o.denies:
			o.answer(plan.Answer{Member: a.Member, Stream: a.Stream})
		default:
			o.member.office.Ask(o.w.time(), a)
			o.message(m, func() { m.renewedBy(o, nil, 0) })
			o.decideLeases()
		}
	})
}

// release gives a lease back, whose run was read as far as piece after.
func (m *machine) release(o *machine, id plan.LeaseID, after piece) {
	if o == m {
		m.member.office.Release(m.w.time(), m.name(), id, after)
		m.w.after(0, m.decideLeases)
		return
	}
	m.message(o, func() {
		if o.takes(m) {
			o.member.office.Release(o.w.time(), m.name(), id, after)
			o.decideLeases()
		}
	})
}

// decideLeases answers what can be answered.
func (m *machine) decideLeases() {
	if m.member.steward != m || m.died != 0 {
		return
	}
	for _, a := range m.member.office.Decide(m.w.time()) {
		m.answer(a)
	}
}

func (m *machine) answer(a plan.Answer) {
	o := m.w.byName[a.Member]
	if o == m {
		o.streams[a.Stream].answer(m, a)
		return
	}
	m.message(o, func() { o.streams[a.Stream].answer(m, a) })
}

// passOver leaves a steward alone for a while that is deaf, or refuses a machine that is stalled: the next is asked.
func (m *machine) passOver(o *machine, d time.Duration) {
	b := &m.member
	if o != m && o == b.steward {
		b.passed[o] = m.w.now + d
		b.owed = 0
		m.reckon()
	}
}

// question sends a steward something that it must answer.
func (m *machine) question(o *machine, do func()) {
	if m.member.owed == 0 {
		m.member.owed = m.w.now
	}
	m.message(o, do)
}

// message carries a message to another machine, if it isn't lost.
func (m *machine) message(o *machine, do func()) {
	w := m.w
	if w.random.Float64() < w.loss || m.site != o.site && w.now < w.oneSite {
		return
	}
	w.after(w.delay, func() {
		if o.died == 0 {
			do()
		}
	})
}

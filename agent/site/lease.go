package site

import (
	"context"
	"errors"
	"time"

	"handout/agent/plan"
	"handout/manifest"
)

const (
	// repeatAsk is how long an ask waits for its answer before it is put again, with fresher eligible pieces.
	repeatAsk = 500 * time.Millisecond
	// renewEvery leaves room for lost messages in a term, and for finding another steward.
	renewEvery = plan.LeaseTerm / 4
	// repeatReport is how long a report waits for its answer: while one is missing a new steward gives out nothing. After
	// mostReports it has waited long enough.
	repeatReport = 250 * time.Millisecond
	mostReports  = 2 * int(plan.LeaseTerm/repeatReport)
	// deniedAfter so long of being told that there is nothing to read, a stalled machine passes the steward over too. It
	// may read whatever it lacks, so from an honest steward it hears this only while others read the very same, a second
	// or so, or have just read it.
	deniedAfter = 2 * plan.LeaseTerm
	// deniedWhole is it where a server gives files only whole: others may read one for long.
	deniedWhole = 20 * plan.LeaseTerm
)

// ErrNothing: the steward knows nothing that this machine should read now.
var ErrNothing = errors.New("no lease: nothing to read now")

// Lease is the right to hold one origin connection and to read Run, until Lost is closed or it is released.
type Lease struct {
	plan.Lease
	pieces  int
	renewed time.Time
	lost    chan struct{}
	gone    bool
}

// Lost is closed when the lease could not be renewed in time: reading must end and the connection be closed.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

func (l *Lease) lose() {
	if !l.gone {
		l.gone = true
		close(l.lost)
	}
}

// wish is an ask whose answer is awaited.
type wish struct {
	answer chan plan.Answer
	first  uint64 // the number of its first ask since an answer came: an answer to one before it comes twice, or late
}

// line is one of this machine's streams.
type line struct {
	of     manifest.InfoHash
	stream int
}

// Lease asks for a lease on behalf of one of this machine's streams for package p and waits until the steward grants one,
// ctx ends, or there is nothing to read. Ask is called before each attempt, so that eligible pieces are fresh; false
// gives up. If prev is held, its run was read as far as the ask's After, or soon will be, and its connection is open: the new
// lease goes on under the same number, or prev is released. Yield closes the connection for that, and returns the piece
// before which reading has ended: it may have been cut short after it was asked for more.
func (s *Site) Lease(ctx context.Context, p manifest.InfoHash, stream int, prev *Lease, ask func() (plan.Ask, bool), yield func() manifest.PieceIndex) (*Lease, error) {
	w := &wish{answer: make(chan plan.Answer, 1)}
	defer s.cease(line{p, stream}, w)
	var given plan.LeaseID // released here: a grant that goes on under its number comes too late
	give := func() {
		if prev != nil {
			s.Release(prev, yield())
			given, prev = prev.ID, nil
		}
	}
	var unfair time.Time // since when a stalled machine has been asking this steward in vain
	for {
		a, ok := ask()
		if !a.Stalled {
			unfair = time.Time{}
		} else if unfair.IsZero() {
			unfair = time.Now()
		}
		if !ok {
			give()
			return nil, ErrNothing
		}
		a.Member, a.Package, a.Stream, a.Holds = s.id, p, stream, 0
		if prev != nil {
			a.Holds = prev.ID
		}
		sent := time.Now()
		asked := s.put(w, a)
		timer := time.NewTimer(repeatAsk)
		select {
		case answer := <-w.answer:
			timer.Stop()
			late := given != 0 && answer.Lease.ID == given
			if answer.Lease.Run.Len > 0 && !answer.Yield && !late {
				return s.take(answer.Lease, prev, a, sent), nil
			}
			s.mu.Lock()
			w.first = s.seq + 1 // not before a lease is held: the answer's second copy would give it back
			s.mu.Unlock()
			if late {
				continue
			}
			give()
			if !answer.Yield {
				patience := deniedAfter
				if a.Bound.Len() > 0 {
					patience = deniedWhole
				}
				s.refused(asked, a.Stalled, patience)
				return nil, ErrNothing
			}
		case <-timer.C:
			give() // whoever waits does not keep a connection
			if !unfair.IsZero() && time.Since(unfair) > unfairAfter {
				s.mu.Lock()
				if time.Since(s.followed) > inOfficeAfter {
					unfair = time.Time{}
					s.passOver(asked, isUnfair)
				}
				s.mu.Unlock()
			}
		case <-ctx.Done():
			timer.Stop()
			give()
			return nil, ctx.Err()
		}
	}
}

// denial is a steward's saying again and again that there is nothing to read.
type denial struct {
	by          plan.MemberID
	since, last time.Time
}

// refused notes that the steward said there is nothing to read; a stalled machine bears that for so long.
func (s *Site) refused(steward plan.MemberID, stalled bool, patience time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !stalled || s.denied.by != steward || now.Sub(s.denied.last) > deniedAfter {
		s.denied = denial{by: steward, since: now}
	}
	s.denied.last = now
	if stalled && now.Sub(s.denied.since) > patience {
		s.denied = denial{}
		s.passOver(steward, isUnfair)
	}
}

// cease forgets a wish; a lease that was granted just now goes back.
func (s *Site) cease(l line, w *wish) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[l] == w {
		delete(s.waiting, l)
	}
	select {
	case a := <-w.answer:
		s.answered(s.steward, a)
	default:
	}
}

// put sends an ask to the steward and returns who that is.
func (s *Site) put(w *wish, a plan.Ask) plan.MemberID {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[line{a.Package, a.Stream}] = w
	s.seq++
	a.Seq = s.seq
	if w.first == 0 {
		w.first = a.Seq
	}
	s.wake()
	now := time.Now()
	s.help.asks(now, a.Package, a.Stalled, len(s.held) > 0, s.o.Connections)
	id, ok := s.who()
	switch {
	case !ok:
	case id == s.id:
		if !s.resort || s.help.may(now, s.o.Connections) {
			s.office.Ask(now, a)
			s.decide()
		}
	default:
		s.question(id, message{Ask: wireOf(a)})
	}
	return id
}

// take makes a granted lease this machine's own. Its term counts from when it was asked for, so that it ends here no
// later than at the steward.
func (s *Site) take(l plan.Lease, prev *Lease, a plan.Ask, asked time.Time) *Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if prev != nil && prev.ID == l.ID && !prev.gone {
		prev.Lease, prev.renewed = l, asked
		return prev
	}
	if prev != nil && prev.ID != l.ID {
		s.drop(prev, a.After) // a new steward, which did not know it, gave another for the connection
	}
	s.denied = denial{}
	n := &Lease{Lease: l, pieces: a.Eligible.Len(), renewed: asked, lost: make(chan struct{})}
	if s.closed {
		n.lose()
	}
	s.held[l.ID] = n
	s.wake()
	return n
}

// Reads notes that a run from the front was read as far as piece after: its lease lives for as long as the reading gets on.
func (s *Site) Reads(l *Lease, after manifest.PieceIndex) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if read := int64(after) - int64(l.Run.First); l.Front && read > int64(l.Read) && read <= int64(l.Run.Len) {
		l.Read = int(read)
	}
}

// Release gives a lease back whose run was read as far as piece after; its connection is closed.
func (s *Site) Release(l *Lease, after manifest.PieceIndex) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(l, after)
}

func (s *Site) drop(l *Lease, after manifest.PieceIndex) {
	if s.held[l.ID] != l {
		return
	}
	delete(s.held, l.ID)
	switch id, ok := s.who(); {
	case !ok:
	case id == s.id:
		s.office.Release(time.Now(), s.id, l.ID, after)
		s.decide()
	default:
		s.send(id, message{Release: &wireRelease{ID: l.ID, After: after}})
	}
}

// serve renews this machine's leases, ends those that could not be renewed, and answers standing asks. While nobody reads
// from the origin or wants to, it looks after things rarely: fifty idle machines should not wake twenty times a second each.
func (s *Site) serve() {
	tick := time.NewTicker(decideEvery)
	defer tick.Stop()
	var renewed time.Time
	for {
		select {
		case <-s.done:
			return
		case <-s.stir:
		case <-tick.C:
		}
		now := time.Now()
		s.mu.Lock()
		if now.Sub(renewed) >= renewEvery {
			renewed = now
			s.report()
		} else if s.mustRepeat() && now.Sub(s.asked) >= repeatReport {
			s.reportTo(s.steward)
		}
		for id, l := range s.held {
			if now.Sub(l.renewed) >= plan.LeaseTerm-2*decideEvery {
				l.lose()
				delete(s.held, id)
			}
		}
		if !s.owed.IsZero() && now.Sub(s.owed) > deafAfter {
			s.passOver(s.steward, isDeaf)
		} else if !s.owed.IsZero() && now.Sub(s.owed) > doubtAfter {
			s.sound()
		} else if s.steward == s.id && s.reported != nil && !s.allTold && now.Sub(s.followed) > reportsAfter {
			s.soundOut(soundedAtOffice, func(id plan.MemberID) bool { // who died with the former steward does not report
				_, passed := s.passed[id]
				return !passed && s.isAwaited(id)
			})
		}
		if s.steward != s.id && s.roll.living(s.alive) < len(s.roll.Order) {
			s.meetAgain() // whoever does not know the steward follows another
		}
		s.mindPace(now)
		s.mindHelp(now)
		s.reckon()
		s.remind(now)
		s.decide()
		every := decideEvery
		if s.idle(now) {
			every = s.rest(now)
		}
		s.mu.Unlock()
		tick.Reset(every)
	}
}

// mustRepeat reports whether the steward may not have got a report.
func (s *Site) mustRepeat() bool {
	return s.steward != s.id && 0 < s.unheard && s.unheard < mostReports
}

// report tells the steward which leases this machine holds: it renews them, or adopts them if it is new in office.
func (s *Site) report() {
	id, ok := s.who()
	if !ok || id == s.id {
		for _, l := range s.held {
			if ok {
				s.office.Reads(time.Now(), s.id, l.ID, l.Read)
			}
			switch {
			case !ok:
			case s.office.Renew(time.Now(), s.id, l.ID):
				l.renewed = time.Now()
			default:
				l.lose()
			}
		}
		return
	}
	if len(s.held) > 0 {
		s.reportTo(id)
	}
}

// question sends the steward something that it must answer.
func (s *Site) question(id plan.MemberID, m message) {
	if s.owed.IsZero() {
		s.owed = time.Now()
	}
	s.wake()
	s.send(id, m)
}

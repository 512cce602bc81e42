package site

import (
	"reflect"
	"time"
	"unsafe"

	"github.com/hashicorp/memberlist"
)

const (
	// decideEvery is how often a steward looks whether a standing ask can be answered, beyond every message.
	decideEvery = 50 * time.Millisecond
	// restEvery is how often whoever has nothing to do looks whether that is still so. Whatever falls due wakes it before.
	restEvery = 10 * time.Second
	// gossipEvery is how often the membership tells some members what it has to tell.
	gossipEvery = 100 * time.Millisecond
	// gossipAtRest is how often a member does that looks whether it has: half of what an idle agent did was looking ten
	// times a second. In between, probes and their answers carry the news as well.
	gossipAtRest = 500 * time.Millisecond
	// livelyFor is how long a member does not rest after news: each is told on by those who hear it, and may have more in
	// its train.
	livelyFor = 5 * time.Second
)

// idle reports whether nothing falls due before somebody says something, but that a steward is no longer passed over. A
// roll is for the steward to tell: who was steward of itself alone, and has joined others, does so no more.
func (s *Site) idle(now time.Time) bool {
	return len(s.held) == 0 && len(s.waiting) == 0 && s.owed.IsZero() && !s.mustRepeat() && now.After(s.lively) &&
		(s.steward != s.id || s.office.Idle() && !s.untold)
}

// rest slows an idle site down, and says until when it need not be looked after.
func (s *Site) rest(now time.Time) time.Duration {
	if !s.resting {
		s.resting = true
		s.gossip(gossipAtRest)
	}
	next := restEvery
	for _, p := range s.passed {
		next = min(next, p.until.Sub(now))
	}
	if s.steward != s.id && s.roll.living(s.alive) < len(s.roll.Order) {
		next = min(next, s.met.Add(s.meetPause).Sub(now))
	}
	return max(next, decideEvery)
}

// wake has serve look after things at its usual pace again.
func (s *Site) wake() {
	if s.resting {
		s.resting = false
		s.gossip(gossipEvery)
		select {
		case s.stir <- struct{}{}:
		default:
		}
	}
}

// hasNews wakes a member that has something to tell to the others.
func (s *Site) hasNews() {
	s.lively = time.Now().Add(livelyFor)
	s.wake()
}

// missed notes that a probe was not answered: the others are to hear soon who is suspected.
func (s *Site) missed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hasNews()
}

func (s *Site) gossip(every time.Duration) {
	if s.ticker != nil && !s.closed {
		s.ticker.Reset(every)
	}
}

// gossipTicker is by what the membership gossips. There is no public way to change its pace: a version that keeps it
// elsewhere, which a test would tell, gossips as fast at rest, and nil is returned.
func gossipTicker(m *memberlist.Memberlist) *time.Ticker {
	f := reflect.ValueOf(m).Elem().FieldByName("tickers") // of probes, then of gossip
	if !f.IsValid() || f.Type() != reflect.TypeFor[[]*time.Ticker]() || f.Len() != 2 {
		return nil
	}
	return (*(*[]*time.Ticker)(unsafe.Pointer(f.UnsafeAddr())))[1]
}

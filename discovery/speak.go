package discovery

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// speaker is what a link has to say, and when.
type speaker struct {
	asked   chan struct{} // holds one: somebody asked since the last answer
	probed  chan struct{} // holds one: somebody asked who is about to take our name
	replies *rate.Limiter // by unicast

	mu    sync.Mutex
	last  time.Time // when all were answered
	later *later    // nil: nobody has more to say
}

// later is a query whose asker says in further packets what it knows already. One at a time is waited for; others are
// answered at once, which they bear.
type later struct {
	from  netip.AddrPort
	query query
	timer *time.Timer
}

func newSpeaker() speaker {
	return speaker{
		asked: make(chan struct{}, 1), probed: make(chan struct{}, 1),
		replies: rate.NewLimiter(repliesPerSecond, replyBurst),
	}
}

// answer does about a query what is to be done.
func (l *link) answer(q query, from netip.AddrPort) {
	if from.Port() != mdnsPort {
		if q.asks != 0 && l.replies.Allow() {
			l.sendTo(l.me.legacy(q), from)
		}
		return
	}
	l.mu.Lock()
	if w := l.later; w != nil && w.from == from {
		w.query.known |= q.known
		if q.more {
			w.timer.Reset(moreTime)
		}
	} else if w == nil && q.more && q.asks&^q.known != 0 {
		w := &later{from: from, query: q}
		w.timer = time.AfterFunc(moreTime, func() {
			l.mu.Lock()
			q := w.query
			l.later = nil
			l.mu.Unlock()
			l.decide(q, from)
		})
		l.later = w
		q.asks = 0
	}
	l.mu.Unlock()
	l.decide(q, from)
}

func (l *link) decide(q query, from netip.AddrPort) {
	all, alone := q.needs()
	if !all && !alone {
		return
	}
	l.mu.Lock()
	told := !l.last.IsZero() && time.Since(l.last) < recently
	l.mu.Unlock()
	switch {
	case alone && told && l.replies.Allow():
		l.sendTo(l.me.hello(), from)
	case q.probes:
		notify(l.probed)
	default:
		notify(l.asked)
	}
}

// speak announces the agent twice (RFC 6762 section 8.3), then answers: one answer for all who asked within a second, each
// at its own random moment, so that a roomful that hears one question does not answer at once. Last it says goodbye.
func (l *link) speak(ctx context.Context) {
	if l.me == nil {
		return
	}
	defer func() {
		l.silence()
		l.send(l.me.goodbye())
	}()
	var last time.Time
	for greetings := 0; ; greetings++ {
		gap := answerGap
		if greetings >= 2 {
			select {
			case <-ctx.Done():
				return
			case <-l.asked:
			case <-l.probed:
				gap = probeGap
			}
		}
		for moment := 20*time.Millisecond + rand.N(100*time.Millisecond); ; moment = 0 {
			pause := max(time.Until(last.Add(gap)), moment)
			if pause <= 0 {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			case <-l.probed:
				gap = probeGap
			}
		}
		if greetings == 0 && l.company.Load() && !wait(ctx, greetLater) {
			return
		}
		for _, note := range []chan struct{}{l.asked, l.probed} {
			select {
			case <-note: // this one answers them as well
			default:
			}
		}
		last = time.Now()
		l.mu.Lock()
		l.last = last
		l.mu.Unlock()
		l.send(l.me.hello())
	}
}

// silence forgets who was to be answered later.
func (l *link) silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.later != nil {
		l.later.timer.Stop()
	}
}

package site

import (
	"time"

	"handout/agent/plan"
	"handout/manifest"
)

const (
	// starvingEvery is how often a machine that helps itself says so, to so many members, and starvingFor how long its word
	// counts. Before it draws lots for the first time it listens for listenFirst.
	starvingEvery = time.Second
	starvingTo    = 64
	starvingFor   = 2 * plan.LeaseTerm
	listenFirst   = 600 * time.Millisecond

	// helpAfter so long that a download was stalled and asked in vain its machine helps itself to one connection, whoever
	// claims to be steward. Ten seconds have passed before it says that it is stalled, and the heir of a steward that was
	// unfair needs four.
	helpAfter = 6 * time.Second
	// helpWindow is for how long it does, if something comes within helpTrial. Its neighbours get what it reads: they are not
	// stalled then.
	helpWindow = 12 * time.Second
	helpTrial  = 4 * time.Second
	// helpSpread and helpRest bound how long it waits by chance before the first window, and before the next, the longer
	// the more others starve: not all should come at once, and an attacker must not make it long by being many. A window in
	// which nothing came makes the next one come twice as late, mostVain times: the origin may be down.
	helpSpread = 20 * time.Second
	helpRest   = time.Minute
	mostVain   = 4
)

// selfHelp is what a machine gives itself where no steward gives it anything. The zero value but for random is ready. Not
// safe for concurrent use.
type selfHelp struct {
	random func() float64 // in [0, 1)

	starving map[host]time.Time // who helps itself too, and when it last said so
	said     time.Time          // when this machine did

	wanted, began, drawn time.Time // when a connection was last wished for by lot, since when, and when lots were last drawn
	lucky                bool      // how that went

	of    manifest.InfoHash // the package that is stalled
	since time.Time         // since when it asks in vain; zero: it does not
	last  time.Time         // when it last asked
	from  time.Time         // when the window begins
	fed   bool              // something came in it
	vain  int               // how many windows, one after the other, brought nothing
}

// hears notes that another machine helps itself.
func (h *selfHelp) hears(now time.Time, from host) {
	if h.starving == nil || len(h.starving) >= maxMembers {
		h.starving = map[host]time.Time{}
	}
	h.starving[from] = now
}

// others is how many machines said lately that they help themselves.
func (h *selfHelp) others(now time.Time) int {
	for k, at := range h.starving {
		if now.Sub(at) > starvingFor {
			delete(h.starving, k)
		}
	}
	return len(h.starving)
}

// crowd is how much of the longest wait is due where so many others starve: all of it at ten machines a connection.
func (h *selfHelp) crowd(now time.Time, connections int) float64 {
	return min(1, float64(h.others(now))/float64(10*max(1, connections)))
}

// asks takes a wish for a lease of package p. Who holds one already does not ask in vain.
func (h *selfHelp) asks(now time.Time, p manifest.InfoHash, stalled, holds bool, connections int) {
	if !h.since.IsZero() && now.Sub(h.last) > starvingFor {
		h.since = time.Time{} // that download is over
	}
	switch {
	case p != h.of && !h.since.IsZero():
		return
	case h.on(now):
		h.fed = h.fed || !stalled
	case !stalled || holds:
		h.since = time.Time{}
	case h.since.IsZero():
		h.of, h.since, h.fed = p, now, false
		wait := helpAfter + time.Duration(h.random()*h.crowd(now, connections)*float64(helpSpread))
		if first := now.Add(wait); h.from.Before(first) {
			h.from = first
		}
	}
	h.last = now
}

// on reports whether this machine helps itself now, whoever is steward.
func (h *selfHelp) on(now time.Time) bool {
	return !h.since.IsZero() && !now.Before(h.from) && now.Before(h.end()) && now.Sub(h.last) < starvingFor
}

// end is when the window ends.
func (h *selfHelp) end() time.Time {
	if h.fed {
		return h.from.Add(helpWindow)
	}
	return h.from.Add(helpTrial)
}

// rest ends a window that has passed and sets the next.
func (h *selfHelp) rest(now time.Time, connections int) {
	end := h.end()
	if h.since.IsZero() || now.Before(end) {
		return
	}
	if h.vain++; h.fed {
		h.vain = 0
	}
	wait := (0.5 + h.random()) * h.crowd(now, connections) * float64(helpRest)
	h.since, h.from = time.Time{}, end.Add(time.Duration(wait*float64(int(1)<<min(h.vain, mostVain))))
}

// may draws lots, once a term: with stewards that can't be had each machine helps itself to one connection so often that,
// on average, the site keeps to its number, by those who say that they do. In a window it need not.
func (h *selfHelp) may(now time.Time, connections int) bool {
	if now.Sub(h.wanted) > starvingFor {
		h.began, h.lucky = now, false
	}
	h.wanted = now
	switch {
	case h.on(now):
		return true
	case now.Sub(h.began) < listenFirst:
		return false
	case now.Sub(h.drawn) >= plan.LeaseTerm || h.drawn.Before(h.began):
		h.drawn = now
		h.lucky = h.random()*float64(1+h.others(now)) < float64(connections)
	}
	return h.lucky
}

// isResort reports whether this machine helps itself, as nobody else will.
func (s *Site) isResort(now time.Time) bool { return s.refuse() >= lastResort || s.help.on(now) }

// mindHelp begins and ends windows, and tells others that this machine helps itself.
func (s *Site) mindHelp(now time.Time) {
	s.help.rest(now, s.o.Connections)
	if s.isResort(now) != s.resort {
		s.reckon()
	}
	if !s.resort || now.Sub(s.help.wanted) > starvingFor || now.Sub(s.help.said) < starvingEvery {
		return
	}
	s.help.said = now
	told := 0
	for id := range s.members {
		if id != s.id && told < starvingTo {
			s.send(id, message{Starving: true})
			told++
		}
	}
}

package site

import (
	"net/netip"
	"sync"
	"time"

	"handout/agent/plan"
)

const (
	// acquittedFor is how long a member that answered is not asked again, whoever accuses it.
	acquittedFor = time.Second
	// mostAccused are asked at a time.
	mostAccused = 64
)

// accused are the members that were said to be dead or suspect, and when they answered. Safe for concurrent use.
type accused struct {
	mu    sync.Mutex
	asked map[string]time.Time // zero: it is being asked
}

// begin reports whether a member is to be asked now.
func (a *accused) begin(now time.Time, name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n, at := range a.asked {
		if !at.IsZero() && now.Sub(at) >= acquittedFor {
			delete(a.asked, n)
		}
	}
	if _, ok := a.asked[name]; ok || len(a.asked) >= mostAccused {
		return false
	}
	if a.asked == nil {
		a.asked = map[string]time.Time{}
	}
	a.asked[name] = time.Time{}
	return true
}

// end notes whether it answered.
func (a *accused) end(now time.Time, name string, lives bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.asked, name)
	if lives {
		a.asked[name] = now
	}
}

// accuse asks a member that somebody takes for dead whether it lives. If it answers, it is told who takes it for dead, so that it
// can object there; else pass is called, in the background.
func (s *Site) accuse(c claim, kind byte, pass func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[plan.MemberID(c.Node)]
	if m == nil || s.closed || s.list == nil {
		return // the membership knows nobody of that name, or knows that it is dead
	}
	if !s.accused.begin(time.Now(), c.Node) {
		return
	}
	s.work.Go(func() {
		lives := s.signOf(m) == ofLife
		s.accused.end(time.Now(), c.Node, lives)
		if !lives {
			pass()
			return
		}
		s.port.tell(m.Port, pack(kind, &c))
	})
}

// owns reports whether a member has an address, as it says itself.
func (s *Site) owns(name string, at netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members[plan.MemberID(name)].has(at)
}

// has reports whether that is an address of the member's.
func (m *member) has(at netip.Addr) bool {
	if m == nil {
		return false
	}
	at = at.Unmap().WithZone("")
	if m.Port.Addr().WithZone("") == at {
		return true
	}
	if known, ok := netip.AddrFromSlice(m.node.Addr); ok && known.Unmap() == at {
		return true
	}
	for _, a := range sayingOf(m.node).At {
		if a.Unmap().WithZone("") == at {
			return true
		}
	}
	return false
}

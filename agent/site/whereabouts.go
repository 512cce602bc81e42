package site

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"handout/agent/plan"
)

// Where a member can be reached it says of itself, with all addresses that it has, and says so again when they change. Each of
// the others picks the one that lies in a network of its own. The membership itself knows one address of a member, or none, and
// holds on to it as long as the member lives: it would take another for another machine's.

// whereabouts are the members' addresses at this moment. Safe for concurrent use.
type whereabouts struct {
	mu sync.Mutex
	at map[string]string // host and port, by name

	// Of members at link-local addresses to which several cards lead, by name: where they answered, and those being looked for.
	sure   map[string]netip.Addr
	asking map[string]bool
}

func newWhereabouts() whereabouts {
	return whereabouts{at: map[string]string{}, sure: map[string]netip.Addr{}, asking: map[string]bool{}}
}

// of is where to send what the membership has for a member.
func (w *whereabouts) of(m memberlist.Address) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at, ok := w.at[m.Name]; ok {
		return at
	}
	if zone, ok := strings.CutPrefix(m.Name, zoneMark); ok {
		return withZone(m.Addr, zone)
	}
	return m.Addr
}

// note is called when a member is met, and when it says something else of itself.
func (w *whereabouts) note(name string, at netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at[name] = at.String()
}

// forget is called when a member is gone.
func (w *whereabouts) forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.at, name)
	delete(w.sure, name)
}

// advertised are the addresses at which this machine can be reached now.
func (s *Site) advertised() []netip.Addr {
	if s.o.Networks == nil {
		return nil
	}
	return s.o.Networks.Now().Advertise()
}

// reachable picks where to reach a member that has these addresses; false: nowhere, or it is not admitted.
func (s *Site) reachable(at []netip.Addr) (netip.Addr, bool) {
	return s.o.Networks.Now().Reach(at)
}

// followNetworks keeps the members told of this machine's addresses, and itself at those of theirs that it can reach.
// Said is what they heard when it came.
func (s *Site) followNetworks(said []netip.Addr) {
	changes, stop := s.o.Networks.Changes()
	defer stop()
	for {
		if now := s.advertised(); len(now) > 0 && !slices.Equal(now, said) { // nobody could hear that there is none
			s.log.Info("this machine's address has changed: the members are told", "addresses", now)
			said = now
			s.list.UpdateNode(time.Second) // what gossip loses now comes with the next exchange
		}
		select {
		case <-s.done:
			return
		case <-changes:
		}
		s.mu.Lock()
		for _, m := range s.members {
			s.enter(m.node)
		}
		s.mu.Unlock()
	}
}

var errNotAdmitted = errors.New("no neighbour is at any of its addresses")

// NotifyAlive turns away who says to be where no neighbour is.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	if plan.MemberID(n.Name) == d.s.id {
		return nil
	}
	at, ok := d.s.reachable(sayingOf(n).At)
	if !ok {
		return errNotAdmitted
	}
	return d.s.roomFor(plan.MemberID(n.Name), at)
}

// leaves tells of an address that a member had and has no more, unless another member is there now.
func (s *Site) leaves(was, is *member) {
	if was == nil || s.o.Moved == nil || is.ID == s.id || was.Port.Addr() == is.Port.Addr() {
		return
	}
	old := was.Port.Addr()
	for _, m := range s.members {
		if m.Port.Addr() == old {
			return
		}
	}
	if !slices.Contains(sayingOf(is.node).At, old.WithZone("")) {
		s.o.Moved(old.WithZone(""))
	}
}

package site

import (
	"net/netip"
	"sync"

	"github.com/hashicorp/memberlist"
)

// What a machine was told it has in a book, and the site carries the book's digest: at once by gossip when it changes, and
// with every exchange of two members, the first included. Whoever hears one that is not its own asks that member.

// Told is a member and the digest it said.
type Told struct {
	Member netip.AddrPort // its port for members
	Digest string
}

// rumours are what gossip carries for this machine.
type rumours struct {
	mu    sync.Mutex
	queue *memberlist.TransmitLimitedQueue // nil: alone
}

func (r *rumours) begin(s *Site) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = &memberlist.TransmitLimitedQueue{RetransmitMult: 3, NumNodes: func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.members)
	}}
}

func (r *rumours) get(overhead, limit int) [][]byte {
	r.mu.Lock()
	q := r.queue
	r.mu.Unlock()
	if q == nil {
		return nil
	}
	return q.GetBroadcasts(overhead, limit)
}

// Tell passes on that the digest has changed: some members hear it within a tenth of a second, and pass on theirs once
// they have learnt.
func (s *Site) Tell() {
	s.news.mu.Lock()
	q := s.news.queue
	s.news.mu.Unlock()
	if digest := s.digest(); q != nil && digest != "" {
		m := message{From: s.id, Digest: digest}
		q.QueueBroadcast(rumour(m.seal()))
		s.mu.Lock()
		s.hasNews()
		s.mu.Unlock()
	}
}

func (s *Site) digest() string {
	if s.o.Digest == nil {
		return ""
	}
	return s.o.Digest()
}

// rumour is this machine's digest on its way. A newer one takes its place.
type rumour []byte

// Name implements memberlist.NamedBroadcast.
func (r rumour) Name() string { return "digest" }

// Invalidates implements memberlist.Broadcast.
func (r rumour) Invalidates(memberlist.Broadcast) bool { return true }

// Message implements memberlist.Broadcast.
func (r rumour) Message() []byte { return r }

// Finished implements memberlist.Broadcast.
func (r rumour) Finished() {}

// SomeMembers are the addresses, at their ports for members, of n others at most that were drawn by lot from those that can
// be reached.
func (s *Site) SomeMembers(n int) []netip.AddrPort { return s.someMembers(n) }

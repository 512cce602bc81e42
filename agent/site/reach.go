package site

import (
	"bytes"
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"handout/agent/plan"
)

const (
	// A newcomer asks after so long, and half as much again by chance: the room has met by then, and a verdict is there
	// within five seconds.
	askBackAfter = 500 * time.Millisecond
	// askBackOf is how many members are asked at a time. One may be mistaken, or behind a firewall itself.
	askBackOf = 3
	// Firewalls change while somebody works at them, and hardly ever otherwise.
	askAgainShut = 15 * time.Second
	askAgainOpen = 10 * time.Minute
	// knockTime is for a datagram that was sent before the answer came.
	knockTime = time.Second
)

// Reach is whether others can open a connection to this machine, by what members said that tried.
type Reach struct {
	Tried bool
	Shut  Doors // those that nobody came in by
}

// findReach has members dial this machine back, again and again, until the site is closed.
func (s *Site) findReach() {
	select {
	case <-s.done:
		return
	case <-s.joined:
	}
	wait, vain := askBackAfter, askBackAfter
	for {
		select {
		case <-s.done:
			return
		case <-time.After(wait/2 + mathrand.N(wait)):
		}
		switch {
		case !s.askBack(): // nobody is there any more, or those who were asked can't be reached themselves
			wait, vain = vain, min(2*vain, askAgainShut)
		case s.Reach().Shut != 0:
			wait, vain = askAgainShut, askBackAfter
		default:
			wait, vain = askAgainOpen, askBackAfter
		}
	}
}

// askBack asks some members and notes what they say; false: nobody said anything.
func (s *Site) askBack() bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	var nonce [nonceBytes]byte
	rand.Read(nonce[:])
	heard := s.listen(nonce[:])
	var g sync.WaitGroup
	var mu sync.Mutex
	answers, opens := 0, Doors(0)
	for _, at := range s.someMembers(askBackOf) {
		g.Go(func() {
			e, err := askDialBack(ctx, at, dialQuestion{s.o.PeerPort, s.Port(), nonce[:]}, s.o.Name, s.o.Key)
			if err != nil {
				s.log.Debug("member does not say whether it can reach this machine", "member", at, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers++
			opens |= e.Opens
		})
	}
	g.Wait()
	if answers == 0 {
		return false
	}
	select {
	case <-heard:
		opens |= MemberUDP
	case <-time.After(knockTime):
	}
	s.noteReach(allDoors &^ opens)
	return true
}

// listen returns what is closed by a knock with that nonce.
func (s *Site) listen(nonce []byte) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nonce, s.knock = nonce, make(chan struct{})
	return s.knock
}

// knocked takes a datagram that was sent to see whether it arrives.
func (s *Site) knocked(nonce []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.knock != nil && bytes.Equal(nonce, s.nonce) {
		close(s.knock)
		s.knock = nil
	}
}

// someMembers are the addresses, for members, of n others that were drawn by lot from those that can be asked.
func (s *Site) someMembers(n int) (some []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []netip.AddrPort
	for id, m := range s.members {
		if id != s.id && s.shutOf(id)&MemberTCP == 0 {
			all = append(all, m.Port)
		}
	}
	for _, k := range mathrand.Perm(len(all))[:min(n, len(all))] {
		some = append(some, all[k])
	}
	return some
}

// noteReach takes a new verdict: if it differs, the members are told.
func (s *Site) noteReach(shut Doors) {
	s.mu.Lock()
	was := s.reach
	s.reach = Reach{Tried: true, Shut: shut}
	s.mu.Unlock()
	switch {
	case shut != 0 && shut != was.Shut:
		s.log.Warn("inbound " + shut.Ports(s.o.PeerPort) + " is blocked, so others can't reach this machine: open it with: " +
			Remedy(s.o.PeerPort))
	case shut == 0 && was.Shut != 0:
		s.log.Info("others can reach this machine now")
	}
	if shut != was.Shut {
		s.list.UpdateNode(time.Second) // what gossip loses now comes with the next exchange
	}
}

// Reach is whether others can reach this machine.
func (s *Site) Reach() Reach {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reach
}

// shutOf are the doors of a member that nobody came through, as it says itself.
func (s *Site) shutOf(id plan.MemberID) Doors {
	if id == s.id {
		return s.reach.Shut
	}
	if m := s.members[id]; m != nil {
		return m.Shut
	}
	return 0
}

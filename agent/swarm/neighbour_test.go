package swarm

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"handout/agent/plan"
	"handout/manifest"
)

// A neighbour that claims every piece and answers nothing must not keep the last pieces from the origin: those it was asked
// for, and those it is asked for once the first ones came from there.
func TestWhoSaysNothingHoldsNothingBack(t *testing.T) {
	m, content := pack(t, 4<<20, manifest.BuildOptions{})
	seed := newMachine(t, m, content, all(m)...)
	leech := newMachine(t, m, nil)
	seed.memory.mu.Lock() // the seed answers nothing
	defer seed.memory.mu.Unlock()
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	asked := func() (pieces []manifest.PieceIndex) {
		leech.torrent.mu.Lock()
		defer leech.torrent.mu.Unlock()
		for _, n := range leech.torrent.neighbours {
			for i := range n.asked {
				pieces = append(pieces, i)
			}
		}
		return pieces
	}
	eventually(t, 5*time.Second, "something was asked for", func() bool { return len(asked()) > 0 })
	leech.torrent.mu.Lock()
	for _, n := range leech.torrent.neighbours {
		n.owes = n.owes.Add(-muteAfter) // so much time passes
	}
	leech.torrent.mu.Unlock()
	for !leech.full() {
		near, requested := leech.torrent.Look()
		if len(near) != 1 || !near[0].Mute || requested.Count() != 0 {
			t.Fatalf("with %d pieces here %d neighbours, the first mute: %v; %d pieces count as requested",
				leech.count(), len(near), near[0].Mute, requested.Count())
		}
		next := manifest.PieceIndex(leech.count()) // in order, from the origin
		if got := leech.torrent.Reserve(plan.Run{First: next, Len: 1}); got.Len != 1 {
			t.Fatalf("piece %d can't be read from the origin", next)
		}
		leech.put(content, next)
		leech.torrent.Announce(next)
		leech.torrent.Release(plan.Run{First: next, Len: 1})
		eventually(t, 5*time.Second, "others are asked for", func() bool {
			for _, i := range asked() {
				if i <= next {
					return false
				}
			}
			return true
		})
	}
}

// However many come, a machine has no more neighbours than it can serve, and keeps those who can give it something.
func TestWhoGivesNothingMakesRoom(t *testing.T) {
	m, content := pack(t, 1<<20, manifest.BuildOptions{})
	seed := newMachine(t, m, content, all(m)...)
	leech := newMachine(t, m, nil)
	leech.torrent.Reserve(plan.Run{First: 0, Len: 1}) // something stays missing
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	eventually(t, 5*time.Second, "the seed is here", func() bool { return leech.torrent.Neighbours() == 1 })
	came := map[netip.AddrPort]bool{}
	for range mostNeighbours + 3 {
		k := newMachine(t, m, nil)
		k.torrent.Introduce(nil, []netip.AddrPort{leech.addr})
		eventually(t, 5*time.Second, "another one is let in", func() bool {
			for _, a := range leech.torrent.Addresses() {
				came[a] = true
			}
			return came[k.addr]
		})
		if n := len(leech.torrent.Addresses()); n > mostNeighbours {
			t.Fatalf("%d neighbours", n)
		}
	}
	if !slices.Contains(leech.torrent.Addresses(), seed.addr) {
		t.Error("the seed had to go")
	}
	eventually(t, 5*time.Second, "the others were sent away", func() bool { return len(leech.torrent.t.PeerConns()) <= mostNeighbours })
}

// Who dials is answered by machines that do not have the package too, and then they hang up: nobody is a neighbour before it
// has said what it holds.
func TestNoNeighbourBeforeItSpoke(t *testing.T) {
	m, content := pack(t, 1<<20, manifest.BuildOptions{})
	k := newMachine(t, m, content)
	c, err := net.Dial("tcp", k.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	write := func(b []byte) {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(slices.Concat([]byte("\x13BitTorrent protocol"), make([]byte, 8), m.InfoHash[:], []byte("a stranger's peer id")))
	eventually(t, 5*time.Second, "the handshake is over", func() bool { return len(k.torrent.Addresses()) == 1 })
	if near, _ := k.torrent.Look(); len(near) != 0 || k.torrent.Neighbours() != 0 {
		t.Errorf("%d neighbours, %d of them seen, though nobody has said a word", k.torrent.Neighbours(), len(near))
	}
	write([]byte{0, 0, 0, 1, 2}) // interested (BEP 3)
	eventually(t, 5*time.Second, "who has spoken is a neighbour", func() bool {
		near, _ := k.torrent.Look()
		return len(near) == 1 && k.torrent.Neighbours() == 1
	})
}

func TestDebtIsPaidWithBlocksOnly(t *testing.T) {
	now := time.Now()
	n := &neighbour{have: plan.NewBitfield(8), asked: map[manifest.PieceIndex]int{}}
	for k := range 4 {
		n.asked[manifest.PieceIndex(k)] = 1
		n.settle(now)
		now = now.Add(muteAfter / 3)
		if want := k == 3; n.mute(now) != want {
			t.Errorf("asked for %d pieces that came from elsewhere: mute is %v", k+1, !want)
		}
		delete(n.asked, manifest.PieceIndex(k))
		n.settle(now)
		now = now.Add(time.Hour) // it owes nothing meanwhile
	}
	n.asked[7] = 1
	n.paid(now)
	if n.mute(now.Add(muteAfter)) || !n.mute(now.Add(muteAfter+time.Second)) {
		t.Error("a block must begin a new account")
	}
}

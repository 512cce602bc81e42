package swarm

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/anacrolix/torrent"

	"handout/agent/plan"
	"handout/manifest"
)

// asksFor lists the pieces that the engine would ask for.
func (k *machine) asksFor() (all []manifest.PieceIndex) {
	k.torrent.wants.Lock()
	defer k.torrent.wants.Unlock()
	for i := range k.torrent.m.NumPieces() {
		if k.torrent.t.Piece(i).State().Priority != torrent.PiecePriorityNone {
			all = append(all, manifest.PieceIndex(i))
		}
	}
	return all
}

// The engine goes through whatever it was told of at every HAVE: it knows of one piece while nobody has any, of those that a
// neighbour has then, and no longer of what is here.
func TestTheEngineKnowsOfNoMoreThanIsThere(t *testing.T) {
	m, content := pack(t, 4<<20, manifest.BuildOptions{})
	leech := newMachine(t, m, nil)
	if asked := leech.asksFor(); len(asked) != 1 {
		t.Fatalf("nobody is there, and it asks for %v", asked)
	}
	leech.torrent.Reserve(plan.Run{First: 0, Len: 2})
	if asked := leech.asksFor(); len(asked) != 1 || asked[0] < 2 {
		t.Fatalf("the first pieces are read elsewhere, and it asks for %v", asked)
	}
	near := newMachine(t, m, content, 0, 7, 9)
	leech.torrent.Introduce(nil, []netip.AddrPort{near.addr})
	eventually(t, 10*time.Second, "what the neighbour has is here", func() bool { return leech.Has(7) && leech.Has(9) })
	if leech.Has(0) {
		t.Error("a piece that is read elsewhere was asked for")
	}
	leech.torrent.Release(plan.Run{First: 0, Len: 2})
	eventually(t, 10*time.Second, "what is released is here", func() bool { return leech.Has(0) })
	eventually(t, 10*time.Second, "it asks for one piece only", func() bool {
		leech.torrent.Choose(plan.View{Have: leech.held(), Reading: plan.NewBitfield(m.NumPieces())})
		asked := leech.asksFor()
		return len(asked) == 1 && !slices.Contains([]manifest.PieceIndex{0, 7, 9}, asked[0])
	})
}

// What is on order from a neighbour that is in no hurry is asked of another after a while, though nothing comes meanwhile.
func TestLastPiecesAreNotLeftToTheSlow(t *testing.T) {
	m, content := pack(t, 512<<10, manifest.BuildOptions{})
	slow := newMachine(t, m, content, all(m)...)
	quick := newMachine(t, m, content, all(m)...)
	leech := newMachine(t, m, nil)
	slow.memory.mu.Lock() // it answers nothing
	defer slow.memory.mu.Unlock()
	leech.torrent.Introduce(nil, []netip.AddrPort{slow.addr})
	eventually(t, 5*time.Second, "all is asked for", func() bool { return len(leech.asksFor()) == m.NumPieces() })
	leech.torrent.Introduce(nil, []netip.AddrPort{quick.addr})
	eventually(t, stealGrace+5*time.Second, "the leech has every piece", func() bool {
		leech.torrent.Choose(plan.View{Have: leech.held(), Reading: plan.NewBitfield(m.NumPieces())})
		return leech.full()
	})
}

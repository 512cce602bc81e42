package plan

import (
	"testing"
	"time"

	"handout/manifest"
)

const mbit = 125000.0

func neighbours(n int, of Neighbour) []Neighbour {
	all := make([]Neighbour, n)
	for i := range all {
		all[i] = of
	}
	return all
}

func TestMayUseOrigin(t *testing.T) {
	seed := func(rate float64) Neighbour { return Neighbour{Complete: true, Delivered: true, Best: rate} }
	late := 20 * time.Second
	tests := []struct {
		name    string
		view    View
		policy  Policy
		want    int
		stalled bool
	}{
		{"nobody is waited for by order", View{}, Policy{Connections: 4, NoPeers: true}, 4, true},
		{"the first half second is for the first sweep", View{Age: 400 * time.Millisecond}, Policy{Connections: 4}, 0, false},
		{"one connection while the room may be silent", View{Age: time.Second}, Policy{Connections: 4}, 1, false},
		{"alone after two seconds of silence", View{Age: 2 * time.Second}, Policy{Connections: 4}, 4, false},
		{"but one where a machine that was named is yet to be met", View{Age: late, Awaits: true}, Policy{Connections: 4}, 1, false},
		{"mute neighbours are no neighbours", View{Age: late, Neighbours: neighbours(3, Neighbour{Complete: true, Mute: true})},
			Policy{Connections: 4}, 4, false},
		{"of three machines each may ask for all that the steward has", View{Age: late, Neighbours: neighbours(2, Neighbour{})}, Policy{Connections: 4}, 4, false},
		{"or for its share, while the others have enough to give", View{Age: late, Have: NewBitfield(9), PieceBytes: mbit, Link: mbit, PeerRate: 0.8 * mbit, Neighbours: neighbours(2, Neighbour{Have: pieces(9, 1, 2)})},
			Policy{Connections: 4}, 2, false},
		{"but not while a third of that does not come", View{Age: late, Have: NewBitfield(9), PieceBytes: mbit, Link: mbit, PeerRate: 0.65 * mbit, Neighbours: neighbours(2, Neighbour{Have: pieces(9, 1, 2)})},
			Policy{Connections: 4}, 4, false},
		{"one each while not everybody can have met", View{Age: time.Second, Neighbours: neighbours(2, Neighbour{})}, Policy{Connections: 4}, 1, false},
		{"nor while none of them was met", View{Age: late, Awaits: true, Neighbours: neighbours(2, Neighbour{})}, Policy{Connections: 4}, 1, false},
		{"a full room has one each", View{Age: late, Neighbours: neighbours(15, Neighbour{})}, Policy{Connections: 4}, 1, false},
		{"four seeds that deliver spare the origin", View{Age: late, Neighbours: neighbours(4, seed(mbit)), SeedsHere: late, OriginUse: late, Link: 100 * mbit, Rate: 60 * mbit},
			Policy{Connections: 4, EnoughSeeds: 4}, 0, false},
		{"unless they give less than half the link", View{Age: late, Neighbours: neighbours(4, seed(mbit)), SeedsHere: late, OriginUse: late, Link: 100 * mbit, Rate: 4 * mbit, Halved: time.Second},
			Policy{Connections: 4, EnoughSeeds: 4}, 4, false},
		{"a seed that claims and does not deliver does not count", View{Age: late, Neighbours: neighbours(4, Neighbour{Complete: true}), SeedsHere: late, OriginUse: late, Link: 100 * mbit},
			Policy{Connections: 4, EnoughSeeds: 4}, 4, false},
		{"a new seed shows what it gives first", View{Age: late, Neighbours: neighbours(1, seed(0)), SeedsHere: time.Second / 2},
			Policy{Connections: 4, EnoughSeeds: 4}, 0, false},
		{"then the origin shows whether the link has room", View{Age: late, Neighbours: neighbours(1, seed(25*mbit)), SeedsHere: 2 * time.Second, Link: 25 * mbit},
			Policy{Connections: 4, EnoughSeeds: 4}, 1, false},
		{"a fast seed fills the link", View{Age: late, Neighbours: neighbours(1, seed(24*mbit)), SeedsHere: late, OriginUse: time.Second, Link: 25 * mbit, Rate: 24 * mbit},
			Policy{Connections: 4, EnoughSeeds: 4}, 0, false},
		{"a slow seed does not", View{Age: late, Neighbours: neighbours(1, seed(2.5*mbit)), SeedsHere: late, OriginUse: time.Second, Link: 20 * mbit, Rate: 20 * mbit},
			Policy{Connections: 4, EnoughSeeds: 4}, 4, false},
		{"a fast seed shared by many, and the room fills the link", room(View{SeedRate: 3 * mbit, PeerRate: 22 * mbit, Link: 25 * mbit, Rate: 24 * mbit}),
			Policy{Connections: 4, EnoughSeeds: 4}, 0, false},
		{"or does not, but has enough to give", room(View{SeedRate: 3 * mbit, PeerRate: 15 * mbit, Link: 25 * mbit, Rate: 15 * mbit}, 1, 2, 3),
			Policy{Connections: 4, EnoughSeeds: 4}, 0, false},
		{"or has nothing to give any more, and the seed does well by itself", room(View{SeedRate: 3 * mbit, PeerRate: 16 * mbit, Link: 25 * mbit, Rate: 16 * mbit}),
			Policy{Connections: 4, EnoughSeeds: 4}, 0, false},
		{"but not where the seed does not", room(View{SeedRate: 3 * mbit, PeerRate: 14 * mbit, Link: 25 * mbit, Rate: 14 * mbit}),
			Policy{Connections: 4, EnoughSeeds: 4}, 1, false},
		{"a slow seed shared by many: what fills the link comes from the origin", room(View{SeedRate: 0.3 * mbit, PeerRate: 22 * mbit, Link: 25 * mbit, Rate: 24 * mbit}, 1, 2, 3),
			Policy{Connections: 4, EnoughSeeds: 4}, 1, false},
		{"less than half the link for a second, whatever the room has", room(View{SeedRate: 3 * mbit, PeerRate: 9 * mbit, Link: 25 * mbit, Rate: 9 * mbit, Halved: time.Second}, 1, 2, 3),
			Policy{Connections: 4, EnoughSeeds: 4}, 1, false},
		{"never means never", View{Age: late, Slow: late}, Policy{Use: Never, Connections: 4}, 0, false},
		{"a fallback is not used while a neighbour has what is missing", View{Age: late, Have: NewBitfield(9), Neighbours: neighbours(1, Neighbour{Have: pieces(9, 3)})},
			Policy{Use: Fallback, Connections: 4, EnoughSeeds: 4}, 0, false},
		{"but where none has", View{Age: late, Have: pieces(9, 3), Neighbours: neighbours(1, Neighbour{Have: pieces(9, 3)})},
			Policy{Use: Fallback, Connections: 4, EnoughSeeds: 4}, 4, false},
		{"and not before neighbours had time to say what they have", View{Age: time.Second, Have: NewBitfield(9), Neighbours: neighbours(1, Neighbour{Have: NewBitfield(9)})},
			Policy{Use: Fallback, Connections: 4, EnoughSeeds: 4}, 0, false},
		{"nor before they could be found", View{Age: time.Second}, Policy{Use: Fallback, Connections: 4, EnoughSeeds: 4}, 0, false},
		{"a fallback is used alone", View{Age: late}, Policy{Use: Fallback, Connections: 4, EnoughSeeds: 4}, 4, false},
		{"and where neighbours give nothing", View{Age: late, Neighbours: neighbours(1, Neighbour{}), Slow: 10 * time.Second},
			Policy{Use: Fallback, Connections: 4, EnoughSeeds: 4}, 4, true},
		{"the fastest way is beside the seeds", View{Age: late, Neighbours: neighbours(4, seed(mbit)), SeedsHere: late, Link: 100 * mbit, Rate: 60 * mbit},
			Policy{Use: Fastest, Connections: 4, EnoughSeeds: 4}, 4, false},
		{"stalled for ten seconds: whatever is missing", View{Age: late, Neighbours: neighbours(8, Neighbour{}), Slow: 10 * time.Second},
			Policy{Connections: 4, EnoughSeeds: 4}, 4, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := MayUseOrigin(tt.view, tt.policy)
			if got.Connections != tt.want || got.Stalled != tt.stalled {
				t.Errorf("got %+v, want %d connections, stalled %v", got, tt.want, tt.stalled)
			}
			if got.Why == "" {
				t.Error("no reason for people")
			}
		})
	}
}

// room completes a view with a seed and seven others that have some pieces of a megabyte.
func room(v View, have ...manifest.PieceIndex) View {
	v.Have, v.PieceBytes = NewBitfield(9), 1<<20
	v.Neighbours = append(neighbours(7, Neighbour{Have: pieces(9, have...)}), Neighbour{Complete: true, Delivered: true, Best: 3 * mbit})
	v.Age, v.SeedsHere, v.OriginUse = 20*time.Second, 20*time.Second, time.Second
	return v
}

// pieces is a bitfield of n pieces, some of them set.
func pieces(n int, set ...manifest.PieceIndex) Bitfield {
	b := NewBitfield(n)
	for _, i := range set {
		b.Set(i)
	}
	return b
}

// A newcomer in a room that has begun knows of no neighbour's pieces yet: what it read then, the room had.
func TestWhoCameAMomentAgoReadsForTheRoom(t *testing.T) {
	v := View{Have: NewBitfield(10), PieceBytes: 1 << 20, Age: silence - 1}
	if !v.Fed(4) {
		t.Error("a newcomer would read what others have read")
	}
	if v.Age = silence; v.Fed(4) {
		t.Error("a machine to which nobody has anything to give would wait for ever")
	}
}

// Seven neighbours fill two thirds of the link and have enough for the rest: whoever has a lead over them is not fed.
func TestWhoHasALeadReadsOn(t *testing.T) {
	v := View{Age: silence, PieceBytes: 1 << 20, Link: 4 << 20, PeerRate: 2.7 * (1 << 20), Have: pieces(20, 0, 1, 2, 3)}
	v.Neighbours = neighbours(7, Neighbour{Have: pieces(20, 10, 11, 12)})
	if !v.Fed(4) {
		t.Error("one piece is no lead of half a second, and is taken for one")
	}
	v.Have.Set(4)
	if v.Fed(4) {
		t.Error("a lead of half a second is not seen")
	}
}

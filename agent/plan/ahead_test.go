package plan

import (
	"math/rand/v2"
	"testing"
)

// Eight machines that ask one seed at the same moment must not ask it for the same pieces.
func TestAheadOfOthersNobodyAsksForTheSame(t *testing.T) {
	const machines, pieces, each = 8, 1000, 5
	random := rand.New(rand.NewPCG(1, 2))
	lots := make([]uint64, machines)
	for i := range lots {
		lots[i] = random.Uint64()
	}
	asked := NewBitfield(pieces)
	for i := range lots {
		v := View{Have: NewBitfield(pieces), Reading: NewBitfield(pieces), Lot: lots[i]}
		full := NewBitfield(pieces)
		full.SetAll()
		v.Neighbours = []Neighbour{{Complete: true, Have: full}}
		for k, lot := range lots {
			if k != i {
				v.Neighbours = append(v.Neighbours, Neighbour{Have: NewBitfield(pieces), Lot: lot})
			}
		}
		mine := Ahead(v, NewBitfield(pieces), each, random.IntN)
		if mine.Count() != each {
			t.Fatalf("machine %d chose %d pieces, want %d", i, mine.Count(), each)
		}
		if again := Ahead(v, mine, each, random.IntN); again.Count() != each || !contains(again, mine) {
			t.Errorf("machine %d changed its mind", i)
		}
		asked.Or(mine)
	}
	if asked.Count() != machines*each {
		t.Errorf("%d different pieces of %d", asked.Count(), machines*each)
	}
}

func contains(all, some Bitfield) bool {
	rest := some.Clone()
	rest.Without(all)
	return rest.Count() == 0
}

func TestAheadChoosesWhatOnlySeedsHave(t *testing.T) {
	full := NewBitfield(6)
	full.SetAll()
	seed := Neighbour{Complete: true, Have: full}
	leech := Neighbour{Have: pieces(6, 1), Lot: 7}
	first := func(int) int { return 0 }
	v := View{Have: pieces(6, 0), Reading: pieces(6, 2), Neighbours: []Neighbour{seed, leech}}
	if got := Ahead(v, NewBitfield(6), 6, first); got.Count() != 3 || !contains(got, pieces(6, 3, 4, 5)) {
		t.Errorf("got %v", got)
	}
	if got := Ahead(v, pieces(6, 0, 1, 2, 5), 1, first); got.Count() != 1 || !got.Has(5) {
		t.Errorf("of those before: got %v", got)
	}
	v.Neighbours = []Neighbour{{Complete: true, Mute: true, Have: full}, leech}
	if got := Ahead(v, pieces(6, 5), 6, first); got.Count() != 0 {
		t.Errorf("without a seed that answers: got %v", got)
	}
}

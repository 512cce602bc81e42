package plan

import (
	"cmp"
	"slices"

	"handout/manifest"
)

// maxLooked bounds how many pieces are compared at a time.
const maxLooked = 256

// Ahead picks n pieces to ask seeds for before all others: of those that nobody but seeds has, such as the other machines
// leave to this one, each of them being drawn by lot. Left alone the swarm asks for the first ones, as every machine does at
// the same moment, and a seed has to send one piece several times before it comes to the next. Those of before that still
// are such stay. Random returns a number in [0, n).
func Ahead(v View, before Bitfield, n int, random func(n int) int) Bitfield {
	rare, others, seeds := NewBitfield(v.Have.Len()), []uint64{}, false
	rare.SetAll()
	rare.Without(v.Have)
	rare.Without(v.Reading)
	for _, o := range v.Neighbours {
		switch {
		case o.Mute:
		case o.Complete:
			seeds = true
		default:
			rare.Without(o.Have)
			others = append(others, o.Lot)
		}
	}
	ahead := NewBitfield(v.Have.Len())
	if !seeds {
		return ahead
	}
	for i := range before.All {
		if n > 0 && rare.Has(i) {
			ahead.Set(i)
			rare.Clear(i)
			n--
		}
	}
	left := rare.Count()
	if n == 0 || left == 0 {
		return ahead
	}
	type candidate struct {
		piece manifest.PieceIndex
		rank  int // how many others it belongs to rather
	}
	all := slices.Collect(rare.All)
	candidates := make([]candidate, 0, maxLooked)
	first := random(left)
	for k := range min(left, maxLooked) {
		c := candidate{piece: all[(first+k)%left]}
		mine := lot(v.Lot, c.piece)
		for _, o := range others {
			if lot(o, c.piece) > mine {
				c.rank++
			}
		}
		candidates = append(candidates, c)
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
	for _, c := range candidates[:min(n, len(candidates))] {
		ahead.Set(c.piece)
	}
	return ahead
}

// lot is what a machine has drawn for a piece; all machines work it out alike.
func lot(of uint64, i manifest.PieceIndex) uint64 {
	x := of ^ (uint64(i)+1)*0x9e3779b97f4a7c15 // the mixing of SplitMix64
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

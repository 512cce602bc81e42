package plan

import (
	"math/bits"

	"handout/manifest"
)

// Bitfield says for each piece of a package whether something is true of it. The zero value has no pieces.
// It is a plain value over shared memory: Clone it before handing it to another goroutine.
type Bitfield struct {
	words []uint64
	n     int
}

// NewBitfield returns a bitfield of n pieces, none set.
func NewBitfield(n int) Bitfield { return Bitfield{make([]uint64, (n+63)/64), n} }

// Len is the number of pieces.
func (b Bitfield) Len() int { return b.n }

// Has reports whether piece i is set; a piece outside the package never is.
func (b Bitfield) Has(i manifest.PieceIndex) bool {
	return int(i) < b.n && b.words[i/64]&(1<<(i%64)) != 0
}

// Set sets piece i; a piece outside the package is ignored.
func (b Bitfield) Set(i manifest.PieceIndex) {
	if int(i) < b.n {
		b.words[i/64] |= 1 << (i % 64)
	}
}

// Clear unsets piece i.
func (b Bitfield) Clear(i manifest.PieceIndex) {
	if int(i) < b.n {
		b.words[i/64] &^= 1 << (i % 64)
	}
}

// SetAll sets every piece.
func (b Bitfield) SetAll() {
	for i := range b.words {
		b.words[i] = ^uint64(0)
	}
	if r := b.n % 64; r != 0 {
		b.words[len(b.words)-1] = 1<<r - 1
	}
}

// Count is the number of pieces set.
func (b Bitfield) Count() int {
	n := 0
	for _, w := range b.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// Full reports whether every piece is set; a package without pieces always is.
func (b Bitfield) Full() bool { return b.Count() == b.n }

// Clone returns an independent copy.
func (b Bitfield) Clone() Bitfield {
	return Bitfield{append([]uint64(nil), b.words...), b.n}
}

// Without unsets every piece of b that is set in o, which has the same length.
func (b Bitfield) Without(o Bitfield) {
	for i := range b.words {
		b.words[i] &^= o.words[i]
	}
}

// Or sets every piece of b that is set in o, which has the same length.
func (b Bitfield) Or(o Bitfield) {
	for i := range b.words {
		b.words[i] |= o.words[i]
	}
}

// Meets reports whether b and o, which has the same length, share a piece that is set.
func (b Bitfield) Meets(o Bitfield) bool {
	for i, w := range b.words {
		if w&o.words[i] != 0 {
			return true
		}
	}
	return false
}

// All yields the pieces that are set, in order.
func (b Bitfield) All(yield func(manifest.PieceIndex) bool) {
	for i, w := range b.words {
		for ; w != 0; w &= w - 1 {
			if !yield(manifest.PieceIndex(i*64 + bits.TrailingZeros64(w))) {
				return
			}
		}
	}
}

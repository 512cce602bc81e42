package plan

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"handout/manifest"
)

func fieldOf(n int, pieces ...manifest.PieceIndex) Bitfield {
	b := NewBitfield(n)
	for _, i := range pieces {
		b.Set(i)
	}
	return b
}

func list(b Bitfield) (all []manifest.PieceIndex) { return slices.Collect(b.All) }

func TestEligible(t *testing.T) {
	v := View{
		Have: fieldOf(10, 0), Requested: fieldOf(10, 1), Reading: fieldOf(10, 2),
		Neighbours: []Neighbour{
			{Have: fieldOf(10, 3)},                          // will pass it on
			{Have: fieldOf(10, 4, 5), Mute: true},           // will not
			{Have: fieldOf(10, 6, 7, 8, 9), Complete: true}, // capacity decides about seeds, not what they hold
		},
	}
	if got, want := list(Eligible(v, false)), []manifest.PieceIndex{4, 5, 6, 7, 8, 9}; !slices.Equal(got, want) {
		t.Errorf("eligible %v, want %v", got, want)
	}
	if got, want := list(Eligible(v, true)), []manifest.PieceIndex{1, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(got, want) {
		t.Errorf("stalled: eligible %v, want %v", got, want)
	}
}

func TestNextRun(t *testing.T) {
	first := func(int) int { return 0 }
	last := func(n int) int { return n - 1 }
	e := fieldOf(100, 10, 11, 12, 13, 50, 51, 99)
	tests := []struct {
		name   string
		next   manifest.PieceIndex
		limit  int
		random func(int) int
		want   Run
	}{
		{"goes on where the last run ended", 11, 8, last, Run{11, 3}},
		{"no longer than its limit", 10, 2, last, Run{10, 2}},
		{"else begins at a random eligible piece", 14, 8, first, Run{10, 4}},
		{"the last one too", 14, 8, last, Run{99, 1}},
		{"and leaves no crumbs before it", 14, 3, func(int) int { return 2 }, Run{10, 3}},
		{"a connection without a last run begins anywhere", 100, 1, func(int) int { return 4 }, Run{50, 1}},
	}
	for _, tt := range tests {
		if got := NextRun(e, tt.next, tt.limit, tt.random); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := NextRun(NewBitfield(100), 0, 8, first); got.Len != 0 {
		t.Errorf("nothing eligible: got %v", got)
	}
}

// Whatever is eligible and whoever draws the lots: a run lies within the eligible pieces and its limit.
func TestRunStaysWithinTheEligible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "pieces")
		e := NewBitfield(n)
		for _, i := range rapid.SliceOf(rapid.IntRange(0, n-1)).Draw(t, "eligible") {
			e.Set(manifest.PieceIndex(i))
		}
		limit := rapid.IntRange(1, 50).Draw(t, "limit")
		r := NextRun(e, manifest.PieceIndex(rapid.IntRange(0, n).Draw(t, "next")), limit, rand.IntN)
		if (r.Len == 0) != (e.Count() == 0) || r.Len > limit {
			t.Fatalf("run %v of %d eligible, limit %d", r, e.Count(), limit)
		}
		for k := range r.Len {
			if !e.Has(r.First + manifest.PieceIndex(k)) {
				t.Fatalf("run %v holds piece %d, which is not eligible", r, int(r.First)+k)
			}
		}
	})
}

func TestRunLimit(t *testing.T) {
	for _, tt := range []struct {
		name        string
		pieceLength int64
		rate        float64
		allowed     time.Duration
		want        int
	}{
		{"an unknown rate begins with one piece", 1 << 20, 0, time.Hour, 1},
		{"a second of the rate", 1 << 20, 8 << 20, time.Second, 8},
		{"never so long that a cut connection loses much", 1 << 20, 1 << 40, time.Hour, 32},
		{"small pieces come several at a time", 64 << 10, 0, time.Hour, 4},
		{"never less than a piece", 16 << 20, 1 << 20, time.Hour, 1},
		{"whoever may only just read begins with one piece", 64 << 10, 8 << 20, 0, 1},
		{"and reads no longer at once than it has been allowed to", 64 << 10, 8 << 20, 250 * time.Millisecond, 32},
		{"nor then more than a cut connection may lose", 1 << 20, 1 << 40, 250 * time.Millisecond, 32},
	} {
		if got := RunLimit(tt.pieceLength, tt.rate, tt.allowed); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestBitfield(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 200).Draw(t, "n")
		b, model := NewBitfield(n), map[int]bool{}
		for range rapid.IntRange(0, 50).Draw(t, "steps") {
			i := rapid.IntRange(0, n+70).Draw(t, "i")
			if rapid.Bool().Draw(t, "set") {
				b.Set(manifest.PieceIndex(i))
				if i < n {
					model[i] = true
				}
			} else {
				b.Clear(manifest.PieceIndex(i))
				delete(model, i)
			}
		}
		for i := range n + 70 {
			if b.Has(manifest.PieceIndex(i)) != model[i] {
				t.Fatalf("piece %d: %v, want %v", i, !model[i], model[i])
			}
		}
		if b.Count() != len(model) || b.Full() != (len(model) == n) || len(list(b)) != len(model) {
			t.Fatalf("count %d, full %v, listed %d of %d", b.Count(), b.Full(), len(list(b)), len(model))
		}
		c := b.Clone()
		c.SetAll()
		if !c.Full() || b.Count() != len(model) {
			t.Fatal("a clone shares memory, or SetAll is wrong")
		}
		c.Without(b)
		if c.Count() != n-len(model) {
			t.Fatal("Without is wrong")
		}
		c.Or(b)
		if !c.Full() {
			t.Fatal("Or is wrong")
		}
	})
}

func TestMeter(t *testing.T) {
	var m Meter
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if m.PerSecond(at) != 0 {
		t.Error("a meter that measured nothing has a rate")
	}
	for range 40 { // 4 s at 1000 bytes each 100 ms
		m.Add(at, 1000)
		at = at.Add(100 * time.Millisecond)
	}
	if got := m.PerSecond(at); got < 8500 || got > 11000 {
		t.Errorf("rate %v, want about 10000", got)
	}
	if got := m.Best(); got < 9000 || got > 12500 {
		t.Errorf("best %v, want about 10000", got)
	}
	if got := m.PerSecond(at.Add(10 * time.Second)); got != 0 {
		t.Errorf("ten seconds later the rate is %v", got)
	}
	if got := m.Best(); got < 9000 {
		t.Errorf("the best was forgotten: %v", got)
	}
}

func TestMeets(t *testing.T) {
	for _, tt := range []struct {
		a, b Bitfield
		want bool
	}{
		{fieldOf(200, 1, 150), fieldOf(200, 2, 150), true},
		{fieldOf(200, 1, 150), fieldOf(200, 2, 151), false},
		{fieldOf(200), fieldOf(200, 2), false},
		{NewBitfield(0), NewBitfield(0), false},
	} {
		if got := tt.a.Meets(tt.b); got != tt.want {
			t.Errorf("%v meets %v: %v", list(tt.a), list(tt.b), got)
		}
	}
}

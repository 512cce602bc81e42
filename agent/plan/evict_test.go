package plan

import (
	"slices"
	"testing"
)

func TestEvict(t *testing.T) {
	used := func(days int, bytes int64) Cached { return Cached{Bytes: bytes, Used: noon.AddDate(0, 0, -days)} }
	pinned, named, busy, needed := used(99, 50), used(98, 50), used(97, 50), used(96, 50)
	pinned.Pinned, named.Named, busy.Busy, needed.Needed = true, true, true, true
	unknown := Cached{Bytes: 5}
	for _, c := range []struct {
		what    string
		cached  []Cached
		excess  int64
		victims []int
		freed   int64
	}{
		{"nothing is too much", []Cached{used(9, 10)}, 0, nil, 0},
		{"less than nothing is too much", []Cached{used(9, 10)}, -5, nil, 0},
		{"the longest unused goes first", []Cached{used(1, 10), used(3, 10), used(2, 10)}, 5, []int{1}, 10},
		{"no more go than must", []Cached{used(1, 10), used(3, 10), used(2, 10)}, 11, []int{1, 2}, 20},
		{"exactly enough is enough", []Cached{used(1, 10), used(3, 10)}, 10, []int{1}, 10},
		{"of two the larger", []Cached{used(3, 10), used(3, 30), used(3, 20)}, 1, []int{1}, 30},
		{"never known to be used comes before all", []Cached{used(300, 10), unknown}, 1, []int{1}, 5},
		{"pinned, named, busy and needed stay", []Cached{pinned, named, busy, needed, used(1, 7)}, 5, []int{4}, 7},
		{"all that may go, though it is not enough", []Cached{pinned, used(1, 7), used(2, 8)}, 500, []int{2, 1}, 15},
		{"nothing may go", []Cached{pinned, named, busy, needed}, 5, nil, 0},
		{"an empty cache", nil, 5, nil, 0},
	} {
		victims, freed := Evict(c.cached, c.excess)
		if !slices.Equal(victims, c.victims) || freed != c.freed {
			t.Errorf("%s: %v go and free %d; want %v and %d", c.what, victims, freed, c.victims, c.freed)
		}
	}
}

func TestExcess(t *testing.T) {
	for _, c := range []struct {
		what               string
		budget             Budget
		used, free, coming int64
		want               int64
	}{
		{"no bounds, room enough", Budget{}, 100, 50, 50, 0},
		{"no bounds, no room", Budget{}, 100, 50, 60, 10},
		{"no bounds, nothing comes, a full disk is not ours to empty", Budget{}, 100, 0, 0, 0},
		{"within the bytes", Budget{MaxBytes: 100}, 60, 500, 40, 0},
		{"beyond the bytes", Budget{MaxBytes: 100}, 60, 500, 41, 1},
		{"the bytes were lowered", Budget{MaxBytes: 100}, 160, 500, 0, 60},
		{"free space stays", Budget{MinFree: 20}, 60, 100, 80, 0},
		{"free space would not stay", Budget{MinFree: 20}, 60, 100, 90, 10},
		{"others fill the disk", Budget{MinFree: 20}, 60, 5, 0, 15},
		{"the greater excess counts", Budget{MaxBytes: 100, MinFree: 20}, 90, 10, 30, 40},
		{"the file system doesn't say what is free", Budget{MaxBytes: 100, MinFree: 20}, 60, -1, 50, 10},
	} {
		if got := c.budget.Excess(c.used, c.free, c.coming); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}

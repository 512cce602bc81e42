package room

import (
	"testing"
	"time"
)

func TestBound(t *testing.T) {
	for _, c := range []struct {
		name         string
		n            int
		size         int64
		origin, host float64
		want         time.Duration
	}{
		{"alone", 1, 100, 10, 10, 10 * time.Second},
		{"equal links: as fast as one", 8, 100, 10, 10, 10 * time.Second},
		{"a slow origin", 8, 100, 1, 10, 100 * time.Second},
		{"a fast origin: the hosts' downlinks", 1, 100, 100, 10, 10 * time.Second},
		{"the room is short of uplink", 2, 100, 10, 4, 25 * time.Second},
		{"all uplinks together", 4, 90, 40, 35, 90 * time.Second / 35},
		{"sum bound", 100, 100, 20, 10, 100 * time.Second / 10},
	} {
		if got := Bound(c.n, c.size, c.origin, c.host); (got - c.want).Abs() > time.Millisecond {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

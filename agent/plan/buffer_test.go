package plan

import "testing"

func TestReceiveBuffer(t *testing.T) {
	const gbit = 1000 * mbit
	tests := []struct {
		name       string
		rate, best float64
		was        int
		want       int
	}{
		{"one of eight neighbours at 25 Mbit/s", 3 * mbit, 6 * mbit, 0, 16875},
		{"one of four origin connections there", 6 * mbit, 6 * mbit, 0, 33750},
		{"one neighbour that fills that link may fill it", 24 * mbit, 24 * mbit, 0, 0},
		{"at 1 Gbit/s the system knows better", gbit / 8, gbit / 8, 0, 0},
		{"and unshaped", 40 * gbit, 40 * gbit, 0, 0},
		{"idle at first, then fast: it grows with the rate", gbit / 8, gbit / 8, 16 << 10, 703125},
		{"a little more is not worth a call", 7 * mbit, 7 * mbit, 33750, 33750},
		{"nothing comes: what is left carries on", 0, 6 * mbit, 33750, 16 << 10},
	}
	for _, tt := range tests {
		if got := ReceiveBuffer(tt.rate, tt.best, tt.was); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

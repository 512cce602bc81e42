package plan

import (
	"testing"
	"time"
)

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
		{"one of eight neighbours at 10 Mbit/s", 1.4 * mbit, 6 * mbit, 32 << 10, 8 << 10},
		{"nothing comes: what is left carries on", 0, 6 * mbit, 33750, 8 << 10},
	}
	for _, tt := range tests {
		if got := ReceiveBuffer(tt.rate, tt.best, 1448, tt.was); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	for segment, want := range map[int]int{1448: 8 << 10, 8948: StartReceive, 65483: StartReceive} {
		if got := ReceiveBuffer(0, 0, segment, StartReceive); got != want {
			t.Errorf("segments of %d bytes: %d at least, want %d", segment, got, want)
		}
	}
}

// A window that is full doubles until the system takes over, whatever way it serves; one that is not stays.
func TestOpenWindow(t *testing.T) {
	for _, tt := range []struct {
		name string
		rate float64 // bytes per second
		way  time.Duration
		want int
	}{
		{"nothing comes", 0, time.Second, StartReceive},
		{"one of four connections to an origin at 10 Mbit/s", 2.5 * mbit, 50 * time.Millisecond, StartReceive},
		{"full after 50 ms", StartReceive / 0.05, 50 * time.Millisecond, 2 * StartReceive},
		{"full after a long way", StartReceive / 0.3, 300 * time.Millisecond, 2 * StartReceive},
	} {
		if got := OpenWindow(StartReceive, tt.rate, tt.way); got != tt.want {
			t.Errorf("%s: %d bytes, want %d", tt.name, got, tt.want)
		}
	}
	if got := OpenWindow(mostReceive, 1000*mbit, time.Second); got != 0 {
		t.Errorf("a window of %d bytes that is full: %d, want it left to the system", mostReceive, got)
	}
}

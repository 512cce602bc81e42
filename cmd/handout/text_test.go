package main

import (
	"testing"
	"time"
)

// TestTerminalTakeover: a name in a manifest, or what a server answers, could clear the screen, colour a line to look
// like ours, ring the bell or turn the reading direction round.
func TestTerminalTakeover(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"Ärger 100 % – 日本語", "Ärger 100 % – 日本語"},
		{"\x1b[2J", `\x1b[2J`},
		{"a\r\nhandout: done", `a\r\nhandout: done`},
		{"\x07\x00\x7f", `\a\x00\x7f`},
		{"\u009b31m", `\u009b31m`},         // C1: the one-character form of ESC [
		{"cod.\u202etxe", `cod.\u202etxe`}, // right-to-left override
		{"a\u2028b", `a\u2028b`},
		{"a\xffb", `a\xffb`},
		{"\ufffd", "\ufffd"},
	} {
		if got := printable(c.in); got != c.want {
			t.Errorf("printable(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestSizeText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB", 99 << 20: "99.0 MiB", 100 << 20: "100 MiB", 1023 << 20: "1023 MiB", 5 << 30: "5.0 GiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := sizeText(n); got != want {
			t.Errorf("sizeText(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestTimeText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Millisecond:         "under 0.1 s",
		0:                        "0 s",
		1240 * time.Millisecond:  "1.2 s",
		42 * time.Second:         "42 s",
		59900 * time.Millisecond: "60 s",
		185 * time.Second:        "3 min 5 s",
		127 * time.Minute:        "2 h 7 min",
	} {
		if got := timeText(d); got != want {
			t.Errorf("timeText(%v) = %q, want %q", d, got, want)
		}
	}
}

// TestPercentText: 100 % is a promise.
func TestPercentText(t *testing.T) {
	for _, c := range []struct {
		done, total int64
		want        string
	}{{0, 10, "0 %"}, {999_999, 1_000_000, "99 %"}, {10, 10, "100 %"}, {0, 0, "100 %"}} {
		if got := percentText(c.done, c.total); got != c.want {
			t.Errorf("percentText(%d, %d) = %q, want %q", c.done, c.total, got, c.want)
		}
	}
}

func TestByteSize(t *testing.T) {
	for _, c := range []struct {
		in   string
		want byteSize // 0: refused
	}{
		{"65536", 65536}, {"64KiB", 65536}, {"64K", 65536}, {"1MiB", 1 << 20}, {"1 MiB", 1 << 20}, {"2G", 2 << 30}, {"12B", 12}, {"1MB", 1e6},
		{"", 0}, {"0", 0}, {"-1", 0}, {"1.5MiB", 0}, {"MiB", 0}, {"9999999999999G", 0}, {"1 000", 0},
	} {
		var got byteSize
		if err := got.Set(c.in); got != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("Set(%q) = %d, %v; want %d", c.in, got, err, c.want)
		}
	}
}

package httporigin

import (
	"testing"
	"time"
)

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/100", "bytes 0-9/*", "bytes */100", "bytes */*", "BYTES 5-5/6", "bytes 9-0/100", "bytes 0-9/5",
		"bytes 0-99999999999999999999/*", "bytes -1-5/9", "bytes 0-9", "bytes", "", "lines 0-1/2", "bytes  1-2/3 ", "bytes 1--2/3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := parseContentRange(s)
		if !ok {
			return
		}
		unsatisfied := r.first == -1 && r.last == -1 && r.total >= 0
		part := r.first >= 0 && r.last >= r.first && (r.total == -1 || r.last < r.total)
		if !unsatisfied && !part {
			t.Errorf("%q: %+v", s, r)
		}
	})
}

func TestContentRange(t *testing.T) {
	for s, want := range map[string]span{
		"bytes 0-9/100": {0, 9, 100},
		"bytes 5-5/*":   {5, 5, -1},
		"bytes */100":   {-1, -1, 100},
	} {
		if got, ok := parseContentRange(s); !ok || got != want {
			t.Errorf("%q: %+v, %v", s, got, ok)
		}
	}
	for _, s := range []string{"bytes */*", "bytes 9-0/100", "bytes 0-9/9", "bytes +1-9/99", "bytes 0-9", "items 0-9/99", "bytes=0-9/99"} {
		if got, ok := parseContentRange(s); ok {
			t.Errorf("%q was understood: %+v", s, got)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range []string{"0", "120", "-5", "1e9", "99999999999999999999", "9223372036854775807", "Thu, 01 Jan 2026 00:01:00 GMT",
		"Thu, 01 Jan 2025 00:01:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "", " 5 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := parseRetryAfter(s, now); d < 0 || d > maxRetryAfter {
			t.Errorf("%q: %v", s, d)
		}
	})
}

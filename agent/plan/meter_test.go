package plan

import (
	"testing"
	"time"
	"unsafe"
)

// clockSet is a time as the system tells it after its clock was set by so many seconds: what has gone by since is the same.
func clockSet(t time.Time, seconds int64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds) << 30 // the field wall: a flag, 33 bits of seconds, 30 of nanoseconds
	return t
}

func TestMeterWhenTheClockIsSet(t *testing.T) {
	const year = 365 * 24 * 3600
	for _, jump := range []int64{year, -year} {
		var m Meter
		now := time.Now()
		if got := clockSet(now, jump); got.Sub(now) != 0 || got.Unix() != now.Unix()+jump {
			t.Fatalf("this version of Go keeps time otherwise: %v is %v", now, got)
		}
		for i := range 80 {
			if i == 30 {
				now = clockSet(now, jump)
			}
			m.Add(now, 100)
			now = now.Add(100 * time.Millisecond)
			if rate := m.PerSecond(now); i >= 19 && (rate < 700 || rate > 1300) {
				t.Fatalf("set by %d s, after %d ms: %.0f bytes a second, want 1000", jump, 100*i, rate)
			}
		}
	}
}

package smborigin

import (
	"testing"
	"testing/synctest"
	"time"
)

// arrives has a stream's reader take n chunks, one after each pause, and returns the stream.
func arrives(l *link, first, pause time.Duration, n int, size int64) *stream {
	const total = 32 << 20
	s := &stream{link: l, left: total, end: total}
	time.Sleep(first)
	for range n {
		s.left -= size
		s.judge(time.Now())
		time.Sleep(pause)
	}
	return s
}

// How fast a connection is, is told by what comes, not by how long its first answer waited behind those of others.
func TestFastConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{}
		if arrives(l, 0, 64*time.Millisecond, 64, smallChunk); l.fast.Load() {
			t.Error("1 MB/s is fast")
		}
		arrives(l, 0, 0, 2*ahead, smallChunk)
		if l.fast.Load() {
			t.Error("what lay ready together is fast")
		}
		arrives(l, 100*time.Millisecond, 2*time.Millisecond, 20, smallChunk)
		if !l.fast.Load() {
			t.Error("31 MB/s are not fast, where the first answer came late")
		}
		if arrives(l, 100*time.Millisecond, 8*time.Millisecond, 2, chunk); !l.fast.Load() {
			t.Error("what is fast is slow at the beginning of the next run")
		}
		if arrives(l, 0, time.Second, 8, chunk); l.fast.Load() {
			t.Error("a connection that became slow is still fast")
		}
	})
}

func TestDepthFollowsTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			roundTrip, pause time.Duration // a chunk comes after each pause
			want             int
		}{
			{300 * time.Microsecond, time.Millisecond, ahead},
			{2 * time.Millisecond, 8 * time.Millisecond, ahead},
			{10 * time.Millisecond, 2 * time.Millisecond, ahead + 4},
			{time.Second, 2 * time.Millisecond, farthest},
		} {
			l := &link{}
			l.took(2 * time.Second)
			l.took(c.roundTrip)
			l.took(2 * c.roundTrip)
			if got := arrives(l, c.roundTrip, c.pause, 20, chunk).depth(); got != c.want {
				t.Errorf("%v there and back, a chunk every %v: %d ahead, want %d", c.roundTrip, c.pause, got, c.want)
			}
		}
	})
}

package swarm

import (
	"reflect"
	"unsafe"

	"github.com/anacrolix/torrent"
)

// peakRequests is where the engine keeps how many requests its last look at a neighbour added; twice that is the most it
// then has under way. After a look that adds few, as there was one new piece or the queue was full, next to nothing may
// be on order, and from there it doubles by one round trip each. In a room, where every HAVE is a look, the queue never
// fills: two machines at 25 Mbit/s had a dozen pieces to ask of each other and one or two blocks on order, and took a
// tenth longer for it. There is no public way around that, and how much is on order is for depth to say. In an engine
// without such a field, which a test would tell, peakKnown is false and the engine goes by its own measure.
var peakRequests, peakKnown = offsetOf[int](reflect.TypeFor[torrent.Peer](), "peakRequests")

func offsetOf[T any](s reflect.Type, field string) (uintptr, bool) {
	f, ok := s.FieldByName(field)
	return f.Offset, ok && len(f.Index) == 1 && f.Type == reflect.TypeFor[T]()
}

// fillAtOnce lets the engine's next look at a neighbour put as much on order as the neighbour's depth allows: not for one
// that may be a liar, whose answers are waste. It runs under the engine's lock.
func fillAtOnce(pc *torrent.PeerConn) {
	if peakKnown {
		*(*int)(unsafe.Add(unsafe.Pointer(&pc.Peer), peakRequests)) = pc.PeerMaxRequests
	}
}

// proven reports whether a piece of a neighbour's came right.
func (t *Torrent) proven(pc *torrent.PeerConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.neighbours[&pc.Peer]
	return n != nil && n.record.good > 0
}

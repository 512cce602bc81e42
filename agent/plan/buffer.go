package plan

import "time"

const (
	// receiveTime is how much a connection may have on its way, in time: many neighbours that send at once otherwise fill
	// the queue before a slow link, and what is thrown away there is sent again.
	receiveTime = 45 * time.Millisecond
	// leastReceive keeps a connection going that had nothing to bring for a while, and is no more than what each of eight
	// neighbours has on its way at 10 Mbit/s: with twice as much they fill the queue there by themselves. But leastSegments
	// must fit in, up to StartReceive, or the sender waits for room. Beyond mostReceive the system, which knows the way's
	// length, sizes it better.
	leastReceive  = 8 << 10
	leastSegments = 4
	mostReceive   = 128 << 10
	// StartReceive is what a neighbour's connection may receive before its rate is known, in bytes. The room's first pieces
	// are asked for by everybody at once: without it two fifths of what was sent in the second second was sent again.
	StartReceive = 32 << 10
)

// ReceiveBuffer sizes what a connection may receive ahead of its reader, in bytes, by its rate over the last seconds and by
// the best it had in one (bytes per second), in segments of so many bytes. Was is what it was sized to before; 0, both ways: it
// is left to the system, which does not take it back once it was sized.
func ReceiveBuffer(rate, best float64, segment, was int) int {
	if was == 0 && best*receiveTime.Seconds() > mostReceive {
		return 0
	}
	size := max(leastReceive, min(leastSegments*segment, StartReceive), int(rate*receiveTime.Seconds()))
	if was > 0 && size > was*3/4 && size < was*5/4 {
		return was // not at every breath
	}
	return size
}

// OpenWindow sizes the window of a connection that began with StartReceive, from its rate in bytes per second and the time
// that the way takes, there and back: twice was, if most of that was on its way, as a sender doubles what it sends. 0: so much
// that it is left to the system.
func OpenWindow(was int, rate float64, way time.Duration) int {
	switch {
	case rate*way.Seconds() <= float64(was)*3/4:
		return was
	case 2*was > mostReceive:
		return 0
	}
	return 2 * was
}

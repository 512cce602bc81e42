package plan

import (
	"net/netip"
	"time"
)

// Connected is a neighbour as it counts when one has to go.
type Connected struct {
	Host  netip.Addr    // its machine; invalid: this one, of which every agent is a machine of its own
	Age   time.Duration // of the connection
	Get   bool          // it has something that is missing here
	Give  bool          // it lacks something that is here
	Gives float64       // what it sent here lately, in bytes per second
	Sent  float64       // what was sent to it lately, in bytes per second
}

// proveWithin is how long a neighbour that could be given something may take until it is. One that has nothing to give itself,
// and takes nothing either, is no loss.
const proveWithin = 2 * time.Second

// MakeRoom chooses which of too many neighbours goes for a newcomer from that host; false: the newcomer. Random returns a
// number in [0, n).
//
// Names cost nothing, and connections little: a machine that comes again and again must not take a place from others. So one of
// its own host goes first, if any is here, or else one of the host that has most. Of these goes, in this order, one
// with whom there is nothing to share; one that gives nothing and has been sent nothing for a while; who was sent least of
// those that give nothing; who gave least. But as long as one is here that has not had the time to take anything, the
// newcomer waits: else those who come fastest would keep everybody out.
func MakeRoom(newcomer netip.Addr, all []Connected, random func(n int) int) (goes int, ok bool) {
	count, most := map[netip.Addr]int{}, 1
	for _, c := range all {
		if c.Host.IsValid() {
			count[c.Host]++
			most = max(most, count[c.Host])
		}
	}
	own := newcomer.IsValid() && count[newcomer] > 0
	class, worth, ties := 0, 0.0, 0
	for i, c := range all {
		if own && c.Host != newcomer || !own && most > 1 && count[c.Host] < most {
			continue
		}
		k, w := c.class()
		if k == young && (own || most > 1) {
			k = idle // its host has others here, or comes again at once
		}
		switch {
		case ties == 0 || k < class || k == class && w < worth:
			class, worth, ties, goes = k, w, 1, i
		case k == class && w == worth:
			if ties++; random(ties) == 0 {
				goes = i
			}
		}
	}
	return goes, ties > 0 && class != young
}

// The classes of neighbours, the first to go first.
const (
	useless = iota
	idle
	young
	taker
	giver
)

func (c Connected) class() (class int, worth float64) {
	switch {
	case c.Get:
		return giver, c.Gives
	case !c.Give:
		return useless, 0
	case c.Sent > 0:
		return taker, c.Sent
	case c.Age < proveWithin:
		return young, 0
	}
	return idle, 0
}

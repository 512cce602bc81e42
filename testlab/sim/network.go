package main

import "math"

// A network is links of so many bytes per second and flows over them. Every flow gets its max-min fair share: no flow can
// have more without taking it from one that has no more than it. That is what many long TCP connections come to.
type network struct {
	room  []float64 // bytes per second, by link
	flows []*flow
	stale bool // flows or links have changed since the last share-out

	// for share, kept between calls
	left   []float64 // of a link's room, by link
	count  []int32   // flows without a rate yet, by link
	first  []int32   // where a link's flows begin in byLink
	byLink []*flow
	heap   []offer
}

type link int32

// none fills the place of a link that a flow does not have.
const none link = -1

// A flow is one piece on its way.
type flow struct {
	over  [3]link
	bytes float64 // still to come
	rate  float64 // bytes per second
	at    int     // in network.flows
	fixed bool

	piece  piece
	from   *machine   // nil: the origin
	to     *machine   //
	via    *neighbour // from, as to sees it; nil: the origin
	stream *stream    // nil: a neighbour
	began  moment
}

// offer is what a link would give each of its flows that have no rate yet.
type offer struct {
	share float64
	of    link
}

func newNetwork(links int) *network {
	return &network{
		room: make([]float64, links), left: make([]float64, links),
		count: make([]int32, links), first: make([]int32, links+1),
	}
}

func (n *network) add(f *flow) {
	f.at = len(n.flows)
	n.flows = append(n.flows, f)
	n.stale = true
}

func (n *network) remove(f *flow) {
	last := n.flows[len(n.flows)-1]
	n.flows[f.at], last.at = last, f.at
	n.flows = n.flows[:len(n.flows)-1]
	f.at = -1
	n.stale = true
}

func (n *network) setRoom(l link, bytesPerSecond float64) {
	n.room[l] = bytesPerSecond
	n.stale = true
}

// share gives every flow its rate. It fills the links up together: the link that can give its flows least is the
// bottleneck of them all; their rate is fixed, and the rest is shared out anew. As shares only grow on the way, an offer
// in the heap that has become too low is put back when it is met.
func (n *network) share() {
	if !n.stale {
		return
	}
	n.stale = false
	n.index()
	n.heap = n.heap[:0]
	for l, c := range n.count {
		if c > 0 {
			n.left[l] = n.room[l]
			n.push(offer{n.room[l] / float64(c), link(l)})
		}
	}
	for len(n.heap) > 0 {
		o := n.pop()
		if n.count[o.of] == 0 {
			continue
		}
		now := math.Max(0, n.left[o.of]) / float64(n.count[o.of])
		if now > o.share*(1+1e-9) {
			n.push(offer{now, o.of})
			continue
		}
		for _, f := range n.byLink[n.first[o.of]:n.first[o.of+1]] {
			if f.fixed {
				continue
			}
			f.fixed, f.rate = true, now
			for _, l := range f.over {
				if l != none {
					n.left[l] -= now
					n.count[l]--
				}
			}
		}
	}
}

// index sorts the flows by link.
func (n *network) index() {
	clear(n.count)
	total := int32(0)
	for _, f := range n.flows {
		f.fixed = false
		for _, l := range f.over {
			if l != none {
				n.count[l]++
				total++
			}
		}
	}
	sum := int32(0)
	for l, c := range n.count {
		n.first[l] = sum
		sum += c
	}
	n.first[len(n.count)] = sum
	if int(total) > cap(n.byLink) {
		n.byLink = make([]*flow, 2*total)
	}
	n.byLink = n.byLink[:total]
	for _, f := range n.flows {
		for _, l := range f.over {
			if l != none {
				n.byLink[n.first[l]] = f
				n.first[l]++
			}
		}
	}
	copy(n.first[1:], n.first) // each has moved on to where the next begins
	n.first[0] = 0
}

// advance moves bytes for so many seconds and returns the flows that have arrived. What a flow had too much is below 0.
func (n *network) advance(seconds float64, arrived []*flow) []*flow {
	for _, f := range n.flows {
		b := f.rate * seconds
		f.bytes -= b
		f.to.got += b
		if f.via != nil {
			f.via.got += b
		} else {
			f.to.drawn += b
		}
		if f.bytes <= 1e-6 {
			arrived = append(arrived, f)
		}
	}
	return arrived
}

func (n *network) push(o offer) {
	h := append(n.heap, o)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h[up].share <= h[i].share {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
	n.heap = h
}

func (n *network) pop() offer {
	h := n.heap
	top := h[0]
	h[0] = h[len(h)-1]
	h = h[:len(h)-1]
	for i := 0; ; {
		low := 2*i + 1
		if low >= len(h) {
			break
		}
		if low+1 < len(h) && h[low+1].share < h[low].share {
			low++
		}
		if h[i].share <= h[low].share {
			break
		}
		h[i], h[low] = h[low], h[i]
		i = low
	}
	n.heap = h
	return top
}

package plan

import (
	"fmt"
	"time"
)

// View is what one machine knows of one package at one moment.
type View struct {
	Have      Bitfield // verified here
	Requested Bitfield // asked of a neighbour that is not mute, not arrived yet
	Reading   Bitfield // being read from the origin by this machine

	PieceBytes int64  // of every piece but perhaps the last
	Lot        uint64 // tells this machine from its neighbours
	Neighbours []Neighbour

	Rate     float64       // bytes per second arriving now, from everywhere
	PeerRate float64       // of Rate, what comes from neighbours
	Link     float64       // most that ever arrived in a second, bytes per second; 0: nothing yet
	Slow     time.Duration // how long Rate has been under a tenth of what link and origin gave at best
	Halved   time.Duration // how long Rate has been under half of Link

	Age       time.Duration // since this machine began to look for neighbours
	GaveUp    bool          // a Lone read was given up
	Awaits    bool          // nobody of the site was met yet, but somebody should be: an admin named them, or they are neighbours
	SeedsHere time.Duration // since the first connected seed could be asked; 0: none is
	SeedRate  float64       // most that came from the seeds here for some seconds, bytes per second
	OriginUse time.Duration // for how long the origin was read while a seed was connected
	Trial     float64       // most that came from neighbours in a second within seedTrial of the first seed, bytes per second
}

// Neighbour is one connected machine as seen from here.
type Neighbour struct {
	Have      Bitfield
	Complete  bool    // a seed
	Delivered bool    // it sent a block within the last ten seconds
	Mute      bool    // it was asked and sent nothing for ten seconds
	Rate      float64 // bytes per second it sent here in the last second
	Best      float64 // most it ever sent here in a second, bytes per second
	Lot       uint64  // tells machines apart, and is known to all
}

// isLeech reports whether a neighbour is incomplete and answers.
func (n Neighbour) isLeech() bool { return !n.Complete && !n.Mute }

// Use is how much of the origin the admin grants a machine.
type Use string

// The uses. The empty one is Auto.
const (
	Auto     Use = "auto"     // as the plan says
	Fallback Use = "fallback" // only where neighbours give nothing
	Never    Use = "never"    // neighbours only
	Fastest  Use = "fastest"  // beside whatever seeds are near, if that makes this machine faster
)

// Valid reports whether u is one of the uses.
func (u Use) Valid() bool {
	switch u {
	case "", Auto, Fallback, Never, Fastest:
		return true
	}
	return false
}

// Policy is what the admin decided.
type Policy struct {
	Use         Use
	Connections int  // K: origin connections, at least 1
	EnoughSeeds int  // so many seeds that deliver spare the origin
	NoPeers     bool // nobody is waited for
}

// Verdict says how the origin may be used now.
type Verdict struct {
	Connections int    // how many connections this machine may have; 0: leave the origin alone
	Stalled     bool   // any missing piece may be read, not only eligible ones
	Brief       bool   // one piece at a time: it is a trial
	Lone        bool   // nobody was met yet, but there may be many: what comes too slowly is given up (View.GivesUp)
	Why         string // for people, in a few words
}

const (
	// firstSweep and silence are how long a machine that hears nobody holds back: one connection after the first sweep,
	// all of them after the silence, since forty such machines would be the flood.
	firstSweep = 500 * time.Millisecond
	silence    = 2 * time.Second

	stallAfter = 10 * time.Second
	halvedFor  = time.Second

	// seedTrial is how long seeds are left to show what the room can do with them alone, before the origin is tried
	// beside them; originTrial is how long that takes to show whether the link had room for more.
	seedTrial   = time.Second
	originTrial = 500 * time.Millisecond
	// saturated is the share of the link that counts as all of it: two meters never agree to the last byte.
	saturated = 0.8
	// offered is how much incomplete neighbours have to give, in time on this machine's link, where new pieces are not
	// what it waits for.
	offered = 250 * time.Millisecond
	// plenty is the same where the seeds were not seen to be fast, as they are not by a machine that has no time for them.
	plenty = 2 * time.Second
	// enough is what they have to give where this machine's link is full, if anything can fill it, without new pieces; served
	// is the share of the link that they must fill for that, for nothing comes of what they only have. It is servedWell where
	// there is a connection for each machine, so that nobody waits for what this one reads, and of whoever has a lead over them
	// all, for it lives on new pieces; in a room that began together nobody has one. With a fast seed, which has the new pieces
	// too, who is ahead of all but it gets less than the rest, and is served all the same.
	enough     = 500 * time.Millisecond
	served     = 0.6
	servedWell = 0.75
	lead       = 500 * time.Millisecond
)

// stalledBy says in a few words what a stalled machine gets nothing from.
func (v View) stalledBy() string {
	if len(v.Neighbours) == 0 {
		return "stalled: the origin gives next to nothing"
	}
	return "stalled: neither the neighbours nor the origin give much"
}

// AloneHere is why a machine that has met nobody reads from the origin.
const AloneHere = "alone here"

// MayUseOrigin is the local half of the plan: what a machine may take from the origin by what it sees itself. A lease,
// where leases are given, is needed on top. A seed counts by what it delivered, not by what it claims.
func MayUseOrigin(v View, p Policy) Verdict {
	if p.Use == Never {
		return Verdict{Why: "the origin is not to be used"}
	}
	if p.NoPeers {
		return Verdict{Connections: p.Connections, Stalled: true, Why: "alone by order"}
	}
	if v.Slow >= stallAfter {
		return Verdict{Connections: p.Connections, Stalled: true, Why: v.stalledBy()}
	}
	leeches := v.leeches()
	var seeds, delivering int
	var seedBest float64
	for _, n := range v.Neighbours {
		if n.Complete && !n.Mute {
			seeds++
			seedBest += n.Best
			if n.Delivered {
				delivering++
			}
		}
	}
	if leeches+seeds == 0 {
		switch {
		case v.Age < firstSweep, p.Use == Fallback && v.Age < silence:
			return Verdict{Why: "looking for neighbours"}
		case v.Age < silence && v.GaveUp:
			return Verdict{Why: "the origin gives little: looking for neighbours"}
		case v.Age < silence:
			return Verdict{Connections: 1, Lone: true, Why: "no neighbour yet"}
		}
		if v.Awaits {
			return Verdict{Connections: 1, Why: "the machines that were named can't be reached yet"}
		}
		return Verdict{Connections: p.Connections, Why: AloneHere}
	}
	share := p.Connections // of which the steward gives K/n while n machines wait for new pieces
	switch {
	case v.Age < silence, v.Awaits:
		share = 1 // the rest of the room may not have been met yet, nor its steward
	case leeches >= p.Connections || v.Fed(p.Connections):
		share = (p.Connections + leeches) / (leeches + 1) // K/n, rounded up
	}
	halved := v.Halved >= halvedFor
	switch {
	case p.Use == Fallback && (v.Age < silence || v.NeighboursHelp()):
		return Verdict{Why: "neighbours are near: the origin is only a fallback"}
	case p.Use == Fallback:
		return Verdict{Connections: share, Why: "no neighbour has what is missing"}
	case p.Use == Fastest:
		return Verdict{Connections: share, Why: "the fastest way is wanted"}
	case seeds == 0:
		return Verdict{Connections: share, Why: fmt.Sprintf("sharing with %d neighbours", leeches)}
	case delivering >= p.EnoughSeeds && !halved:
		return Verdict{Why: fmt.Sprintf("%d seeds are near", delivering)}
	case v.SeedsHere < seedTrial:
		return Verdict{Why: "trying the seeds"}
	case v.OriginUse < originTrial/time.Duration(1+leeches):
		return Verdict{Connections: 1, Brief: true, Why: "trying the origin beside the seeds"}
	case !halved && leeches == 0 && max(seedBest, v.Trial) >= saturated*v.Link:
		return Verdict{Why: "the seeds fill the link"}
	case !halved && leeches > 0 && v.roomIsFed(leeches):
		return Verdict{Why: "the seeds give the room what it can pass on"}
	}
	return Verdict{Connections: share, Why: "the seeds are slower than the link"}
}

// leeches is how many incomplete neighbours answer.
func (v View) leeches() (n int) {
	for _, o := range v.Neighbours {
		if o.isLeech() {
			n++
		}
	}
	return n
}

// roomIsFed reports whether seeds bring a room new pieces as fast as its machines pass them on: the origin would add nothing
// to that. This machine gets no more than its part of what they send, and sees by that whether they are fast or a tenth as
// fast, not more. If they are fast and its link isn't full all the same, more pieces would not help as long as neighbours
// have some to give.
func (v View) roomIsFed(leeches int) bool {
	offer := v.onOffer()
	if v.SeedRate*float64(1+leeches) < v.Link/3 {
		return offer >= plenty.Seconds()*v.Link
	}
	return v.PeerRate >= served*v.Link || offer >= offered.Seconds()*v.Link
}

// onOffer is how much of what is missing the incomplete neighbours have, in bytes.
func (v View) onOffer() float64 {
	there := NewBitfield(v.Have.Len())
	for _, n := range v.Neighbours {
		if n.isLeech() {
			there.Or(n.Have)
		}
	}
	there.Without(v.Have)
	return float64(there.Count()) * float64(v.PieceBytes)
}

// Fed reports whether incomplete neighbours have enough to give, or most of what is missing at the end, and give it: new
// pieces from the origin would serve the room then, and not this machine. Who came a moment ago is told what they have in
// the next one. So many connections are shared.
func (v View) Fed(connections int) bool {
	if v.Age < silence {
		return true
	}
	share := served
	if v.leeches() < connections || v.isAhead() {
		share = servedWell
	}
	if v.PeerRate < share*v.Link {
		return false
	}
	offer := v.onOffer()
	missing := float64(v.Have.Len()-v.Have.Count()) * float64(v.PieceBytes)
	return offer > 0 && offer >= min(enough.Seconds()*v.Link, missing/2)
}

// isAhead reports whether this machine has a lead over every incomplete neighbour, in time on its link.
func (v View) isAhead() bool {
	behind := v.Have.Count() - int(lead.Seconds()*v.Link/float64(max(1, v.PieceBytes)))
	for _, n := range v.Neighbours {
		if n.isLeech() && n.Have.Count() > behind {
			return false
		}
	}
	return true
}

// NeighboursHelp reports whether a neighbour that answers has a piece that is missing here.
func (v View) NeighboursHelp() bool {
	missing := NewBitfield(v.Have.Len())
	missing.SetAll()
	missing.Without(v.Have)
	for _, n := range v.Neighbours {
		if !n.Mute && missing.Meets(n.Have) {
			return true
		}
	}
	return false
}

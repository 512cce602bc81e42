package main

import (
	"time"

	"handout/testlab/lab"
	"handout/testlab/room"
)

// row is one scenario: the room, what happens in it, and what is wanted. u is the rate of a host's link, u_s the origin's.
type row struct {
	name, about string

	hosts  int         // that fetch
	rate   lab.BitRate // u; 0: 25 Mbit/s
	origin float64     // u_s as a multiple of u; 0: 1
	size   int64       // MiB, if the command line says nothing; 0: 64

	seed   float64 // one host more has all of it from the beginning, on a link of so many u; 0: none
	over   float64 // hosts arrive one by one over so many F/u; 0: all at once
	slow   int     // so many hosts, the last ones, are on links of u/10; the others are judged
	kill   float64 // this part of the hosts is killed at half-time, the steward and who reads the origin first
	sites  int     // the hosts are of so many sites, which reach the origin but not each other; 0: one
	agents int     // so many hosts more are agents on links of u/10 that fetch it too: one of them is steward
	faulty int     // so many hosts more take part and misbehave in this way:
	fault  fault

	reference reference
	last      float64       // wanted: T_last as a multiple of the reference; 0: whatever it is
	late      time.Duration // or so much later than the reference
	copies    string        // wanted: origin bytes/F
	most      string        // wanted: most origin connections; "": K
}

// reference is what times are held against.
type reference int

const (
	bound  reference = iota // T*, all hosts together from the beginning
	alone                   // F/u, each host from its own beginning
	shared                  // F/u_s for each site
)

func (ref reference) String() string { return [...]string{"T*", "F/u", "sites × F/u_s"}[ref] }

// of is the reference in a room that hosts of one row fetch in.
func (ref reference) of(r *room.Room, w row) time.Duration {
	switch ref {
	case alone:
		return r.Bound(1)
	case shared:
		return time.Duration(w.sites) * r.Bound(1)
	default:
		return r.Bound(w.hosts)
	}
}

var rows = []row{
	{name: "n1", about: "N = 1", hosts: 1, last: 1.03, copies: "1.00"},
	{name: "n2", about: "N = 2 together", hosts: 2, last: 1.05, copies: "1.005"},
	{name: "n8", about: "N = 8 together", hosts: 8, last: 1.05, copies: "1.005"},
	{name: "n16", about: "N = 16 together", hosts: 16, last: 1.07, copies: "1.005"},
	{name: "n30", about: "N = 30 together, u = 10 Mbit/s", hosts: 30, rate: 10 * lab.Mbit, last: 1.07, copies: "1.005"},
	{name: "slow8", about: "N = 8 together, u_s = u/10", hosts: 8, origin: 0.1, last: 1.02, copies: "1.005"},
	{name: "slow16", about: "N = 16 together, u_s = u/10", hosts: 16, origin: 0.1, last: 1.02, copies: "1.005"},
	{name: "fast8", about: "N = 8 together, u_s = 10u", hosts: 8, origin: 10, last: 1.08, copies: "1.005"},
	{name: "arrive", about: "16 arrive over twice F/u, each by its own clock", hosts: 16, over: 2, reference: alone, last: 1.15, copies: "1.02"},
	{name: "seed", about: "a full seed at u, then 8 arrive", hosts: 8, seed: 1, last: 1.10, copies: "0.05"},
	{name: "slowseed", about: "a full seed at u/10, then 8 arrive", hosts: 8, seed: 0.1, last: 1.2, copies: "1.0"},
	{name: "killed", about: "N = 30, u = 10 Mbit/s, 20 % killed at half-time, steward and all lease holders among them",
		hosts: 30, rate: 10 * lab.Mbit, kill: 0.2, last: 1.25, copies: "1 + lost + K runs"},
	{name: "sites", about: "two sites of 8, one origin", hosts: 16, sites: 2, reference: shared, last: 1.10, copies: "1.02 each", most: "K each"},
	{name: "wifi", about: "2 of 16 machines at u/10: the fast ones", hosts: 16, slow: 2, reference: alone, last: 1.2, copies: "1.02"},
	{name: "wifisteward", about: "14 machines, and 2 agents at u/10 of which one is steward", hosts: 14, agents: 2, reference: alone, last: 1.2, copies: "1.02"},
	{name: "mute", about: "7 neighbours claim all and say nothing", hosts: 1, size: 256, faulty: 7, fault: muteNeighbour,
		reference: alone, late: 15 * time.Second, copies: "-"},
	{name: "lying", about: "7 neighbours send wrong bytes", hosts: 1, size: 256, faulty: 7, fault: lyingNeighbour,
		reference: alone, late: 15 * time.Second, copies: "-"},
	{name: "deafsteward", about: "N = 8, the steward is mute", hosts: 8, faulty: 1, fault: deafSteward, copies: "-", most: "K on average"},
	{name: "unfairsteward", about: "N = 8, the steward hears and grants nothing", hosts: 8, faulty: 1, fault: unfairSteward, copies: "-", most: "K on average"},
	{name: "denyingsteward", about: "N = 8, the steward says there is nothing to read", hosts: 8, faulty: 1, fault: denyingSteward, copies: "-", most: "K on average"},
}

package swarm

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// dials remembers whom was dialled, so that those who are gone hold up nobody who is there: machines that were switched off
// a moment ago are still on everybody's list, and a room that is being imaged has dozens of them.
type dials struct {
	round   int
	last    map[netip.AddrPort]int // the round in which an address was dialled last; 0: never
	latest  []netip.AddrPort       // whom the last round dialled
	dialled time.Time
}

// pendingFor is how long a dial may take before somebody else is dialled instead.
const pendingFor = 500 * time.Millisecond

// number is how many to dial for as many neighbours as are wanted: half of what is lacking, for the others dial too. A
// machine that dialled and has nobody gets no help from them.
func (d *dials) number(now time.Time, wanted int, here map[netip.AddrPort]bool) int {
	lacking := wanted - len(here)
	if now.Sub(d.dialled) < pendingFor {
		for _, a := range d.latest {
			if !here[a] {
				lacking--
			}
		}
	}
	if d.round > 0 && len(here) == 0 {
		return lacking
	}
	return (lacking + 1) / 2
}

// mostDials bounds what is remembered. Forgetting costs a few dials in vain.
const mostDials = 8192

// next is whom to dial now, n at most, and none of those that are here. Who was dialled longest ago, or never, comes
// first, by chance among equals; half the places are kept for those an admin named, while there are any.
func (d *dials) next(now time.Time, named, others []netip.AddrPort, here map[netip.AddrPort]bool, n int) []netip.AddrPort {
	if d.last == nil || len(d.last) > mostDials {
		d.last = map[netip.AddrPort]int{}
	}
	d.round++
	first, rest := d.inTurn(named, here), d.inTurn(others, here)
	n = max(n, 0)
	kept := min(len(first), max((n+1)/2, n-len(rest)))
	all := append(first[:kept], rest[:min(len(rest), n-kept)]...)
	for _, a := range all {
		d.last[a] = d.round
	}
	if len(all) > 0 {
		d.latest, d.dialled = all, now
	}
	return all
}

func (d *dials) inTurn(addrs []netip.AddrPort, here map[netip.AddrPort]bool) (all []netip.AddrPort) {
	for _, k := range rand.Perm(len(addrs)) {
		if a := addrs[k]; !here[a] {
			all = append(all, a)
		}
	}
	slices.SortStableFunc(all, func(a, b netip.AddrPort) int { return cmp.Compare(d.last[a], d.last[b]) })
	return all
}

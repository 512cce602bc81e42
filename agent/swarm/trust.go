package swarm

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// trust remembers, by address, what came of the pieces that neighbours had a part in. The engine bans who sent a wrong piece
// alone. Where several liars share every piece it bans nobody, and a machine among them fetches nothing but waste at the full
// rate of its link, which no meter of rates notices.
type trust struct {
	mu sync.Mutex
	by map[netip.Addr]*account
}

type account struct {
	good, bad int // pieces
	shuns     int
	until     time.Time // shunned until then
}

const (
	// manySpoilt pieces of which a neighbour sent some, and none that came right, and it is shunned: an honest one among
	// liars may have sent a part of one or two that they spoilt.
	manySpoilt = 3
	// firstShun is short, for an honest one may be meant; it is four times longer each time. Nobody comes back at the same
	// time as another, so that they can be told apart then.
	firstShun = 30 * time.Second
	maxShuns  = 6
	// maxAccounts bounds what strangers can make us remember.
	maxAccounts = 4096
)

// judge notes that a piece came right or wrong to which these addresses gave something, and returns whom to part with.
func (t *trust) judge(now time.Time, from []netip.Addr, right bool) (shun []netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil || len(t.by)+len(from) > maxAccounts {
		t.by = map[netip.Addr]*account{}
	}
	for _, a := range from {
		k := t.by[a]
		if k == nil {
			k = &account{}
			t.by[a] = k
		}
		switch {
		case right:
			k.good++
		case !now.Before(k.until): // what came after it was parted with is no new crime
			k.bad++
		}
		if !right && k.good == 0 && k.bad >= manySpoilt {
			wait := firstShun << (2 * min(k.shuns, maxShuns))
			k.until = now.Add(wait + rand.N(wait))
			k.bad, k.shuns = manySpoilt-1, k.shuns+1 // once more will do
			shun = append(shun, a)
		}
	}
	return shun
}

// shuns reports whether an address is not to be spoken to for now.
func (t *trust) shuns(now time.Time, a netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.by[a]
	return k != nil && now.Before(k.until)
}

// doubts reports whether all that is known of an address is pieces that came wrong: what it claims counts for nothing.
func (t *trust) doubts(a netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.by[a]
	return k != nil && k.good == 0 && k.bad > 0
}

// proves reports whether a piece came right to which an address gave something.
func (t *trust) proves(a netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.by[a]
	return k != nil && k.good > 0
}

// shunned lists the addresses that are not spoken to for now.
func (t *trust) shunned(now time.Time) (all []netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for a, k := range t.by {
		if now.Before(k.until) {
			all = append(all, a)
		}
	}
	return all
}

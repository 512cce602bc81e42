package swarm

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// trust remembers what came of the pieces that neighbours had a part in. The engine's own ban knows addresses only and
// never ends: one wrong piece from a user of a seed's machine, or from whoever had its address for four seconds, took that
// seed away for good. So the engine is told of no wrong piece (piece.SelfHash), and here each connection answers for what
// came by it, each end for its connections, and nobody is shunned for ever.
type trust struct {
	mu sync.Mutex
	by map[end]*account
}

// end is where a connection comes from or leads to. An agent's port is its own as long as it runs: who shares its address
// can only dial, from any port.
type end struct {
	addr netip.Addr
	port uint16 // that was dialled; 0: of connections that were accepted
}

// record is what came by one connection, or from one end.
type record struct {
	good, bad int // pieces; bad: since the last good one, or since it was parted with
}

type account struct {
	record
	strikes int       // connections that were parted with, less one for each lot of good pieces
	until   time.Time // shunned until then
}

const (
	// manySpoilt pieces of which a neighbour sent some, and none that came right, and it is parted with: an honest one among
	// liars may have sent a part of one or two that they spoilt. One that sent all of a wrong piece is parted with at once.
	manySpoilt = 3
	// firstShun is short, for an honest one may be meant, or somebody who had its address for a moment; it is four times
	// longer each time. Nobody comes back at the same time as another, so that they can be told apart then.
	firstShun = 5 * time.Second
	maxShuns  = 6
	// forgiveness is how many good pieces make up for a connection that was parted with.
	forgiveness = 32
	// maxAccounts bounds what strangers can make us remember.
	maxAccounts = 4096
)

func (t *trust) account(e end) *account {
	k := t.by[e]
	if k == nil {
		if t.by == nil || len(t.by) >= maxAccounts {
			t.by = map[end]*account{}
		}
		k = &account{}
		t.by[e] = k
	}
	return k
}

// right notes that a piece came right of which that end sent some by the connection c.
func (t *trust) right(e end, c *record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.account(e)
	c.good, c.bad = c.good+1, 0
	k.good, k.bad = k.good+1, 0
	if k.good%forgiveness == 0 && k.strikes > 0 {
		k.strikes--
	}
}

// wrong notes that a piece came wrong of which that end sent some, or all, by the connection c, and reports whether to part
// with it.
func (t *trust) wrong(now time.Time, e end, c *record, all bool) (part bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.account(e)
	c.bad++
	k.bad++
	enough := manySpoilt
	if k.strikes > 0 {
		enough = 1 // once more will do
	}
	if !all && (c.good > 0 || c.bad < enough) {
		return false
	}
	k.shun(now)
	return true
}

// proved notes that an end sent a wrong block.
func (t *trust) proved(now time.Time, e end) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.account(e).shun(now)
}

func (k *account) shun(now time.Time) {
	if now.Before(k.until) { // what came by another connection meanwhile is no new crime
		return
	}
	wait := firstShun << (2 * min(k.strikes, maxShuns))
	k.until = now.Add(wait + rand.N(wait))
	k.strikes++
}

// shuns reports whether an end is not to be spoken to for now.
func (t *trust) shuns(now time.Time, e end) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.by[e]
	return k != nil && now.Before(k.until)
}

// doubts reports whether all that is known of an end, and of its connection c, is pieces that came wrong: what it claims
// counts for nothing.
func (t *trust) doubts(e end, c record) bool {
	if c.good > 0 || c.bad > 0 {
		return c.good == 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.by[e]
	return k != nil && k.bad > 0
}

// shunned lists the addresses of ends that are not spoken to for now.
func (t *trust) shunned(now time.Time) (all []netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := map[netip.Addr]bool{}
	for e, k := range t.by {
		if now.Before(k.until) && !seen[e.addr] {
			seen[e.addr] = true
			all = append(all, e.addr)
		}
	}
	return all
}

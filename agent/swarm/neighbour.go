package swarm

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/anacrolix/torrent"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"handout/agent/plan"
	"handout/manifest"
)

const (
	deliveredLately = 10 * time.Second
	// muteAfter is how long a neighbour may owe us an answer before what it claims to hold no longer counts.
	muteAfter = 10 * time.Second
)

// neighbour is a connected machine as the messages on its connection show it: the engine has no way to ask.
type neighbour struct {
	addr      netip.AddrPort // where it can be dialled; its port is known after the extended handshake
	end       end
	since     time.Time
	sent      *outflow // what goes out to it
	record    record   // what came of its pieces
	have      plan.Bitfield
	asked     map[manifest.PieceIndex]int // blocks requested and not arrived, by piece
	spoke     bool                        // after the handshake, which is also answered by who does not have the package
	choking   bool                        // it has not allowed us to ask
	owes      time.Time                   // since when it owes us an answer; zero: it owes none
	owed      time.Duration               // how long before that it owed some, since its last block
	lastBlock time.Time
	rate      plan.Meter
	lot       uint64
}

// mute reports whether the neighbour has owed an answer for too long. What it claims may be a lie then.
func (n *neighbour) mute(now time.Time) bool {
	owed := n.owed
	if !n.owes.IsZero() {
		owed += now.Sub(n.owes)
	}
	return owed > muteAfter
}

// settle keeps the account of what the neighbour owes: it owes a block while some are asked for, and the permission to
// ask while it holds pieces and chokes us. That what it was asked for came from elsewhere pays no debt: or else who never
// says a word would be believed anew each time, and the pieces it is asked for next would have to wait.
func (n *neighbour) settle(now time.Time) {
	switch owing := len(n.asked) > 0 || n.choking && n.have.Count() > 0; {
	case !owing && !n.owes.IsZero():
		n.owed += now.Sub(n.owes)
		n.owes = time.Time{}
	case owing && n.owes.IsZero():
		n.owes = now
	}
}

// paid notes that the neighbour gave something.
func (n *neighbour) paid(now time.Time) {
	n.owes, n.owed = time.Time{}, 0
	n.settle(now)
}

// The methods below run under the engine's lock.

func (t *Torrent) join(pc *torrent.PeerConn) {
	through, _ := netip.ParseAddrPort(pc.RemoteAddr.String())
	addr := netip.AddrPortFrom(unpacked(through.Addr()), through.Port())
	now := time.Now()
	t.mu.Lock()
	if len(t.neighbours) >= mostNeighbours && !t.part(addr.Addr()) {
		t.mu.Unlock()
		go pc.Close() // it takes the engine's lock
		return
	}
	t.neighbours[&pc.Peer] = &neighbour{
		addr:    addr,
		since:   now,
		sent:    t.engine.sent.to(through),
		end:     endOf(addr, pc.Discovery == torrent.PeerSourceIncoming),
		have:    plan.NewBitfield(t.m.NumPieces()),
		asked:   map[manifest.PieceIndex]int{},
		choking: true,
		lot:     lotOf(pc.PeerID),
	}
	t.mu.Unlock()
	pc.PeerMaxRequests = t.depth(pc.PeerMaxRequests)
	t.signal()
}

// endOf is the end of a connection to or from that address.
func endOf(at netip.AddrPort, accepted bool) end {
	e := end{addr: at.Addr().Unmap().WithZone("")}
	if !accepted {
		e.port = at.Port()
	}
	return e
}

// part makes room for a newcomer from that address, of whom it returns false if it is the one to go (plan.MakeRoom). A room in
// which some have half as many neighbours again as others is as slow as the links of those are full: 1.15 of the bound at
// sixteen machines with eight to fourteen each, 1.09 with seven or eight. The caller holds mu.
func (t *Torrent) part(from netip.Addr) bool {
	now := time.Now()
	peers, all := make([]*torrent.Peer, 0, len(t.neighbours)), make([]plan.Connected, 0, len(t.neighbours))
	for p, n := range t.neighbours {
		peers = append(peers, p)
		all = append(all, plan.Connected{Host: hostOf(n.addr.Addr()), Age: now.Sub(n.since), Get: t.canGet(n), Give: t.canGive(n),
			Gives: n.rate.Lately(now), Sent: n.sent.lately(now)})
	}
	k, ok := plan.MakeRoom(hostOf(from), all, rand.IntN)
	if ok {
		delete(t.neighbours, peers[k])
		go peers[k].Close() // it takes the engine's lock
	}
	return ok
}

// hostOf is the machine at an address; invalid: this one, which may have many agents.
func hostOf(a netip.Addr) netip.Addr {
	if a = a.Unmap().WithZone(""); a.IsLoopback() {
		return netip.Addr{}
	}
	return a
}

func (t *Torrent) leave(pc *torrent.PeerConn) {
	t.mu.Lock()
	n := t.neighbours[&pc.Peer]
	delete(t.neighbours, &pc.Peer)
	t.mu.Unlock()
	if n != nil && t.engine.left != nil {
		go t.engine.left(n.addr)
	}
	t.signal()
}

// introduced notes where an accepted neighbour can be dialled (BEP 10) and returns how many requests it is sent at once.
func (t *Torrent) introduced(pc *torrent.PeerConn, d *pp.ExtendedHandshakeMessage) int {
	t.mu.Lock()
	if n := t.neighbours[&pc.Peer]; n != nil && d.Port > 0 && d.Port <= 65535 {
		n.addr = netip.AddrPortFrom(n.addr.Addr(), uint16(d.Port))
	}
	t.mu.Unlock()
	allowed := d.Reqq
	if allowed <= 0 {
		allowed = 250 // BEP 10's customary default
	}
	return t.depth(allowed)
}

// heard keeps the books on what a neighbour says it has.
func (t *Torrent) heard(pc *torrent.PeerConn, msg *pp.Message) {
	if msg.Type == pp.Piece {
		pc.PeerMaxRequests = t.depth(deepest)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.neighbours[&pc.Peer]
	if n == nil {
		return
	}
	first := !n.spoke
	n.spoke = true
	switch msg.Type {
	case pp.Have:
		n.have.Set(manifest.PieceIndex(msg.Index))
	case pp.Bitfield:
		for i, has := range msg.Bitfield {
			if has {
				n.have.Set(manifest.PieceIndex(i))
			}
		}
	case pp.HaveAll:
		n.have.SetAll()
	case pp.Choke:
		n.choking = true
	case pp.Unchoke:
		n.choking = false
	default:
		if !first {
			return
		}
	}
	t.offer(n.have)
	n.settle(time.Now())
	t.signal()
}

// asked counts blocks requested of a neighbour (n = 1), and answered, rejected or withdrawn (n = -1).
func (t *Torrent) asked(p *torrent.Peer, piece, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.neighbours[p]
	if k == nil {
		return
	}
	i := manifest.PieceIndex(piece)
	if k.asked[i] += n; k.asked[i] <= 0 {
		delete(k.asked, i)
	}
	k.settle(time.Now())
}

func (t *Torrent) delivered(p *torrent.Peer, msg *pp.Message) {
	now := time.Now()
	i, bytes := manifest.PieceIndex(msg.Index), int64(len(msg.Piece))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fromPeers += bytes
	t.rate.Add(now, bytes)
	k := t.parts[i]
	if k == nil {
		k = &part{by: map[*torrent.Peer]*neighbour{}}
		t.parts[i] = k
	}
	n := t.neighbours[p]
	if n == nil {
		k.others = true
		return
	}
	n.rate.Add(now, bytes)
	n.lastBlock = now
	k.by[p] = n
	if now.Before(t.wary) {
		k.remember(p, n.end, int64(msg.Begin), msg.Piece)
	}
	n.paid(now)
}

// verified judges those who sent a piece by what came of it.
func (t *Torrent) verified(i manifest.PieceIndex, right bool) {
	now := time.Now()
	var gone []*torrent.Peer
	t.mu.Lock()
	k := t.parts[i]
	delete(t.parts, i)
	switch {
	case k == nil:
	case right:
		for _, n := range k.by {
			t.engine.trust.right(n.end, &n.record)
		}
	default:
		t.wary = now.Add(waryFor)
		t.suspect(i, k.blocks)
		all := len(k.by) == 1 && !k.others
		for p, n := range k.by {
			if t.engine.trust.wrong(now, n.end, &n.record, all) {
				gone = append(gone, p)
			}
		}
	}
	gone = append(gone, t.unproven(now, gone)...)
	t.mu.Unlock()
	if right {
		gone = append(gone, t.compare(i)...)
	}
	for _, p := range gone {
		go p.Close() // the engine may wait for this check with its lock held
	}
	t.signal()
}

// unproven are the other neighbours at the ends of those who are parted with that gave nothing good yet by their own
// connections. The caller holds mu.
func (t *Torrent) unproven(now time.Time, gone []*torrent.Peer) (all []*torrent.Peer) {
	if len(gone) == 0 {
		return nil
	}
	for p, n := range t.neighbours {
		if n.record.good == 0 && t.engine.trust.shuns(now, n.end) && !slices.Contains(gone, p) {
			all = append(all, p)
		}
	}
	return all
}

// trusted are the addresses that are not shunned.
func (t *Torrent) trusted(addrs []netip.AddrPort) []netip.AddrPort {
	now := time.Now()
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.AddrPort) bool {
		return t.engine.trust.shuns(now, end{a.Addr().Unmap().WithZone(""), a.Port()})
	})
}

// believes reports whether what a neighbour claims counts: it neither owes an answer for too long nor sent wrong pieces
// only.
func (t *Torrent) believes(n *neighbour, now time.Time) bool {
	return !n.mute(now) && !t.engine.trust.doubts(n.end, n.record)
}

// isRequested reports whether a neighbour that is believed was asked for piece i. Another's late block does no harm: a
// piece that is here is not written to.
func (t *Torrent) isRequested(i manifest.PieceIndex, now time.Time) bool {
	for _, n := range t.neighbours {
		if n.asked[i] > 0 && t.believes(n, now) {
			return true
		}
	}
	return false
}

const (
	// shallow is what is on order from all neighbours together on a slow link. A neighbour serves what it is asked in
	// random order, so that with deep queues every piece is finished late: 1.46 of the bound against 1.19 at eight.
	shallow = 512 << 10
	// leastEach keeps a neighbour busy while the answer to the next request is on its way, however many there are. At twelve
	// neighbours two thirds of it cost a twentieth of the rate; at eight a quarter more made a seed send pieces twice.
	leastEach = 64 << 10
	// orderTime sizes the order on a fast link: so much of what arrives in it is on order.
	orderTime = 170 * time.Millisecond
	deepest   = 250
)

// order is what is on order from all neighbours together, in bytes. The caller holds mu.
func (t *Torrent) order(now time.Time) int64 {
	return max(shallow, leastEach*int64(len(t.neighbours)), int64(t.rate.PerSecond(now)*orderTime.Seconds()))
}

// depth is how many blocks one neighbour is asked for at once, at most allowed: the order divided among all.
func (t *Torrent) depth(allowed int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	each := t.order(time.Now()) / int64(max(1, len(t.neighbours))) / t.block
	return int(min(max(1, each), int64(min(allowed, deepest))))
}

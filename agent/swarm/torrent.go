package swarm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"handout/agent/plan"
	"handout/manifest"
)

// Torrent is one package among the neighbours. Its methods are safe for concurrent use.
type Torrent struct {
	engine  *Engine
	m       *manifest.Manifest
	pieces  Pieces
	t       *torrent.Torrent
	block   int64
	changed chan struct{}

	wants           sync.Mutex          // above the engine's lock: held while priorities are set
	reserved, ahead plan.Bitfield       // pieces nobody is asked for; asked for before all others
	wanted          plan.Bitfield       // pieces the engine was told to ask for
	beacon          manifest.PieceIndex // wanted though nobody has it, see light
	reminded        time.Time           // of the last pieces, see remind

	mu         sync.Mutex    // below the engine's lock: never held while the engine is called
	offered    plan.Bitfield // pieces that a neighbour said it has
	neighbours map[*torrent.Peer]*neighbour
	rate       plan.Meter // bytes per second from all neighbours
	fromPeers  int64
	parts      map[manifest.PieceIndex]*part   // that neighbours sent of pieces that are not verified yet
	suspects   map[manifest.PieceIndex][]block // of pieces that came wrong and have not come right
	wary       time.Time                       // until then blocks are remembered
	dials      dials
	err        error
}

// ErrTwice means that the package is already in the swarm of this engine.
var ErrTwice = errors.New("the package is already being handed out here")

// interopBlock is the largest block stock clients serve (BEP 3); packages published for them ask for no more.
const (
	interopBlock = 16 << 10
	largestBlock = 256 << 10
)

// blockSize is what a neighbour is asked for at once: a quarter of a piece, so that a piece can come from several
// neighbours, within what the package's policy allows. Large blocks cost a fraction of the CPU.
func blockSize(m *manifest.Manifest) int64 {
	return max(interopBlock, min(m.PieceLength/4, m.BlockSize, largestBlock))
}

// Add brings a package into the swarm: what pieces holds is offered, what it lacks is asked of every neighbour.
// The package must have at least one piece.
func (e *Engine) Add(m *manifest.Manifest, pieces Pieces) (*Torrent, error) {
	t := &Torrent{
		engine: e, m: m, pieces: pieces, block: blockSize(m),
		changed:    make(chan struct{}, 1),
		reserved:   plan.NewBitfield(m.NumPieces()),
		ahead:      plan.NewBitfield(m.NumPieces()),
		wanted:     plan.NewBitfield(m.NumPieces()),
		offered:    plan.NewBitfield(m.NumPieces()),
		neighbours: map[*torrent.Peer]*neighbour{},
		parts:      map[manifest.PieceIndex]*part{},
		suspects:   map[manifest.PieceIndex][]block{},
	}
	e.mu.Lock()
	_, twice := e.torrents[m.InfoHash]
	if !twice {
		e.torrents[m.InfoHash] = t
	}
	e.mu.Unlock()
	if twice {
		return nil, ErrTwice
	}
	// Only the info dictionary goes in: the file's trackers and web seeds lie outside the signature.
	t.t, _ = e.client.AddTorrentOpt(torrent.AddTorrentOpts{
		InfoHash:                 metainfo.Hash(m.InfoHash),
		InfoBytes:                m.InfoBytes(),
		ChunkSize:                pp.Integer(t.block),
		Storage:                  tree{m, pieces, t.verified, t.withhold},
		DisableInitialPieceCheck: true, // the store knows what it verified
	})
	if t.t.Info() == nil {
		t.Drop()
		return nil, fmt.Errorf("the engine refuses the info dictionary of %q", m.Name)
	}
	t.t.SetOnWriteChunkError(t.fail)
	t.wants.Lock()
	t.light()
	t.wants.Unlock()
	return t, nil
}

// Drop takes the package out of the swarm and closes its connections.
func (t *Torrent) Drop() {
	t.t.Drop()
	t.engine.mu.Lock()
	delete(t.engine.torrents, t.m.InfoHash)
	t.engine.mu.Unlock()
}

// Changed receives a value, of which one is kept, after anything that could change a decision: a neighbour came, went
// or got a piece, or one was verified here.
func (t *Torrent) Changed() <-chan struct{} { return t.changed }

func (t *Torrent) signal() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// Err is the first error of storing a block, such as a full disk; the engine has stopped asking for blocks then.
func (t *Torrent) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func (t *Torrent) fail(err error) {
	t.mu.Lock()
	if t.err == nil {
		t.err = err
	}
	t.mu.Unlock()
	t.signal()
}

// Announce tells every neighbour that piece i, verified and stored by the caller, can be had here, if it can.
func (t *Torrent) Announce(i manifest.PieceIndex) {
	t.mu.Lock()
	delete(t.parts, i) // whose blocks they were is not known any more
	t.mu.Unlock()
	for _, p := range t.compare(i) {
		p.Close()
	}
	t.withhold(i)
	t.t.Piece(int(i)).UpdateCompletion()
}

// Introduce names addresses where a neighbour may be: those that an admin named, and others. Of those not connected so
// many are dialled that there are enough, and now and then one more, so that two halves of a room that have met become one
// swarm. The engine does not redial by itself, so the caller introduces them again from time to time.
func (t *Torrent) Introduce(named, others []netip.AddrPort) {
	t.mu.Lock()
	here := t.here()
	limit := neighbours
	if rand.IntN(anotherOneIn) == 0 {
		limit = min(max(limit, len(here)+1), mostNeighbours)
	}
	var peers []torrent.PeerInfo
	now := time.Now()
	for _, a := range t.dials.next(now, t.trusted(named), t.trusted(others), here, t.dials.number(now, limit, here)) {
		peers = append(peers, peerAt(a))
	}
	t.mu.Unlock()
	if len(peers) > 0 {
		t.t.AddPeers(peers)
	}
}

// Welcome dials those of addrs that are not connected, while there is room for them.
func (t *Torrent) Welcome(addrs []netip.AddrPort) {
	t.mu.Lock()
	here := t.here()
	var peers []torrent.PeerInfo
	for _, a := range t.trusted(addrs) {
		if !here[a] && len(here)+len(peers) < mostNeighbours {
			peers = append(peers, peerAt(a))
		}
	}
	t.mu.Unlock()
	if len(peers) > 0 {
		t.t.AddPeers(peers)
	}
}

func peerAt(a netip.AddrPort) torrent.PeerInfo {
	return torrent.PeerInfo{Addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(packed(a.Addr()), a.Port())), Source: torrent.PeerSourceDirect}
}

// here is where the neighbours can be dialled. The caller holds mu.
func (t *Torrent) here() map[netip.AddrPort]bool {
	all := map[netip.AddrPort]bool{}
	for _, n := range t.neighbours {
		all[n.addr] = true
	}
	return all
}

// IsSeed reports whether every piece is offered.
func (t *Torrent) IsSeed() bool { return t.t.Complete().Bool() }

// Addresses are those of the connected neighbours.
func (t *Torrent) Addresses() (all []netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.neighbours {
		all = append(all, n.addr)
	}
	return all
}

// Hold stops asking neighbours for blocks (fetch), and giving them any (give), or begins again. Connections stay.
func (t *Torrent) Hold(fetch, give bool) {
	if give {
		t.t.DisallowDataUpload()
	} else {
		t.t.AllowDataUpload()
	}
	if fetch {
		t.t.DisallowDataDownload()
	} else {
		t.t.AllowDataDownload()
	}
}

// Received are the payload bytes that came from neighbours so far.
func (t *Torrent) Received() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fromPeers
}

// Sent are the payload bytes that went to neighbours so far. It asks the engine, which counts for a while.
func (t *Torrent) Sent() int64 {
	s := t.t.Stats()
	return s.BytesWrittenData.Int64()
}

// Rate is what arrives from all neighbours together, in bytes per second.
func (t *Torrent) Rate() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rate.PerSecond(time.Now())
}

// Neighbours is the number of connected neighbours that have said a word, see Look.
func (t *Torrent) Neighbours() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.neighbours {
		if k.spoke {
			n++
		}
	}
	return n
}

// Incomplete is the number of connected neighbours that lack something that can be had here. One that wants no more than a
// part shows it to nobody, and counts for as long as it stays.
func (t *Torrent) Incomplete() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, k := range t.neighbours {
		if t.canGive(k) {
			n++
		}
	}
	return n
}

func (t *Torrent) canGive(n *neighbour) bool {
	for i := range manifest.PieceIndex(t.m.NumPieces()) {
		if !n.have.Has(i) && t.pieces.Has(i) {
			return true
		}
	}
	return false
}

func (t *Torrent) canGet(n *neighbour) bool {
	for i := range manifest.PieceIndex(t.m.NumPieces()) {
		if n.have.Has(i) && t.pieces.Lacks(i) {
			return true
		}
	}
	return false
}

// Lot tells this machine from its neighbours, as they see it.
func (t *Torrent) Lot() uint64 { return lotOf(t.engine.client.PeerID()) }

// lotOf is of the part of a peer id (BEP 20) that is drawn at random.
func lotOf(id torrent.PeerID) uint64 { return binary.BigEndian.Uint64(id[len(id)-8:]) }

// Look returns who is connected and which pieces were asked of those that answer. Whoever has not said a word yet may be about
// to hang up, not having the package: it is of another site, say.
func (t *Torrent) Look() (near []plan.Neighbour, requested plan.Bitfield) {
	now := time.Now()
	requested = plan.NewBitfield(t.m.NumPieces())
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.neighbours {
		if !n.spoke {
			continue
		}
		mute := !t.believes(n, now)
		if !mute {
			for i := range n.asked {
				requested.Set(i)
			}
		}
		near = append(near, plan.Neighbour{
			Have:      n.have.Clone(),
			Complete:  n.have.Full(),
			Delivered: now.Sub(n.lastBlock) < deliveredLately,
			Mute:      mute,
			Rate:      n.rate.Lately(now),
			Best:      n.rate.Best(),
			Lot:       n.lot,
		})
	}
	return near, requested
}

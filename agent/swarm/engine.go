// Package swarm is the only room that knows the BitTorrent engine. It connects to neighbours, asks them for the pieces
// that are wanted, uploads what is here, and tells what it sees: who is connected, what they hold, what they delivered.
//
// The engine (github.com/anacrolix/torrent) is kept on a short lead: no DHT, no trackers, no peer exchange, no uTP, no
// web seeds, none of its own sockets and none of its storage. Pieces from an origin do not pass through it: they are
// verified and stored elsewhere, then announced with Torrent.Announce. The traps it sets are named where they are
// stepped around, and each has a test.
package swarm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/anacrolix/torrent"
	pp "github.com/anacrolix/torrent/peer_protocol"
	"golang.org/x/time/rate"

	"handout/manifest"
)

// Options configure an Engine.
type Options struct {
	Listen string                  // TCP address neighbours reach us on, such as ":4747"; port 0: any free one
	Admit  func(netip.Addr) bool   // whether a neighbour may be there; everybody else is neither dialled nor accepted
	Hold   func(net.Conn) net.Conn // returns what each connection is used through; nil: itself
	Log    *slog.Logger            // nil: silent

	// Receive and Send return when so many more bytes may come from, or go to, all neighbours together, or with ctx's
	// error; nil: at once. The engine's own limiters are left alone: one panics at a request larger than it lets through
	// at a time, the other refuses new connections while it is busy.
	Receive, Send func(ctx context.Context, n int) error

	// Left is told of each neighbour whose connection has ended, by where it could be dialled; nil: nobody is.
	Left func(netip.AddrPort)
}

// Engine speaks to the neighbours of every package of this process. Its methods are safe for concurrent use.
type Engine struct {
	client   *torrent.Client
	listener net.Listener
	log      *slog.Logger
	accepted conns
	trust    trust
	sent     sent
	left     func(netip.AddrPort)

	mu       sync.Mutex
	torrents map[manifest.InfoHash]*Torrent
}

const (
	// dialsPerSecond lets a room of forty connect within a second or two; the engine's own ten would take four.
	dialsPerSecond = 100
	// neighbours is how many each machine wants; for one beyond mostNeighbours another goes. With more, uploads spread so
	// thin that pieces finish late, and every HAVE costs each of them something: at sixteen machines seven or eight came
	// closest to the bound.
	neighbours     = 7
	mostNeighbours = neighbours + 1
	// acceptedNeighbours are those whose handshake may be under way as well.
	acceptedNeighbours = 3 * neighbours
	// anotherOneIn so many introductions a machine with enough neighbours dials one more.
	anotherOneIn = 15
	// stealGrace keeps a block with the neighbour that was asked first. Without it a tenth of all blocks came twice.
	stealGrace = 2 * time.Second
)

// New opens the peer port. The caller closes the engine.
func New(o Options) (*Engine, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("open the port for neighbours: %w", err)
	}
	e := &Engine{listener: l, log: log, left: o.Left, torrents: map[manifest.InfoHash]*Torrent{}}
	c := torrent.NewDefaultClientConfig()
	c.NoDHT, c.DisableTrackers, c.DisablePEX, c.NoDefaultPortForwarding = true, true, true, true
	c.DisableUTP, c.DisableWebtorrent, c.DisableWebseeds = true, true, true
	c.DisableTCP, c.DialForPeerConns = true, false // our own listener and dialer below
	c.Seed = true                                  // there is no choking: everybody who asks is served
	c.DropDuplicatePeerIds = true
	// A machine that dies in its handshake, or asks for a package that is not here, would shut the door on its whole /24
	// for a quarter of an hour.
	c.DisableAcceptRateLimiting = true
	c.DropMutuallyCompletePeers = false // a seed stays in sight, so that its neighbours know it is there
	c.HeaderObfuscationPolicy = torrent.HeaderObfuscationPolicy{Preferred: false, RequirePreferred: false}
	c.MaxUnverifiedBytes = 0 // otherwise pieces nobody has yet count against it, and neighbours idle until the origin is done
	c.MaxAllocPeerRequestDataPerConn = 4 << 20
	c.StealRequestGrace = stealGrace
	c.EstablishedConnsPerTorrent = acceptedNeighbours
	c.DialRateLimiter = rate.NewLimiter(dialsPerSecond, dialsPerSecond)
	c.NominalDialTimeout, c.MinDialTimeout = 3*time.Second, 2*time.Second
	c.PieceHashersPerTorrent = 2
	c.IPBlocklist = blocked{o.Admit}
	c.ExtendedHandshakeClientVersion = "handout"
	c.Slogger = slog.New(engineLog{log.Handler()})
	c.DefaultStorage = noStorage{} // every torrent brings its own
	c.Callbacks = torrent.Callbacks{
		PeerConnAdded:         []func(*torrent.PeerConn){e.added},
		PeerConnClosed:        e.closed,
		ReadExtendedHandshake: e.handshake,
		ReadMessage:           e.message,
		SentRequest:           []func(torrent.PeerRequestEvent){func(r torrent.PeerRequestEvent) { e.requested(r, 1) }},
		DeletedRequest:        []func(torrent.PeerRequestEvent){func(r torrent.PeerRequestEvent) { e.requested(r, -1) }},
		ReceivedUsefulData:    []func(torrent.ReceivedUsefulDataEvent){e.received},
	}
	if e.client, err = torrent.NewClient(c); err != nil {
		l.Close()
		return nil, fmt.Errorf("start the engine: %w", err)
	}
	pace := pace{o.Receive, o.Send, o.Hold}
	e.client.AddDialer(dialer{&e.sent, pace})
	e.client.AddListener(listener{l, o.Admit, &e.trust, &e.accepted, &e.sent, pace})
	return e, nil
}

// Port is the TCP port neighbours reach this engine on.
func (e *Engine) Port() int { return e.listener.Addr().(*net.TCPAddr).Port }

// Banned lists the addresses from which wrong pieces came: they, or those who dial from there, are not spoken to for a
// while.
func (e *Engine) Banned() (all []string) {
	for _, a := range e.trust.shunned(time.Now()) {
		all = append(all, a.String())
	}
	return all
}

// Close ends every connection and forgets every torrent.
func (e *Engine) Close() error {
	err := e.listener.Close()
	e.accepted.closeAll()
	return errors.Join(append(e.client.Close(), err)...)
}

func (e *Engine) torrentOf(t *torrent.Torrent) *Torrent {
	if t == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.torrents[manifest.InfoHash(t.InfoHash())]
}

// The callbacks below run under the engine's one lock: they note what happened and call nothing of the engine back.

func (e *Engine) added(pc *torrent.PeerConn) {
	if t := e.torrentOf(pc.Torrent()); t != nil {
		t.join(pc)
	}
}

func (e *Engine) closed(pc *torrent.PeerConn) {
	if t := e.torrentOf(pc.Torrent()); t != nil {
		t.leave(pc)
	}
}

func (e *Engine) handshake(pc *torrent.PeerConn, d *pp.ExtendedHandshakeMessage) {
	if t := e.torrentOf(pc.Torrent()); t != nil {
		d.Reqq = t.introduced(pc, d)
	}
}

func (e *Engine) message(pc *torrent.PeerConn, msg *pp.Message) {
	if t := e.torrentOf(pc.Torrent()); t != nil {
		t.heard(pc, msg)
		if t.proven(pc) {
			fillAtOnce(pc)
		}
	}
}

func (e *Engine) requested(r torrent.PeerRequestEvent, n int) {
	if t := e.torrentOf(r.Peer.Torrent()); t != nil {
		t.asked(r.Peer, r.Index.Int(), n)
	}
}

func (e *Engine) received(ev torrent.ReceivedUsefulDataEvent) {
	if t := e.torrentOf(ev.Peer.Torrent()); t != nil {
		t.delivered(ev.Peer, ev.Message)
	}
}

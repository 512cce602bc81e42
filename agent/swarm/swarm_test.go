package swarm

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"handout/agent/plan"
	"handout/manifest"
)

func TestLeechGetsEverythingFromSeed(t *testing.T) {
	m, content := pack(t, 5<<20+123, manifest.BuildOptions{})
	seed := newMachine(t, m, content, all(m)...)
	leech := newMachine(t, m, nil)
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	eventually(t, 10*time.Second, "the leech has every piece", leech.full)
	if !bytes.Equal(leech.data, content) {
		t.Error("other bytes than the seed's")
	}
	eventually(t, 2*time.Second, "the seed sees nobody who lacks something", func() bool {
		return seed.torrent.Neighbours() == 1 && seed.torrent.Incomplete() == 0
	})
	from := leech.torrent.Received()
	to := seed.torrent.Sent()
	if from != m.Length || to < m.Length {
		t.Errorf("leech counts %d bytes, seed %d, want %d", from, to, m.Length)
	}
}

// Two machines that hold half each complete one another: every piece is offered while the rest is still missing.
func TestMachinesThatLackHalfServeEachOther(t *testing.T) {
	m, content := pack(t, 4<<20, manifest.BuildOptions{})
	p := all(m)
	a := newMachine(t, m, content, p[:len(p)/2]...)
	b := newMachine(t, m, content, p[len(p)/2:]...)
	a.torrent.Introduce(nil, []netip.AddrPort{b.addr})
	eventually(t, 10*time.Second, "both have every piece", func() bool { return a.full() && b.full() })
}

// A piece that came from an origin is announced and can be seen, and fetched, at once.
func TestAnnouncedPieceTravelsOn(t *testing.T) {
	m, content := pack(t, 4<<20, manifest.BuildOptions{})
	a, b := newMachine(t, m, nil), newMachine(t, m, nil)
	b.torrent.Introduce(nil, []netip.AddrPort{a.addr})
	eventually(t, 5*time.Second, "they are connected", func() bool { return a.torrent.Neighbours() == 1 && b.torrent.Neighbours() == 1 })
	a.put(content, 7)
	a.torrent.Announce(7)
	eventually(t, 2*time.Second, "the piece was passed on", func() bool { return b.Has(7) })
	near, _ := b.torrent.Look()
	if len(near) != 1 || !near[0].Have.Has(7) || near[0].Have.Count() != 1 || near[0].Complete || !near[0].Delivered {
		t.Errorf("neighbour seen as %+v", near)
	}
}

// Pieces that nobody has must not keep the neighbours from the ones somebody has: the engine's default bound on
// unverified bytes counts them.
func TestPiecesNobodyHasDoNotHoldUpTheRest(t *testing.T) {
	m, content := pack(t, 160<<20, manifest.BuildOptions{})
	p := all(m)
	tail := p[len(p)-5:]
	seed := newMachine(t, m, content, tail...)
	leech := newMachine(t, m, nil)
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	eventually(t, 5*time.Second, "the last five pieces, the only ones there are, arrived", func() bool { return leech.count() == len(tail) })
}

// A reserved piece is being read from the origin: no neighbour is asked for it, until it is released.
func TestReservedPieceIsNotAsked(t *testing.T) {
	m, content := pack(t, 4<<20, manifest.BuildOptions{})
	seed := newMachine(t, m, content, all(m)...)
	leech := newMachine(t, m, nil)
	run := plan.Run{First: 3, Len: 4}
	if got := leech.torrent.Reserve(run); got != run {
		t.Fatalf("reserved %v of %v, though nobody was asked for any", got, run)
	}
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	eventually(t, 5*time.Second, "all but the reserved pieces arrived", func() bool { return leech.count() == m.NumPieces()-run.Len })
	time.Sleep(100 * time.Millisecond)
	for k := range run.Len {
		if leech.Has(run.First + manifest.PieceIndex(k)) {
			t.Errorf("piece %d was fetched though reserved", int(run.First)+k)
		}
	}
	leech.torrent.Release(run)
	eventually(t, 5*time.Second, "the released pieces arrived", leech.full)
}

// The engine does not cancel a request, so a piece that a neighbour was asked for can't be reserved.
func TestRequestedPieceIsNotReserved(t *testing.T) {
	m, content := pack(t, 4<<20, manifest.BuildOptions{})
	seed := newMachine(t, m, content, all(m)...)
	gate := make(chan struct{})
	leech := newMachine(t, m, nil)
	seed.memory.mu.Lock() // the seed answers nothing
	go func() { <-gate; seed.memory.mu.Unlock() }()
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	var requested plan.Bitfield
	eventually(t, 5*time.Second, "something was asked for", func() bool {
		_, requested = leech.torrent.Look()
		return requested.Count() > 0
	})
	for i := range requested.All {
		if got := leech.torrent.Reserve(plan.Run{First: i, Len: 1}); got.Len != 0 {
			t.Errorf("piece %d was reserved though a neighbour was asked for it", i)
		}
		break
	}
	close(gate)
	eventually(t, 10*time.Second, "the leech has every piece", leech.full)
}

// On a slow link deep queues finish every piece late: what is on order from a neighbour stays small.
func TestOrdersStayShallow(t *testing.T) {
	m, content := pack(t, 64<<20, manifest.BuildOptions{})
	seed := newMachine(t, m, content, all(m)...)
	leech := newMachine(t, m, nil)
	seed.memory.mu.Lock() // the seed answers nothing: the link is as slow as can be
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	blocks := func() (n int64) {
		leech.torrent.mu.Lock()
		defer leech.torrent.mu.Unlock()
		for _, k := range leech.torrent.neighbours {
			for _, asked := range k.asked {
				n += int64(asked)
			}
		}
		return n
	}
	eventually(t, 5*time.Second, "something is on order", func() bool { return blocks() > 0 })
	time.Sleep(300 * time.Millisecond)
	if got := blocks() * leech.torrent.block; got > shallow {
		t.Errorf("%d bytes on order, want at most %d", got, shallow)
	}
	seed.memory.mu.Unlock()
}

// A block may arrive after its piece was completed from the origin. Refusing it must not stop the engine, and keeping it
// must not spoil the piece.
func TestLateBlockSpoilsNothing(t *testing.T) {
	m, content := pack(t, 4<<20, manifest.BuildOptions{})
	k := newMachine(t, m, content, 0)
	late := piece{tree{m, k.memory, func(manifest.PieceIndex, bool) {}, func(manifest.PieceIndex) {}}, 0}
	if n, err := late.WriteAt(make([]byte, 1000), 0); n != 1000 || err != nil {
		t.Errorf("a late block: %d, %v; the engine would stop downloading", n, err)
	}
	if !bytes.Equal(k.data[:m.PieceSize(0)], content[:m.PieceSize(0)]) {
		t.Error("the late block spoiled a verified piece")
	}
}

// A machine that wants a part asks for that and no more. A piece that it has for itself alone it never announces, neither
// one that came from a neighbour nor one that came from the origin, and it asks for it once.
func TestPartIsNotTakenForTheWhole(t *testing.T) {
	m, content := pack(t, 4<<20, manifest.BuildOptions{})
	seed := newMachine(t, m, content, all(m)...)
	part, whole := newEmpty(t, m), newEmpty(t, m)
	const first, byOrigin, last = 3, 5, 8 // wanted; the outer ones and byOrigin are not to be promised
	for i := range manifest.PieceIndex(m.NumPieces()) {
		if i < first || i > last {
			part.refuse.Set(i)
		}
	}
	for _, i := range []manifest.PieceIndex{first, byOrigin, last} {
		part.hidden.Set(i)
	}
	part.add(t)
	if run := part.torrent.Reserve(plan.Run{First: byOrigin, Len: 1}); run.Len != 1 {
		t.Fatalf("reserved %+v", run)
	}
	part.put(content, byOrigin)
	part.torrent.Announce(byOrigin)
	part.torrent.Release(plan.Run{First: byOrigin, Len: 1})
	part.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	eventually(t, time.Minute, "the part is here", func() bool { return part.count() == last-first+1 })

	whole.add(t)
	whole.torrent.Introduce(nil, []netip.AddrPort{part.addr})
	eventually(t, time.Minute, "the whole one has what it can have of the part", func() bool { return whole.count() == last-first+1-3 })
	near, _ := whole.torrent.Look()
	if len(near) != 1 || near[0].Complete || near[0].Have.Count() != last-first+1-3 {
		t.Fatalf("the part shows as %+v", near)
	}
	for i := range part.hidden.All {
		if near[0].Have.Has(i) {
			t.Errorf("piece %d was promised", i)
		}
	}
	whole.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	eventually(t, time.Minute, "the whole one has the rest from the seed", whole.full)
	given := seed.torrent.Sent()
	pieces := int64(last - first + 1 - 1 + m.NumPieces() - (last - first + 1 - 3))
	if most := pieces * m.PieceLength; given > most {
		t.Errorf("the seed gave %d bytes of the %d that were needed", given, most)
	}
	if err := errors.Join(part.torrent.Err(), whole.torrent.Err()); err != nil {
		t.Error(err)
	}
}

// A neighbour that sends wrong bytes costs time, and no wrong byte is kept.
func TestLiarIsBanned(t *testing.T) {
	m, content := pack(t, 4<<20, manifest.BuildOptions{})
	liar := newMachine(t, m, content, all(m)...)
	liar.lie = true
	leech := newMachine(t, m, nil)
	leech.torrent.Introduce(nil, []netip.AddrPort{liar.addr})
	eventually(t, 10*time.Second, "the liar is banned", func() bool { return len(leech.engine.Banned()) > 0 })
	if leech.count() != 0 {
		t.Errorf("%d pieces were accepted from a liar", leech.count())
	}
}

// A machine dies in the middle of its handshake, another asks for a package that is not here: the seed goes on letting
// their neighbours in, of whom those in the same network have nearly the same address.
func TestBrokenHandshakeBarsNobody(t *testing.T) {
	m, content := pack(t, 1<<20, manifest.BuildOptions{})
	seed := newMachine(t, m, content, all(m)...)
	conn, err := net.Dial("tcp", seed.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "\x13BitTorrent protocol")
	conn.Close()
	other, _ := pack(t, 2<<20, manifest.BuildOptions{})
	stranger := newMachine(t, other, nil)
	stranger.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	time.Sleep(300 * time.Millisecond) // for the seed to think ill of them; it says so nowhere
	leech := newMachine(t, m, nil)
	eventually(t, 30*time.Second, "the leech has every piece", func() bool {
		leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
		return leech.full()
	})
}

// The engine never redials: after a lost connection the caller introduces the address again.
func TestIntroducedAgainAfterALostConnection(t *testing.T) {
	m, content := pack(t, 1<<20, manifest.BuildOptions{})
	seed := newMachine(t, m, content, all(m)...)
	leech := newMachine(t, m, nil)
	hold := plan.Run{First: 0, Len: 1} // something stays missing, so that connections are wanted
	leech.torrent.Reserve(hold)
	connected := func() bool { return leech.torrent.Neighbours() == 1 }
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	eventually(t, 5*time.Second, "they are connected", connected)
	for _, pc := range leech.torrent.t.PeerConns() {
		pc.Close()
	}
	eventually(t, 5*time.Second, "the connection is gone", func() bool { return leech.torrent.Neighbours() == 0 })
	eventually(t, 10*time.Second, "they are connected again", func() bool {
		leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
		time.Sleep(100 * time.Millisecond)
		return connected()
	})
}

// Who hung up is told by where it takes neighbours, though it was this side that was dialled.
func TestWhoHungUpIsTold(t *testing.T) {
	m, content := pack(t, 1<<20, manifest.BuildOptions{})
	told := make(chan netip.AddrPort, 9)
	e, err := New(Options{Listen: "127.0.0.1:0", Admit: loopback, Left: func(a netip.AddrPort) { told <- a }})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	here := &machine{memory: newMemory(m), engine: e, addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(e.Port()))}
	here.add(t)
	there := newMachine(t, m, content, all(m)...)
	there.torrent.Introduce(nil, []netip.AddrPort{here.addr})
	eventually(t, 5*time.Second, "everything came", here.full)
	there.engine.Close()
	select {
	case a := <-told:
		if a != there.addr {
			t.Errorf("%v hung up, %v is told of", there.addr, a)
		}
	case <-time.After(5 * time.Second):
		t.Error("nobody is told")
	}
}

// A neighbour that is connected is not dialled again, whichever side made the connection.
func TestConnectedNeighbourIsNotDialledAgain(t *testing.T) {
	m, content := pack(t, 1<<20, manifest.BuildOptions{})
	seed := newMachine(t, m, content, all(m)...)
	leech := newMachine(t, m, nil)
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	eventually(t, 5*time.Second, "they are connected and introduced", func() bool {
		seed.torrent.mu.Lock()
		defer seed.torrent.mu.Unlock()
		for _, n := range seed.torrent.neighbours {
			return n.addr == leech.addr
		}
		return false
	})
	seed.torrent.Introduce(nil, []netip.AddrPort{leech.addr})
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	time.Sleep(300 * time.Millisecond)
	if a, b := seed.torrent.Neighbours(), leech.torrent.Neighbours(); a != 1 || b != 1 {
		t.Errorf("%d and %d connections, want one", a, b)
	}
}

// A machine outside the site gets its connection closed before a byte is read, and is never dialled.
func TestStrangerIsNotAdmitted(t *testing.T) {
	m, content := pack(t, 1<<20, manifest.BuildOptions{})
	e, err := New(Options{Listen: "127.0.0.1:0", Admit: netip.MustParsePrefix("10.0.0.0/8").Contains})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	store := newMemory(m)
	store.put(content, all(m)...)
	if _, err := e.Add(m, store); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", e.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	c.Write([]byte("\x13BitTorrent protocol"))
	if n, err := c.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Error("a stranger was answered")
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Error("a stranger's connection was kept")
	}
}

// Somebody who passes a manifest on could have put a server of his own into url-list or announce, which lie outside the
// signature. Nobody is asked.
func TestWebSeedsAndTrackersOfTheFileAreNotUsed(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1) }))
	defer srv.Close()
	m, _ := pack(t, 1<<20, manifest.BuildOptions{Origins: []string{srv.URL + "/pkg"}, Announce: srv.URL + "/announce"})
	if !bytes.Contains(m.Raw(), []byte("url-list")) || !bytes.Contains(m.Raw(), []byte("announce")) {
		t.Fatal("the manifest has no url-list or announce: the test shows nothing")
	}
	k := newMachine(t, m, nil)
	time.Sleep(500 * time.Millisecond)
	if n := asked.Load(); n != 0 {
		t.Errorf("the server was asked %d times", n)
	}
	if k.count() != 0 {
		t.Error("pieces came from nowhere")
	}
}

// A full disk ends the download with its cause; the engine by itself would sit there silently.
func TestStoreErrorIsReported(t *testing.T) {
	m, content := pack(t, 1<<20, manifest.BuildOptions{})
	seed := newMachine(t, m, content, all(m)...)
	leech := newMachine(t, m, nil)
	full := fmt.Errorf("no space")
	leech.memory.mu.Lock()
	leech.refused = full
	leech.memory.mu.Unlock()
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	eventually(t, 5*time.Second, "the error is known", func() bool { return leech.torrent.Err() != nil })
}

func TestSamePackageTwice(t *testing.T) {
	m, content := pack(t, 1<<20, manifest.BuildOptions{})
	k := newMachine(t, m, content)
	if _, err := k.engine.Add(m, k.memory); err != ErrTwice {
		t.Errorf("added twice: %v", err)
	}
	k.torrent.Drop()
	if _, err := k.engine.Add(m, k.memory); err != nil {
		t.Errorf("added again after it was dropped: %v", err)
	}
}

func TestBlockSize(t *testing.T) {
	for _, tt := range []struct {
		pieceLength, policy, want int64
	}{
		{64 << 10, 128 << 10, 16 << 10},
		{1 << 20, 128 << 10, 128 << 10},
		{4 << 20, 1 << 20, largestBlock},
		{1 << 20, 16 << 10, 16 << 10}, // published for stock clients
	} {
		if got := blockSize(&manifest.Manifest{PieceLength: tt.pieceLength, BlockSize: tt.policy}); got != tt.want {
			t.Errorf("piece %d, policy %d: %d, want %d", tt.pieceLength, tt.policy, got, tt.want)
		}
	}
}

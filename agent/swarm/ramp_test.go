package swarm

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"handout/manifest"
)

func TestEngineHasTheFieldThatBoundsItsOrders(t *testing.T) {
	if !peakKnown {
		t.Error("the engine has no torrent.Peer.peakRequests of type int: see what bounds its requests now")
	}
}

// While a neighbour gets piece after piece, as one that reads the origin does, what it already has is asked of it at the
// full depth: news of a piece must not empty the queue.
func TestNewsOfPiecesKeepsOrdersFull(t *testing.T) {
	m, content := pack(t, 64<<20, manifest.BuildOptions{})
	const perSecond = 4 << 20
	e, err := New(Options{
		Listen: "127.0.0.1:0", Admit: loopback, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Receive: func(context.Context, int) error { return nil },
		Send: func(_ context.Context, n int) error {
			time.Sleep(time.Duration(n) * time.Second / perSecond)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	seed := &machine{memory: newMemory(m), engine: e, addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(e.Port()))}
	pieces := all(m)
	seed.put(content, pieces[:200]...)
	seed.add(t)
	leech := newMachine(t, m, nil)
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	eventually(t, 5*time.Second, "the first pieces arrived", func() bool { return leech.count() > 4 })
	blocks, looks := 0, 0
	for _, i := range pieces[200:300] {
		seed.put(content, i)
		seed.torrent.Announce(i)
		time.Sleep(10 * time.Millisecond)
		leech.torrent.mu.Lock()
		for _, k := range leech.torrent.neighbours {
			for _, asked := range k.asked {
				blocks += asked
			}
		}
		leech.torrent.mu.Unlock()
		looks++
	}
	if got, want := int64(blocks/looks)*leech.torrent.block, int64(shallow/2); got < want {
		t.Errorf("%d bytes on order on average while hundreds of pieces were to be had, want at least %d", got, want)
	}
}

package swarm

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"handout/agent/plan"
	"handout/manifest"
)

// Six machines that start beside one seed, on a slow link, once made it send each piece two and a half times: they all asked
// it for the first ones.
func TestOneSeedSendsEachPieceOnce(t *testing.T) {
	m, content := pack(t, 16<<20, manifest.BuildOptions{})
	link := rate.NewLimiter(8<<20, 256<<10)
	seed := newEmpty(t, m)
	seed.engine.Close()
	var err error
	seed.engine, err = New(Options{Listen: "127.0.0.1:0", Admit: loopback,
		Send:    func(ctx context.Context, n int) error { return link.WaitN(ctx, n) },
		Receive: func(context.Context, int) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { seed.engine.Close() })
	seed.put(content, all(m)...)
	seed.add(t)
	var leeches []*machine
	near := []netip.AddrPort{netip.AddrPortFrom(seed.addr.Addr(), uint16(seed.engine.Port()))}
	for range 6 {
		k := newMachine(t, m, nil)
		k.torrent.Introduce(nil, near)
		near = append(near, k.addr)
		leeches = append(leeches, k)
	}
	eventually(t, 30*time.Second, "all have everything", func() bool {
		done := true
		for _, k := range leeches {
			v := plan.View{Have: k.held(), Reading: plan.NewBitfield(m.NumPieces()), Lot: k.torrent.Lot()}
			v.Neighbours, _ = k.torrent.Look()
			k.torrent.Choose(v)
			done = done && k.full()
		}
		return done
	})
	if sent := seed.torrent.Sent(); float64(sent) > 1.5*float64(m.Length) {
		t.Errorf("the seed sent %.2f copies", float64(sent)/float64(m.Length))
	} else {
		t.Logf("the seed sent %.2f copies", float64(sent)/float64(m.Length))
	}
}

// A piece that is read from the origin is asked of nobody, whatever is chosen meanwhile; given back, it is asked for again.
func TestChosenPieceCanBeReserved(t *testing.T) {
	m, content := pack(t, 4<<20, manifest.BuildOptions{})
	leech := newMachine(t, m, nil)
	kept := plan.Run{First: 0, Len: m.NumPieces() - 1} // without a piece that is wanted the engine connects to nobody
	leech.torrent.Reserve(kept)
	seed := newMachine(t, m, content, all(m)...)
	leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
	look := func() plan.View {
		v := plan.View{Have: leech.held(), Reading: plan.NewBitfield(m.NumPieces())} // a moment old: nothing is being read
		v.Neighbours, _ = leech.torrent.Look()
		return v
	}
	eventually(t, 5*time.Second, "the seed is near", func() bool { v := look(); return len(v.Neighbours) > 0 && v.Neighbours[0].Complete })
	leech.torrent.Choose(look())
	if leech.torrent.ahead.Count() == 0 {
		t.Fatal("nothing was chosen")
	}
	time.Sleep(200 * time.Millisecond)
	if n := leech.count(); n > 1 {
		t.Errorf("%d pieces came though all but one are reserved", n)
	}
	leech.torrent.Release(kept)
	eventually(t, 5*time.Second, "the rest comes", leech.full)
}

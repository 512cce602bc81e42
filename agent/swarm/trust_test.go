package swarm

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"handout/agent/plan"
	"handout/manifest"
)

// Seven liars share every piece, so that none sent a wrong one alone and the engine bans nobody. They are parted with after a
// few pieces, and what they claim counts for nothing before that.
func TestLiarsThatShareEveryPieceAreShunned(t *testing.T) {
	m, content := pack(t, 32<<20, manifest.BuildOptions{})
	var liars []netip.AddrPort
	for i := range 7 {
		host := fmt.Sprintf("127.0.0.%d", 2+i)
		e, err := New(Options{Listen: host + ":0", Admit: loopback, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Skipf("no second loopback address here (Linux has them all): %v", err)
		}
		t.Cleanup(func() { e.Close() })
		liar := &machine{memory: newMemory(m), engine: e}
		liar.put(content, all(m)...)
		liar.lie = true
		liar.add(t)
		liars = append(liars, netip.AddrPortFrom(netip.MustParseAddr(host), uint16(e.Port())))
	}
	leech := newMachine(t, m, nil)
	eventually(t, 10*time.Second, "all are parted with", func() bool {
		leech.torrent.Introduce(nil, liars)
		return len(leech.engine.Banned()) == len(liars) && leech.torrent.Neighbours() == 0
	})
	wasted := leech.torrent.Received()
	if limit := int64(len(liars)*(manySpoilt+1))*m.PieceLength + shallow; wasted > limit {
		t.Errorf("%d bytes were wasted on %d liars, want %d at most", wasted, len(liars), limit)
	}
	if leech.torrent.Introduce(nil, liars); leech.torrent.Neighbours() != 0 {
		t.Error("a liar was let in again")
	}
	if got := leech.torrent.Reserve(plan.Run{First: 0, Len: m.NumPieces()}); got.Len != m.NumPieces() {
		t.Errorf("the origin may read %d pieces of %d", got.Len, m.NumPieces())
	}
}

func TestTrust(t *testing.T) {
	var k trust
	now := time.Now()
	liar, honest := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	both := []netip.Addr{liar, honest}
	k.judge(now, both, false)
	if !k.doubts(liar) || !k.doubts(honest) || k.shuns(now, liar) {
		t.Error("after one wrong piece both are doubted, and kept")
	}
	k.judge(now, []netip.Addr{honest}, true)
	if k.judge(now, both, false); k.doubts(honest) {
		t.Error("who sent a right piece is not doubted for what others spoil")
	}
	if shun := k.judge(now, both, false); len(shun) != 1 || shun[0] != liar {
		t.Errorf("parted with %v", shun)
	}
	if !k.shuns(now, liar) || k.shuns(now, honest) || len(k.shunned(now)) != 1 {
		t.Error("the liar alone is shunned")
	}
	k.judge(now, []netip.Addr{liar}, false) // a block that was on its way
	later := now.Add(2 * firstShun)
	if k.shuns(later, liar) {
		t.Error("the first time is short")
	}
	if shun := k.judge(later, []netip.Addr{liar}, false); len(shun) != 1 || !k.shuns(later.Add(2*firstShun), liar) {
		t.Error("once more is enough, and for longer")
	}
	for i := range 3 * maxAccounts {
		k.judge(now, []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}, false)
	}
	if len(k.by) > maxAccounts {
		t.Errorf("%d addresses are remembered", len(k.by))
	}
}

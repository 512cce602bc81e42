package swarm

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
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
	liar, honest := end{netip.MustParseAddr("10.0.0.1"), 4747}, end{netip.MustParseAddr("10.0.0.2"), 4747}
	var lies, works record
	wrong := func() (parted []end) {
		for e, c := range map[end]*record{liar: &lies, honest: &works} {
			if k.wrong(now, e, c, false) {
				parted = append(parted, e)
			}
		}
		return parted
	}
	wrong()
	if !k.doubts(liar, lies) || !k.doubts(honest, works) || k.shuns(now, liar) {
		t.Error("after one wrong piece both are doubted, and kept")
	}
	k.right(honest, &works)
	if wrong(); k.doubts(honest, works) {
		t.Error("who sent a right piece is not doubted for what others spoil")
	}
	if parted := wrong(); len(parted) != 1 || parted[0] != liar {
		t.Errorf("parted with %v", parted)
	}
	if !k.shuns(now, liar) || k.shuns(now, honest) || len(k.shunned(now)) != 1 {
		t.Error("the liar alone is shunned")
	}
	if k.shuns(now, end{addr: liar.addr}) || k.shuns(now, end{liar.addr, 4848}) {
		t.Error("who shares the liar's address is shunned")
	}
	later := now.Add(2 * firstShun)
	if k.shuns(later, liar) {
		t.Error("the first time is short")
	}
	if again := (record{}); !k.wrong(later, liar, &again, false) || !k.shuns(later.Add(2*firstShun), liar) {
		t.Error("once more is enough, and for longer")
	}
	if far := later.Add(firstShun << (2*maxShuns + 1)); k.shuns(far, liar) {
		t.Error("nobody is shunned for ever")
	}
	if one := (record{}); !k.wrong(now, end{addr: netip.MustParseAddr("10.0.0.3")}, &one, true) {
		t.Error("who sent a whole wrong piece is kept")
	}
	for i := range 3 * maxAccounts {
		k.wrong(now, end{addr: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}, new(record), false)
	}
	if len(k.by) > maxAccounts {
		t.Errorf("%d ends are remembered", len(k.by))
	}
}

// impostor dials a leech from a seed's address, says that it has all, and answers each request with zeros; only the first
// block of each piece if it is sly. It comes again whenever it is turned away, and is over with the test.
func impostor(t *testing.T, m *manifest.Manifest, leech netip.AddrPort, sly bool) (lies *atomic.Int64) {
	lies = new(atomic.Int64)
	serve := func(c net.Conn) {
		defer c.Close()
		stop := context.AfterFunc(t.Context(), func() { c.Close() })
		defer stop()
		c.Write(slices.Concat([]byte("\x13BitTorrent protocol"), []byte{0, 0, 0, 0, 0, 0, 0, 4}, m.InfoHash[:], fmt.Appendf(nil, "%20d", rand.Uint32())))
		c.Write([]byte{0, 0, 0, 1, 14, 0, 0, 0, 1, 1}) // have all (BEP 6), unchoke
		r := bufio.NewReader(c)
		if _, err := io.ReadFull(r, make([]byte, 68)); err != nil {
			return
		}
		for {
			var size [4]byte
			if _, err := io.ReadFull(r, size[:]); err != nil {
				return
			}
			msg := make([]byte, binary.BigEndian.Uint32(size[:]))
			if _, err := io.ReadFull(r, msg); err != nil {
				return
			}
			if len(msg) < 13 || msg[0] != 6 {
				continue
			}
			if begin := binary.BigEndian.Uint32(msg[5:]); sly && begin > 0 {
				c.Write(slices.Concat([]byte{0, 0, 0, 13, 16}, msg[1:13])) // rejected: others are to give it
				continue
			}
			block := make([]byte, binary.BigEndian.Uint32(msg[9:]))
			lies.Add(1)
			c.Write(slices.Concat(binary.BigEndian.AppendUint32(nil, uint32(9+len(block))), []byte{7}, msg[1:9], block))
		}
	}
	var g sync.WaitGroup
	for range 2 {
		g.Go(func() {
			for t.Context().Err() == nil {
				if c, err := net.Dial("tcp", leech.String()); err == nil {
					serve(c)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	t.Cleanup(g.Wait)
	return lies
}

// A user of a seed's machine dials a leech and sends it wrong blocks, whole pieces of them or one of each. The seed, which
// has the same address, is used all the same, and little is wasted.
func TestLiarAtASeedsAddress(t *testing.T) {
	for name, sly := range map[string]bool{"whole pieces": false, "a block of each piece": true} {
		t.Run(name, func(t *testing.T) {
			m, content := pack(t, 64<<20, manifest.BuildOptions{})
			seed := newMachine(t, m, content, all(m)...)
			leech := newMachine(t, m, nil)
			lies := impostor(t, m, leech.addr, sly)
			eventually(t, 10*time.Second, "the liar is here", func() bool { return lies.Load() > 0 })
			eventually(t, time.Minute, "all is here", func() bool {
				leech.torrent.Introduce(nil, []netip.AddrPort{seed.addr})
				none := plan.NewBitfield(m.NumPieces())
				leech.torrent.Choose(plan.View{Have: leech.held(), Requested: none, Reading: none}) // the last ones are asked for again
				return leech.full()
			})
			wasted := leech.torrent.Received() - m.Length
			if limit := m.Length / 8; wasted > limit {
				t.Errorf("%d bytes were wasted, want %d at most", wasted, limit)
			}
			if !slices.Contains(leech.torrent.Addresses(), seed.addr) {
				t.Error("the seed was parted with")
			}
			t.Logf("%d wrong blocks came, %d bytes were wasted", lies.Load(), wasted)
		})
	}
}

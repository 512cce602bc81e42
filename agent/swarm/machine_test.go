package swarm

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"handout/agent/plan"
	"handout/manifest"
)

// memory is a store in memory that keeps the contract of Pieces.
type memory struct {
	m *manifest.Manifest

	mu      sync.Mutex
	data    []byte
	have    plan.Bitfield
	lie     bool          // hand out other bytes than those that were verified
	late    int           // blocks refused because their piece was complete
	hidden  plan.Bitfield // pieces that are never handed out
	refuse  plan.Bitfield // pieces that are not wanted
	refused error
}

func newMemory(m *manifest.Manifest) *memory {
	none := func() plan.Bitfield { return plan.NewBitfield(m.NumPieces()) }
	return &memory{m: m, data: make([]byte, m.Length), have: none(), hidden: none(), refuse: none()}
}

func (s *memory) Has(i manifest.PieceIndex) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have.Has(i) && !s.hidden.Has(i)
}

func (s *memory) Lacks(i manifest.PieceIndex) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.have.Has(i) && !s.refuse.Has(i)
}

func (s *memory) ReadAt(i manifest.PieceIndex, p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.have.Has(i) || s.hidden.Has(i) {
		return 0, fmt.Errorf("read of piece %d, which is not verified", i)
	}
	n := copy(p, s.data[s.m.PieceOffset(i)+off:])
	if s.lie {
		for k := range n {
			p[k] ^= 0x55
		}
	}
	return n, nil
}

func (s *memory) WriteAt(i manifest.PieceIndex, p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused != nil {
		return 0, s.refused
	}
	if s.have.Has(i) {
		s.late++
		return 0, fmt.Errorf("piece %d is complete", i)
	}
	return copy(s.data[s.m.PieceOffset(i)+off:], p), nil
}

func (s *memory) Verify(i manifest.PieceIndex) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.m.PieceOffset(i)
	ok := sha256.Sum256(s.data[at:at+s.m.PieceSize(i)]) == s.m.PieceSHA256(i)
	if ok {
		s.have.Set(i)
	}
	return ok, nil
}

// put completes pieces from the package's content, as a read from an origin would.
func (s *memory) put(content []byte, pieces ...manifest.PieceIndex) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range pieces {
		at := s.m.PieceOffset(i)
		copy(s.data[at:], content[at:at+s.m.PieceSize(i)])
		s.have.Set(i)
	}
}

func (s *memory) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have.Count()
}

func (s *memory) held() plan.Bitfield {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have.Clone()
}

// pack publishes one random file of so many bytes beside an empty one.
func pack(t testing.TB, size int, o manifest.BuildOptions) (*manifest.Manifest, []byte) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pkg")
	content := make([]byte, size)
	rnd := rand.NewChaCha8([32]byte{1})
	rnd.Read(content)
	for name, b := range map[string][]byte{"a-empty": nil, "b-data": content} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := manifest.Build(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
	if err != nil {
		t.Fatal(err)
	}
	return m, content
}

func all(m *manifest.Manifest) (pieces []manifest.PieceIndex) {
	for i := range m.NumPieces() {
		pieces = append(pieces, manifest.PieceIndex(i))
	}
	return pieces
}

type machine struct {
	*memory
	engine  *Engine
	torrent *Torrent
	addr    netip.AddrPort
}

func loopback(a netip.Addr) bool { return a.IsLoopback() }

func newMachine(t testing.TB, m *manifest.Manifest, content []byte, have ...manifest.PieceIndex) *machine {
	t.Helper()
	k := newEmpty(t, m)
	k.put(content, have...)
	k.add(t)
	return k
}

// newEmpty is a machine that is not in the swarm yet.
func newEmpty(t testing.TB, m *manifest.Manifest) *machine {
	t.Helper()
	e, err := New(Options{Listen: "127.0.0.1:0", Admit: loopback, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return &machine{memory: newMemory(m), engine: e, addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(e.Port()))}
}

func (k *machine) add(t testing.TB) {
	t.Helper()
	var err error
	if k.torrent, err = k.engine.Add(k.m, k.memory); err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func (k *machine) full() bool { return k.count() == k.m.NumPieces() }

package main

import (
	"crypto/sha1"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/anacrolix/torrent/bencode"

	"handout/testlab/lab"
)

// torrentOf writes a BitTorrent v1 file (BEP 3) of one file with pieces of 1 MiB, as other tools make it.
// webSeed (BEP 19) may be empty.
func torrentOf(file, tracker, webSeed, to string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	const pieceLength = 1 << 20
	var pieces []byte
	var length int64
	for piece := make([]byte, pieceLength); ; {
		n, err := io.ReadFull(f, piece)
		if n > 0 {
			sum := sha1.Sum(piece[:n])
			pieces = append(pieces, sum[:]...)
			length += int64(n)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
	}
	meta := map[string]any{
		"announce": tracker,
		"info": map[string]any{
			"name":         filepath.Base(file),
			"length":       length,
			"piece length": pieceLength,
			"pieces":       string(pieces),
		},
	}
	if webSeed != "" {
		meta["url-list"] = webSeed
	}
	raw, err := bencode.Marshal(meta)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, 0o644)
}

// tracker answers announces (BEP 3) with every peer it has heard of, in the compact form (BEP 23). It forgets nobody.
type tracker struct {
	mu    sync.Mutex
	peers map[string][]netip.AddrPort // by info-hash
}

// startTracker runs one on m and returns its announce URL. It ends when the listener is closed.
func startTracker(m *lab.Machine) (net.Listener, string, error) {
	l, err := m.Listen("tcp", netip.AddrPortFrom(m.Addr, 0).String())
	if err != nil {
		return nil, "", err
	}
	go http.Serve(l, &tracker{peers: map[string][]netip.AddrPort{}})
	return l, "http://" + l.Addr().String() + "/announce", nil
}

func (t *tracker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	port, err := strconv.ParseUint(q.Get("port"), 10, 16)
	from, ferr := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || ferr != nil {
		http.Error(w, "no port", http.StatusBadRequest)
		return
	}
	asker := netip.AddrPortFrom(from.Addr().Unmap(), uint16(port))
	t.mu.Lock()
	defer t.mu.Unlock()
	hash := q.Get("info_hash")
	var compact []byte
	known := false
	for _, p := range t.peers[hash] {
		if p == asker {
			known = true
			continue
		}
		compact = append(compact, p.Addr().AsSlice()...)
		compact = append(compact, byte(p.Port()>>8), byte(p.Port()))
	}
	if !known {
		t.peers[hash] = append(t.peers[hash], asker)
	}
	fmt.Fprintf(w, "d8:intervali5e5:peers%d:%se", len(compact), compact)
}

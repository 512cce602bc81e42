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
	"strings"
	"sync"

	"github.com/anacrolix/torrent/bencode"

	"handout/testlab/lab"
)

// pieceLength of torrents as other tools make them.
const pieceLength = 1 << 20

// torrentOf writes a BitTorrent v1 file (BEP 3) of some files below a folder. The web seed (BEP 19) ends in a slash.
func torrentOf(folder string, files []string, tracker, webSeed, to string) error {
	var readers []io.Reader
	var list []map[string]any
	for _, name := range files {
		f, err := os.Open(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		readers = append(readers, f)
		list = append(list, map[string]any{"length": info.Size(), "path": strings.Split(name, "/")})
	}
	pieces, err := hashPieces(io.MultiReader(readers...))
	if err != nil {
		return err
	}
	meta := map[string]any{
		"announce": tracker,
		"info": map[string]any{
			"name":         filepath.Base(folder),
			"files":        list,
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

func hashPieces(r io.Reader) (sums []byte, err error) {
	for piece := make([]byte, pieceLength); ; {
		n, err := io.ReadFull(r, piece)
		if n > 0 {
			sum := sha1.Sum(piece[:n])
			sums = append(sums, sum[:]...)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return sums, nil
		}
		if err != nil {
			return nil, err
		}
	}
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

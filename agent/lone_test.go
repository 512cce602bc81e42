package agent

import (
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A machine that knows nobody lets go of a first piece that trickles in, as from an origin that a whole room reads, and
// reads on when nobody was heard of for two seconds.
func TestTrickleIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	big := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(big) // zeros would not be fetched
	if err := os.WriteFile(filepath.Join(dir, "big.bin"), big, 0o644); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var begun []time.Time
	var left time.Time // when the first request was dropped
	files := http.FileServer(http.Dir(dir))
	m := publish(t, dir, server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead { // whether there are ranges
			files.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		begun = append(begun, time.Now())
		first := len(begun) == 1
		mu.Unlock()
		if !first {
			files.ServeHTTP(w, r)
			return
		}
		files.ServeHTTP(trickle{w}, r)
		if r.Context().Err() != nil {
			mu.Lock()
			left = time.Now()
			mu.Unlock()
		}
	})))
	dest := filepath.Join(t.TempDir(), "out")
	start := time.Now()
	nowhere := []netip.Prefix{netip.MustParsePrefix("255.255.255.255/32")} // other tests' agents are near
	if _, err := run(t, Config{Site: t.Name(), CIDRs: nowhere}).Fetch(fetchContext(t), m, dest, FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, m, dest)
	mu.Lock()
	defer mu.Unlock()
	if left.IsZero() || left.After(begun[1]) {
		t.Errorf("the first request began at %v and was given up at %v, the second began at %v", begun[0].Sub(start), left.Sub(start), begun[1].Sub(start))
	}
	if again := begun[1].Sub(start); again < 2*time.Second {
		t.Errorf("the origin was asked again after %v, want the silence to be over", again)
	}
}

// trickle sends ten kilobytes a second.
type trickle struct{ http.ResponseWriter }

func (w trickle) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = w.ResponseWriter.Write(b[n:min(n+500, len(b))])
		n += k
		w.ResponseWriter.(http.Flusher).Flush()
		time.Sleep(50 * time.Millisecond)
	}
	return n, err
}

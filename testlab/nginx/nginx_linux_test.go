package nginx

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"handout/testlab/lab"
)

func TestMain(m *testing.M) {
	lab.Enter()
	os.Exit(m.Run())
}

func TestServesAndAccounts(t *testing.T) {
	if !Installed() {
		t.Skip("needs nginx: make deps")
	}
	l := lab.ForTest(t, lab.Options{Hosts: 1})
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a b"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), l.Origin, root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	stop := l.Origin.WatchConnections(s.Addr.Port())
	get := func(rang string) *http.Response {
		t.Helper()
		h := l.Hosts[0]
		c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) { return h.Dial(ctx, network, addr) }}}
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL("a%20b"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if rang != "" {
			req.Header.Set("Range", "bytes="+rang)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close(); c.CloseIdleConnections() })
		return resp
	}
	whole, part := get(""), get("100-199")
	n, err := io.Copy(io.Discard, whole.Body)
	if err != nil || n != 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	n, err = io.Copy(io.Discard, part.Body)
	if err != nil || n != 100 || part.StatusCode != 206 {
		t.Errorf("%d bytes of a range of 100, status %d, %v", n, part.StatusCode, err)
	}
	time.Sleep(120 * time.Millisecond) // the connections idle, and are seen by the next look
	if most := stop(); most != 2 {
		t.Errorf("%d connections at most, there were two", most)
	}
	reqs, err := s.Requests()
	if err != nil || len(reqs) != 2 || Carried(reqs) != 1<<20+100 {
		t.Errorf("log: %+v, %v", reqs, err)
	}
	ranges := map[string]bool{}
	for _, r := range reqs {
		ranges[r.Range] = true
		if r.Client != l.Hosts[0].Addr || r.Conn == 0 || r.URI != "/a%20b" || r.Status/100 != 2 || time.Since(r.End) > time.Minute || r.End.Before(r.Start) {
			t.Errorf("log: %+v", r)
		}
	}
	if !ranges["-"] || !ranges["bytes=100-199"] {
		t.Errorf("ranges in the log: %v", ranges)
	}
}

func TestMostConnections(t *testing.T) {
	at := func(conn uint64, from, to int) Request {
		return Request{Conn: conn, Start: time.UnixMilli(int64(from)), End: time.UnixMilli(int64(to))}
	}
	for _, c := range []struct {
		name string
		reqs []Request
		want int
	}{
		{"none", nil, 0},
		{"one, in no time", []Request{at(1, 5, 5)}, 1},
		{"one after the other", []Request{at(1, 0, 10), at(2, 12, 20)}, 1},
		{"side by side", []Request{at(1, 0, 10), at(2, 5, 20)}, 2},
		{"open between two requests", []Request{at(1, 0, 2), at(2, 5, 6), at(1, 10, 12)}, 2},
		{"logged out of order", []Request{at(3, 8, 9), at(1, 0, 100), at(2, 2, 5)}, 2},
	} {
		if got := MostConnections(c.reqs); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestLogThatIsNotOursIsRefused(t *testing.T) {
	if _, err := parse([]byte("10.0.0.1 1 2.5 0.1 200 10 /a -\nnot a line\n")); err == nil {
		t.Error("accepted")
	}
}

// Where nginx cannot start, its own words must reach the reader.
func TestStartFailureSaysWhy(t *testing.T) {
	if !Installed() {
		t.Skip("needs nginx: make deps")
	}
	m := lab.Local()
	defer m.Close()
	_, err := Start(t.Context(), m, "\"; nonsense", t.TempDir())
	if err == nil {
		t.Error("started with a configuration that is none")
	} else {
		t.Log(err)
	}
}

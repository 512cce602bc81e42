package httporigin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"handout/sources"
	"handout/sources/sourcetest"
)

// However a server answers ranges, its bytes come out right, by few requests.
func TestOddServers(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{3})
	files := map[string][]byte{}
	for name, n := range map[string]int{"big": 3 << 20, "middle": 300_000, "small": 5000, "one": 1} {
		files[name] = make([]byte, n)
		rnd.Read(files[name])
	}
	for _, o := range sourcetest.Odds() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			odd := o.Handler(files)
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				odd.ServeHTTP(w, r)
			}))
			t.Cleanup(s.Close)
			h := mustOpen(t, s.URL, Options{Proxy: noProxy})
			t.Cleanup(func() { h.Close() })
			retried := sources.Retry(h, sources.RetryPolicy{First: time.Millisecond, Attempts: 3})
			whole := sources.Whole(retried, func(string) bool { return true })
			// From front to end, as who finds no better way.
			big := files["big"]
			st, err := sources.Stream(t.Context(), whole, "big", 0, int64(len(big)))
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(big))
			n, err := io.ReadFull(st, got)
			st.Close()
			if n < len(big) { // it broke, and can't go on there
				err = whole.ReadRange(t.Context(), "big", int64(n), got[n:])
			}
			if err != nil || !bytes.Equal(got, big) {
				t.Fatalf("%v, right: %v", err, bytes.Equal(got, big))
			}
			if n := int(asked.Load()); n > o.Requests {
				t.Errorf("%d requests for a file of 3 MiB, want %d at most", n, o.Requests)
			}
			for name, want := range files {
				for _, r := range [][2]int{{0, len(want)}, {0, len(want)/2 + 1}, {len(want) / 3, len(want) / 4}, {len(want) - 1, 1}} {
					p := make([]byte, r[1])
					if err := whole.ReadRange(t.Context(), name, int64(r[0]), p); err != nil || !bytes.Equal(p, want[r[0]:r[0]+r[1]]) {
						t.Errorf("%s [%d, +%d): %v, right: %v", name, r[0], r[1], err, bytes.Equal(p, want[r[0]:r[0]+r[1]]))
					}
				}
			}
			if n := asked.Load(); n > 200 {
				t.Errorf("%d requests for 16 more reads", n)
			}
		})
	}
}

// FuzzAnswer holds what is taken of an answer against what was asked: nothing but the wanted bytes, as far as the answer
// says where it lies.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"bytes 0-9/100", "bytes 5-104/*", "bytes */7", "bytes 9-3/9", "", "bytes 0-99999999999999999999/1", "x 0-1/2"} {
		f.Add(true, s, int64(10), uint8(0), int64(5), int64(20))
		f.Add(false, s, int64(-1), uint8(1), int64(0), int64(1))
	}
	f.Fuzz(func(t *testing.T, part bool, said string, size int64, how uint8, off, n int64) {
		if off < 0 || off > 1<<40 || n < 1 || n > 1<<40 || size < -1 {
			return
		}
		resp := &http.Response{StatusCode: http.StatusOK, ContentLength: size, Header: http.Header{"Content-Range": {said}}}
		if part {
			resp.StatusCode = http.StatusPartialContent
		}
		m := manner(how % 3)
		c, err := judge(resp, m, off, n)
		if err != nil {
			return
		}
		if c.n < 1 || c.n > n || c.skip < 0 || c.skip > maxSkip && m != fromFront || c.size >= 0 && c.skip+c.n > c.size {
			t.Fatalf("%+v for [%d, +%d) of %q", c, off, n, said)
		}
		if r, ok := parseContentRange(said); part && m != fromFront && (!ok || r.first+c.skip != off) {
			t.Fatalf("%+v for [%d, +%d) of %q: another place", c, off, n, said)
		}
	})
}

// Past maxSkip a server without ranges is not asked again and again.
func TestNoRangesIsRemembered(t *testing.T) {
	var asked atomic.Int32
	big := make([]byte, 3<<20)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Length", fmt.Sprint(len(big)))
		w.Write(big)
	}))
	t.Cleanup(s.Close)
	h := mustOpen(t, s.URL, Options{Proxy: noProxy})
	t.Cleanup(func() { h.Close() })
	for range 5 {
		err := h.ReadRange(t.Context(), "big", 1<<20, make([]byte, 1000))
		_, err2 := h.Stream(t.Context(), "big", 2<<20, 1<<20)
		if !errors.Is(err, sources.ErrNoRanges) || !errors.Is(err2, sources.ErrNoRanges) {
			t.Errorf("%v; %v", err, err2)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

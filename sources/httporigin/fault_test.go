package httporigin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"handout/sources"
)

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

var content64K = func() []byte {
	p := make([]byte, 64<<10)
	for i := range p {
		p[i] = byte(i * 7 / 3)
	}
	return p
}()

// partial answers a range of content as a good server would.
func partial(w http.ResponseWriter, r *http.Request, content []byte) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// readAll reads the whole file f and holds it against want.
func wantRead(t *testing.T, h *Origin, path string, off int, want []byte) {
	t.Helper()
	p := make([]byte, len(want))
	if err := h.ReadRange(t.Context(), path, int64(off), p); err != nil {
		t.Error(err)
	} else if !bytes.Equal(p, want) {
		t.Errorf("%s at %d: wrong bytes", path, off)
	}
}

func TestStatuses(t *testing.T) {
	for _, c := range []struct {
		status int
		header string
		want   error         // by errors.Is
		after  time.Duration // of a NotNow; -1: no NotNow
		text   string
	}{
		{404, "", sources.ErrMissing, -1, ""},
		{410, "", sources.ErrMissing, -1, ""},
		{401, "", sources.ErrDenied, -1, "password"},
		{403, "", sources.ErrDenied, -1, "403"},
		{407, "", sources.ErrDenied, -1, "proxy"},
		{416, "Content-Range: bytes */77", sources.ErrChanged, -1, "only 77 bytes"},
		{416, "", sources.ErrChanged, -1, ""},
		{429, "Retry-After: 120", nil, 2 * time.Minute, "429"},
		{503, "Retry-After: Sat, 01 Jan 2000 00:01:30 GMT", nil, 90 * time.Second, "503"},
		{503, "Retry-After: soon", nil, 0, "503"},
		{503, "Retry-After: 99999999999", nil, 24 * time.Hour, "503"},
		{500, "", nil, 0, "500"},
		{502, "", nil, 0, "502"},
		{408, "", nil, 0, "408"},
		{302, "", nil, -1, "without saying where"},
		{418, "", nil, -1, "418"},
		{204, "", nil, -1, "204"},
	} {
		synctest.Test(t, func(t *testing.T) { // the clock there begins with the year 2000
			w := newWire(t)
			h := w.serve("http://server/pkg", Options{}, func(w http.ResponseWriter, _ *http.Request) {
				if k, v, ok := strings.Cut(c.header, ": "); ok {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.status)
				if c.status != 204 {
					io.WriteString(w, "<html>go away</html>")
				}
			})
			err := h.ReadRange(t.Context(), "dir/f", 5, make([]byte, 10))
			if c.want != nil && !errors.Is(err, c.want) || err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%d %q: %v", c.status, c.header, err)
			}
			if n := asNotNow(err); (n == nil) != (c.after < 0) || n != nil && n.After != c.after {
				t.Errorf("%d %q: %v, want to wait %v", c.status, c.header, err, c.after)
			}
			if want := "read dir/f at 5 from http://server/pkg: "; err != nil && !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%q doesn't begin with %q", err, want)
			}
			h.ReadRange(t.Context(), "dir/f", 5, make([]byte, 10))
			if n := w.connections(); n != 1 {
				t.Errorf("%d: %d connections for two reads", c.status, n)
			}
		})
	}
}

// A server that knows no ranges answers 200 with all of the file: what it sends first is not what was asked.
func TestWholeFileForARange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t)
		big := bytes.Repeat(content64K, 256) // 16 MiB
		h := w.serve("http://server", Options{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/big" {
				w.Write(big)
			} else {
				w.Write(content64K)
			}
		})
		wantRead(t, h, "f", 0, content64K)
		wantRead(t, h, "f", 100, content64K[100:200])
		wantRead(t, h, "f", len(content64K)-5, content64K[len(content64K)-5:])
		if n := w.connections(); n != 1 {
			t.Errorf("%d connections for small rests", n)
		}
		wantRead(t, h, "big", 0, big[:1000])
		for range 2 {
			if err := h.ReadRange(t.Context(), "big", 1<<20, make([]byte, 10)); !errors.Is(err, sources.ErrNoRanges) || isNotNow(err) {
				t.Errorf("a part far into a file: %v", err)
			}
		}
		wantRead(t, h, "big", 0, big)
		if err := h.ReadRange(t.Context(), "f", int64(len(content64K))-5, make([]byte, 6)); !errors.Is(err, sources.ErrChanged) {
			t.Errorf("past the end: %v", err)
		}
	})
}

// A part that isn't the one asked for must not be taken for it.
func TestOtherPartThanAsked(t *testing.T) {
	for _, c := range []struct {
		header, body string
		want         error
		text         string
	}{
		{"Content-Range: bytes 11-20/100", "0123456789", nil, "another part"},
		{"Content-Range: bytes 10-18/100", "012345678", nil, "another part"},
		{"Content-Range: bytes 10-19/100", "012345678", nil, "another part"}, // and a length that belies it
		{"Content-Range: bytes 10-18/19", "012345678", nil, "another part"},
		{"Content-Range: bytes */100", "0123456789", nil, "another part"},
		{"Content-Range: bytes 10-19/15", "0123456789", nil, "another part"},
		{"Content-Range: lines 10-19/100", "0123456789", nil, "another part"},
		{"Content-Type: multipart/byteranges; boundary=X", "0123456789", nil, "another part"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newWire(t).serve("http://server", Options{}, func(w http.ResponseWriter, _ *http.Request) {
				k, v, _ := strings.Cut(c.header, ": ")
				w.Header().Set(k, v)
				w.Header().Set("Content-Length", strconv.Itoa(len(c.body)))
				w.WriteHeader(206)
				io.WriteString(w, c.body)
			})
			err := h.ReadRange(t.Context(), "f", 10, make([]byte, 10))
			if err == nil || isNotNow(err) || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v", c.header, err)
			}
		})
	}
}

// Connections that break in mid-body cost what was on the way, no more: the read goes on where it was.
func TestBrokenInMidBody(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var asked []string
			h := newWire(t).serveRaw("http://server", Options{}, func(c net.Conn, r *http.Request) {
				asked = append(asked, r.Header.Get("Range"))
				var first, last int
				fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
				fmt.Fprintf(c, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/65536\r\n", first, last)
				n := min(last-first+1, 30000)
				if chunked {
					fmt.Fprintf(c, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", n, content64K[first:first+n])
				} else {
					fmt.Fprintf(c, "Content-Length: %d\r\n\r\n%s", last-first+1, content64K[first:first+n])
				}
				c.Close()
			})
			wantRead(t, h, "f", 0, content64K)
			if want := []string{"bytes=0-65535", "bytes=30000-65535", "bytes=60000-65535"}; !slices.Equal(asked, want) {
				t.Errorf("asked for %q, want %q", asked, want)
			}
		})
	}
}

// A server that always breaks off is given up after a bounded number of attempts.
func TestBreaksAlways(t *testing.T) {
	for _, sent := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			w := newWire(t)
			h := w.serveRaw("http://server", Options{}, func(c net.Conn, r *http.Request) {
				var first, last int
				fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
				fmt.Fprintf(c, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/65536\r\nContent-Length: %d\r\n\r\n",
					first, last, last-first+1)
				c.Write(content64K[first : first+sent])
				c.Close()
			})
			err := h.ReadRange(t.Context(), "f", 0, make([]byte, 1000))
			if !isNotNow(err) {
				t.Error(err)
			}
			if n := w.connections(); n > maxAttempts {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// The server may end a connection while it is idle, in the very moment it is used again.
func TestIdleConnectionEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		w := newWire(t)
		h := w.serveRaw("http://server", Options{}, func(c net.Conn, r *http.Request) {
			if n++; n == 2 {
				c.Close() // with the request read and no answer given
				return
			}
			fmt.Fprint(c, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-2/3\r\nContent-Length: 3\r\n\r\nabc")
		})
		wantRead(t, h, "f", 0, []byte("abc"))
		wantRead(t, h, "f", 0, []byte("abc"))
		if w.connections() != 2 {
			t.Errorf("%d connections", w.connections())
		}
	})
}

func TestGarbage(t *testing.T) {
	for name, answer := range map[string]string{
		"not HTTP":      "SSH-2.0-OpenSSH_9.2\r\n",
		"a large head":  "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 1000),
		"bad length":    "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
		"two lengths":   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"bad chunks":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
		"1xx for ever":  strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 5000),
		"switches away": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newWire(t).serveRaw("http://server", Options{}, func(c net.Conn, _ *http.Request) {
					io.WriteString(c, answer)
				})
				if err := h.ReadRange(t.Context(), "f", 0, make([]byte, 10)); err == nil {
					t.Error("read")
				} else if len(err.Error()) > 500 {
					t.Errorf("an error of %d bytes", len(err.Error()))
				}
			})
		})
	}
}

// A body without end after the wanted bytes must not be read on, nor keep the read from returning.
func TestEndlessBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newWire(t).serve("http://server", Options{}, func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(content64K); err != nil {
					return
				}
				w.(http.Flusher).Flush()
			}
		})
		for range 3 {
			wantRead(t, h, "f", 0, content64K[:100])
		}
	})
}

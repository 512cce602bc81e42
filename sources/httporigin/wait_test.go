package httporigin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"handout/sources"
)

func TestSilence(t *testing.T) {
	for _, c := range []struct {
		name  string
		talk  func(c net.Conn)
		after time.Duration
		text  string
	}{
		{"no answer", func(net.Conn) {}, 30 * time.Second, "no answer within 30s"},
		{"half a head", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 206 Par") }, 30 * time.Second, "no answer within 30s"},
		{"a head without end", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 206 Partial Content\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(c, "X-%d: x\r\n", i); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, 30 * time.Second, "no answer within 30s"},
		{"no body", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-99999/100000\r\nContent-Length: 100000\r\n\r\n")
		}, 15 * time.Second, "no byte for 15s"},
		{"a trickle", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-99999/100000\r\nContent-Length: 100000\r\n\r\n")
			for {
				if _, err := c.Write(make([]byte, 100)); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, 30 * time.Second, "3.0 KiB in 30s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newWire(t).serveRaw("http://server", Options{}, func(conn net.Conn, _ *http.Request) { c.talk(conn) })
				begun := time.Now()
				err := h.ReadRange(t.Context(), "f", 0, make([]byte, 100000))
				if took := time.Since(begun); !isNotNow(err) || took != c.after || !strings.Contains(err.Error(), c.text) {
					t.Errorf("after %v: %v", took, err)
				}
			})
		})
	}
}

// A server that takes the connection and then says nothing to a handshake.
func TestSilentHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t)
		h := w.origin("https://server", Options{})
		defer h.Close()
		go func() {
			c, _ := w.Accept()
			io.Copy(io.Discard, c)
		}()
		begun := time.Now()
		err := h.ReadRange(t.Context(), "f", 0, make([]byte, 1))
		if took := time.Since(begun); !isNotNow(err) || took != 10*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// Slow is not stalled: a thin line must be allowed to finish.
func TestSlowButSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newWire(t).serveRaw("http://server", Options{}, func(c net.Conn, _ *http.Request) {
			io.WriteString(c, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-65535/65536\r\nContent-Length: 65536\r\n\r\n")
			for part := range slices.Chunk(content64K, 8<<10) {
				time.Sleep(5 * time.Second)
				c.Write(part)
			}
		})
		begun := time.Now()
		wantRead(t, h, "f", 0, content64K)
		if took := time.Since(begun); took != 40*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// Only waiting for the server counts: a caller that takes a minute to write a piece doesn't make the server slow.
func TestSlowReaderIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newWire(t).serve("http://server", Options{}, func(w http.ResponseWriter, r *http.Request) { partial(w, r, content64K) })
		s, err := h.Stream(t.Context(), "f", 0, 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for off := 0; off < len(content64K); off += 16 << 10 {
			p := make([]byte, 16<<10)
			if _, err := io.ReadFull(s, p); err != nil || !bytes.Equal(p, content64K[off:off+len(p)]) {
				t.Fatalf("at %d: %v", off, err)
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestCancelInMidBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("why")
		w := newWire(t)
		h := w.serve("http://server", Options{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stuck" {
				w.Header().Set("Content-Range", "bytes 0-9/10")
				w.WriteHeader(206)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return
			}
			partial(w, r, content64K)
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			time.Sleep(time.Second)
			cancel(why)
		}()
		if err := h.ReadRange(ctx, "stuck", 0, make([]byte, 10)); !errors.Is(err, why) || isNotNow(err) {
			t.Errorf("%v, want %v", err, why)
		}
		wantRead(t, h, "f", 0, content64K)
	})
}

// Close ends reads wherever they are: in mid-body, in the queue, while connecting.
func TestCloseEndsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t)
		h := w.serve("http://server", Options{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stuck" {
				<-r.Context().Done()
				return
			}
			partial(w, r, content64K)
		})
		errs := make(chan error)
		for range 3 {
			go func() { errs <- h.ReadRange(t.Context(), "stuck", 0, make([]byte, 10)) }()
		}
		synctest.Wait()
		h.Close()
		for range 3 {
			if err := <-errs; !errors.Is(err, sources.ErrClosed) || isNotNow(err) {
				t.Error(err)
			}
		}
		wantRead(t, h, "f", 0, content64K)
	})
	synctest.Test(t, func(t *testing.T) {
		h := newWire(t).origin("http://server", Options{}) // nobody accepts
		errs := make(chan error)
		go func() { errs <- h.ReadRange(t.Context(), "f", 0, make([]byte, 10)) }()
		synctest.Wait()
		h.Close()
		if err := <-errs; !errors.Is(err, sources.ErrClosed) {
			t.Error(err)
		}
		begun := time.Now()
		err := h.ReadRange(t.Context(), "f", 0, make([]byte, 10))
		if !isNotNow(err) || time.Since(begun) != 10*time.Second || !strings.Contains(err.Error(), "no connection within 10s") {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

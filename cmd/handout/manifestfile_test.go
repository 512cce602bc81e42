package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"handout/manifest"
	"handout/sources/origin"
)

// TestManifestServer: what a server, or what answers in its place, may do instead of sending a manifest.
func TestManifestServer(t *testing.T) {
	const good = "d8:announce0:e"
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	send := func(path, content string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, content) })
	}
	send("/good", good)
	send("/empty", "")
	send("/page", "<!DOCTYPE html><html><body>Please log in</body></html>")
	send("/metalink", `<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink"/>`)
	send("/magnet", "magnet:?xt=urn:btih:0123")
	endlessly := func(path, head string) (sent *atomic.Int64) {
		sent = new(atomic.Int64)
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, head)
			for {
				n, err := w.Write(make([]byte, 64<<10))
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		})
		return sent
	}
	endlessly("/endless", good)
	image := endlessly("/image", strings.Repeat("\x00", 32769)+"CD001\x01\x00")
	moved := func(path, to string) { mux.HandleFunc(path, http.RedirectHandler(to, http.StatusFound).ServeHTTP) }
	moved("/loop", "/loop")
	moved("/moved", "/good")
	moved("/spy", strings.Replace(server.URL, "http://", "http://me:secret@", 1)+"/good")
	moved("/signed", "/missing?sig=secret")
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, good)
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="files"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, good)
	})
	mux.HandleFunc("/kerberos", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", "Negotiate")
		w.WriteHeader(http.StatusUnauthorized)
	})
	for _, code := range []int{403, 404, 410} {
		mux.HandleFunc(fmt.Sprintf("/%d", code), func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) })
	}
	login := strings.Replace(server.URL, "http://", "http://me:secret@", 1)
	for _, c := range []struct {
		where string
		want  int    // exit code
		says  string // in the error
	}{
		{server.URL + "/good", exitDone, ""},
		{server.URL + "/good?sig=secret", exitDone, ""},
		{server.URL + "/moved", exitDone, ""},
		{server.URL + "/endless", exitInvalid, "64.0 MiB"},
		{server.URL + "/empty", exitInvalid, "empty"},
		{server.URL + "/page", exitInvalid, "HTML page"},
		{server.URL + "/metalink", exitInvalid, "Metalink"},
		{server.URL + "/magnet", exitInvalid, "magnet"},
		{server.URL + "/image?sig=secret", exitInvalid, "ISO"},
		{server.URL + "/loop", exitNoSource, "redirect loop"},
		{server.URL + "/spy", exitNoSource, "credentials"},
		{server.URL + "/signed", exitNoSource, "404"},
		{server.URL + "/403", exitNoSource, "403"},
		{server.URL + "/403?sig=secret", exitNoSource, "expired"},
		{server.URL + "/404?sig=secret", exitNoSource, "404"},
		{server.URL + "/410", exitNoSource, "410"},
		{server.URL + "/short", exitNoSource, "unexpected EOF"},
		{server.URL + "/login", exitNoSource, "USER:PASSWORD@"},
		{login + "/login", exitDone, ""},
		{strings.Replace(login, "secret", "secret2", 1) + "/login", exitNoSource, "does not take this user"},
		{server.URL + "/kerberos", exitNoSource, "Negotiate"},
		{secure.URL, exitNoSource, "certificate"},
		{"http://[", exitUsage, "not a URL"},
		{"http://me:secret@h:port/x", exitUsage, "not a URL"},
		{"http://me:sec/ret@h/x", exitUsage, "not a URL"},
		{"ftp://me:secret@h/x?secret", exitUsage, "ftp is not among"},
		{"smb://me:secret@h/share/x", exitUsage, "password"},
		{"magnet:?xt=urn:btih:0123&tr=http://t/secret", exitInvalid, "magnet"},
		{"h/p.torrent?sig=secret", exitUsage, "no file h/p.torrent"},
	} {
		raw, err := readManifest(t.Context(), c.where, origin.Options{})
		switch {
		case exitCode(err) != c.want:
			t.Errorf("%s: exit %d (%v), want %d", c.where, exitCode(err), err, c.want)
		case err == nil && string(raw) != good:
			t.Errorf("%s: read %q", c.where, raw)
		case err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "sec")):
			t.Errorf("%s: %q, want %q in it and no secret", c.where, err, c.says)
		}
	}
	if n := image.Load(); n > 16<<20 {
		t.Errorf("%d bytes of an image were read for a manifest", n)
	}
}

// TestLoginGoesNowhereElse: a server that sends us on doesn't get who we are to another one.
func TestLoginGoesNowhereElse(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := r.Header.Get("Authorization"); a != "" {
			t.Errorf("another host got %q", a)
		}
		io.WriteString(w, "d1:")
	}))
	defer other.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, _, _ := r.BasicAuth(); user != "me" {
			t.Errorf("the server itself got %q", r.Header.Get("Authorization"))
		}
		http.Redirect(w, r, other.URL, http.StatusFound)
	}))
	defer first.Close()
	if _, err := readManifest(t.Context(), strings.Replace(first.URL, "//", "//me:secret@", 1), origin.Options{}); err != nil {
		t.Error(err)
	}
}

// inMemory are options to read from servers that answer within the test, in its own time.
func inMemory(t *testing.T, dial func(attempt int) error, answer http.HandlerFunc) origin.Options {
	conns := make(chan net.Conn)
	server := http.Server{Handler: answer}
	go server.Serve(pipeListener{conns, t.Context()})
	t.Cleanup(func() { server.Close() })
	attempt := 0
	var o origin.Options
	o.HTTP.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	o.HTTP.Dial = func(context.Context, string, string) (net.Conn, error) {
		attempt++
		if err := dial(attempt); err != nil {
			return nil, err
		}
		near, far := net.Pipe()
		conns <- far
		return near, nil
	}
	return o
}

type pipeListener struct {
	conns chan net.Conn
	ctx   context.Context
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error   { return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// TestManifestIsAwaited: a server that is not there yet, or has no time, is asked again for as long as --timeout says.
func TestManifestIsAwaited(t *testing.T) {
	noDial := func(int) error { return nil }
	until := func(ready time.Duration, err error) func(time.Time) func(int) error {
		return func(begun time.Time) func(int) error {
			return func(int) error {
				if time.Since(begun) < ready {
					return err
				}
				return nil
			}
		}
	}
	for _, c := range []struct {
		name        string
		dial        func(begun time.Time) func(int) error
		busy        time.Duration // for how long the server answers with code
		code        int
		retryAfter  string
		timeout     time.Duration // 0: none
		least, most time.Duration // that it takes
		want        int           // exit code
		says        string        // in the first wait or, where there is none, the error
		asked       int           // at most, where the server answers
	}{
		{name: "at once"},
		{name: "503", busy: 5 * time.Second, code: 503, least: 5 * time.Second, most: 12 * time.Second, says: "503"},
		{name: "429 with seconds", busy: 8 * time.Second, code: 429, retryAfter: "10", least: 10 * time.Second, most: 13 * time.Second, says: "429", asked: 2},
		{name: "503 with a date", busy: 8 * time.Second, code: 503, retryAfter: "date 10", least: 10 * time.Second, most: 13 * time.Second, asked: 2},
		{name: "asks for a day", busy: 8 * time.Second, code: 503, retryAfter: "86400", least: 20 * time.Second, most: 30 * time.Second, asked: 2},
		{name: "asks for a day, and there is time", busy: time.Minute, code: 503, retryAfter: "86400", timeout: time.Hour,
			least: 2 * time.Minute, most: 3 * time.Minute, asked: 2},
		{name: "Retry-After: soon", busy: time.Second, code: 503, retryAfter: "soon", least: time.Second, most: 10 * time.Second},
		{name: "Retry-After: -1", busy: time.Second, code: 502, retryAfter: "-1", least: time.Second, most: 10 * time.Second},
		{name: "Retry-After: a date gone by", busy: time.Second, code: 504, retryAfter: "date -100", least: time.Second, most: 10 * time.Second},
		{name: "busy for ever", busy: time.Hour, code: 503, least: 25 * time.Second, most: 40 * time.Second, want: exitNoSource, asked: 40},
		{name: "busy for longer than --timeout", busy: time.Hour, code: 503, timeout: time.Minute, least: time.Minute, most: time.Minute, want: exitTimedOut},
		{name: "refused", dial: until(10*time.Second, syscall.ECONNREFUSED), least: 10 * time.Second, most: 16 * time.Second, says: "refused"},
		{name: "no network", dial: until(10*time.Second, syscall.ENETUNREACH), least: 10 * time.Second, most: 16 * time.Second, says: "unreachable"},
		{name: "no such name yet", dial: until(10*time.Second, &net.DNSError{Err: "no such host", Name: "files.example", IsNotFound: true}),
			least: 10 * time.Second, most: 16 * time.Second, says: "no such host"},
		{name: "network comes late", dial: until(90*time.Second, syscall.ENETUNREACH), timeout: 2 * time.Minute, least: 90 * time.Second, most: 96 * time.Second},
		{name: "never a network", dial: until(time.Hour, syscall.ENETUNREACH), least: 25 * time.Second, most: 40 * time.Second, want: exitNoSource},
		{name: "401", busy: time.Hour, code: 401, want: exitNoSource, asked: 1},
		{name: "403", busy: time.Hour, code: 403, want: exitNoSource, asked: 1},
		{name: "404", busy: time.Hour, code: 404, want: exitNoSource, asked: 1},
		{name: "410", busy: time.Hour, code: 410, want: exitNoSource, asked: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, asked := time.Now(), 0
				dial := noDial
				if c.dial != nil {
					dial = c.dial(begun)
				}
				o := inMemory(t, dial, func(w http.ResponseWriter, r *http.Request) {
					asked++
					if time.Since(begun) >= c.busy {
						io.WriteString(w, "d8:announce0:e")
						return
					}
					after := c.retryAfter
					if s, ok := strings.CutPrefix(after, "date "); ok {
						n, _ := strconv.Atoi(s)
						// By the server's clock, which is years ahead.
						now := time.Now().AddDate(3, 0, 0).UTC()
						w.Header().Set("Date", now.Format(http.TimeFormat))
						after = now.Add(time.Duration(n) * time.Second).Format(http.TimeFormat)
					}
					if after != "" {
						w.Header().Set("Retry-After", after)
					}
					w.WriteHeader(c.code)
				})
				ctx := t.Context()
				if c.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeoutCause(ctx, c.timeout, errTimedOut)
					defer cancel()
				}
				var told []waiting
				_, err := awaitManifest(ctx, "http://files.example/p.torrent?sig=secret", o, func(w waiting) { told = append(told, w) })
				if err = ended(ctx, err); exitCode(err) != c.want {
					t.Errorf("exit %d (%v), want %d", exitCode(err), err, c.want)
				}
				if took := time.Since(begun); took < c.least || took > c.most {
					t.Errorf("took %v, want %v to %v", took, c.least, c.most)
				}
				if c.asked > 0 && asked > c.asked {
					t.Errorf("asked %d times", asked)
				}
				if (len(told) > 0) != (c.most > 0) {
					t.Errorf("told of %d waits", len(told))
				}
				var text waits
				var said strings.Builder
				for _, w := range told {
					text.say(&said, w)
				}
				if !strings.Contains(said.String(), c.says) || strings.Contains(said.String(), "secret") || len(told) > 0 && !strings.Contains(said.String(), "waiting for http://files.example/p.torrent: ") {
					t.Errorf("said %s", &said)
				}
				if n := strings.Count(said.String(), "\n"); n > len(told) || n > 2+int(time.Since(begun)/(10*time.Second)) {
					t.Errorf("%d lines for %d waits", n, len(told))
				}
			})
		})
	}
}

// TestMuteManifestServer: a server that accepts and says nothing doesn't hold a fetch beyond its own time-out.
func TestMuteManifestServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errTimedOut)
	defer cancel()
	_, err := readManifest(ctx, server.URL, origin.Options{})
	if err = ended(ctx, err); exitCode(err) != exitTimedOut {
		t.Errorf("exit %d (%v), want %d", exitCode(err), err, exitTimedOut)
	}
}

// TestHugeManifestFile: a manifest is held in memory; a file of any size must not be.
func TestHugeManifestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "huge.torrent")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 40); err != nil {
		t.Skip("no sparse file of 1 TiB here:", err)
	}
	if _, err := readManifest(t.Context(), name, origin.Options{}); !errors.Is(err, manifest.ErrInvalid) || !strings.Contains(err.Error(), "zeros") {
		t.Errorf("got %v, want ErrInvalid", err)
	}
	if _, err := f.WriteAt([]byte("d8:announce0:"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := readManifest(t.Context(), name, origin.Options{}); !errors.Is(err, manifest.ErrInvalid) || !strings.Contains(err.Error(), "64.0 MiB") {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}

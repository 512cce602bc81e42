package httporigin

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"handout/sources"
)

func TestRedirectsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		to   func(r *http.Request) string
		text string
	}{
		{"to itself", func(r *http.Request) string { return r.URL.Path }, "redirect loop: http://a/p/f -> http://a/p/f"},
		{"in a ring", func(r *http.Request) string {
			if r.Host == "a" {
				return "http://b/x?secret"
			}
			return "http://a/p/f"
		}, "redirect loop: http://a/p/f -> http://b/x -> http://a/p/f"},
		{"ever on", func(r *http.Request) string { return r.URL.Path + "x" }, "more than 5 redirects"},
		{"to a file", func(*http.Request) string { return "file:///etc/passwd" }, "not http or https"},
		{"to nowhere", func(*http.Request) string { return "http://" }, "no host"},
		{"to no URL", func(*http.Request) string { return "http://[::1" }, "no URL"},
		{"with credentials", func(*http.Request) string { return "http://u:pw@b/f" }, "credentials"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newWire(t).serve("http://a/p", Options{}, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Location", c.to(r))
					w.WriteHeader(302)
				})
				err := h.ReadRange(t.Context(), "f", 0, make([]byte, 1))
				if err == nil || isNotNow(err) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%v, want %q", err, c.text)
				}
				if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "pw")) {
					t.Errorf("tells secrets: %v", err)
				}
			})
		})
	}
	if _, err := redirect(mustParse("https://a/f"), "http://a/f"); err == nil {
		t.Error("went from https to http")
	}
}

// A redirect must not carry credentials to where it leads: that is how a server that may not read them would get them.
func TestCredentialsStayHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := map[string]string{}
		handler := func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			seen[r.Host] = r.Header.Get("Authorization") + r.Header.Get("X-Key")
			mu.Unlock()
			if r.Host != "elsewhere" {
				http.Redirect(w, r, "http://elsewhere"+r.URL.Path, http.StatusFound)
				return
			}
			partial(w, r, content64K)
		}
		w := newWire(t)
		h := w.serve("http://home/pkg", Options{User: "u", Password: "p", Header: http.Header{"x-key": {"k"}}}, handler)
		for range 3 {
			wantRead(t, h, "f", 0, content64K)
			wantRead(t, h, "g", 10, content64K[10:20])
		}
		if seen["home"] != "Basic dTpwk" || seen["elsewhere"] != "" {
			t.Errorf("credentials seen: %v", seen)
		}
		if n := w.connections(); n != 2 {
			t.Errorf("%d connections: the way to the new base was not remembered", n)
		}
	})
}

// Another port of the same host is another server.
func TestOtherPortIsElsewhere(t *testing.T) {
	if sameEndpoint(mustParse("http://a:80/"), mustParse("http://a:8080/")) || sameEndpoint(mustParse("http://a/"), mustParse("https://a/")) ||
		sameEndpoint(mustParse("http://a/"), mustParse("http://a.b/")) {
		t.Error("taken for the same")
	}
	if !sameEndpoint(mustParse("http://A/"), mustParse("http://a:80/x")) {
		t.Error("taken for another")
	}
}

// Several readers that are sent to another host for some files never have two connections, and nobody waits for ever.
// The wire fails the test on a second connection.
func TestRedirectsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newWire(t).serve("http://a", Options{}, func(w http.ResponseWriter, r *http.Request) {
			if r.Host == "a" && strings.HasPrefix(r.URL.Path, "/moved") {
				http.Redirect(w, r, "http://b"+r.URL.Path+"?signed", http.StatusFound) // a query: true of this file only
				return
			}
			partial(w, r, content64K)
		})
		var g sync.WaitGroup
		for i := range 8 {
			g.Go(func() {
				for k := range 10 {
					name := fmt.Sprintf("f%d", k)
					if (i+k)%3 == 0 {
						name = "moved" + name
					}
					wantRead(t, h, name, k*100, content64K[k*100:k*100+500])
				}
			})
		}
		g.Wait()
	})
}

// A place that a redirect led to may go away: then the origin's own URL is asked again.
func TestMovedBaseGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := "b"
		h := newWire(t).serve("http://a/p q", Options{}, func(w http.ResponseWriter, r *http.Request) {
			switch r.Host {
			case "a":
				http.Redirect(w, r, "http://"+target+"/%6dirror"+strings.TrimPrefix(r.URL.EscapedPath(), "/p%20q"), http.StatusTemporaryRedirect)
			case target:
				partial(w, r, content64K)
			default:
				w.WriteHeader(404)
			}
		})
		wantRead(t, h, "d/f#1", 0, content64K[:10])
		wantRead(t, h, "d/f#2", 0, content64K[:10])
		target = "c"
		wantRead(t, h, "d/f#3", 0, content64K[:10])
		target = "nowhere, it is gone"
		if err := h.ReadRange(t.Context(), "d/f", 0, make([]byte, 1)); err == nil || errors.Is(err, sources.ErrMissing) {
			t.Errorf("%v", err)
		}
	})
}

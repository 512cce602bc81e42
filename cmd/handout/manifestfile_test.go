package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"handout/manifest"
	"handout/sources/origin"
)

// endless reads as zeros for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestManifestServer: what a server, or whoever answers in its place, may do instead of sending a manifest.
func TestManifestServer(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "manifest") })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, endless{}) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/good", http.StatusFound) })
	mux.HandleFunc("/spy", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://me:secret@"+r.Host+"/good", http.StatusFound)
	})
	mux.HandleFunc("/forbidden", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "man")
	})
	for _, c := range []struct {
		where string
		want  int    // exit code
		says  string // in the error
	}{
		{server.URL + "/good", exitDone, ""},
		{server.URL + "/moved", exitDone, ""},
		{server.URL + "/endless", exitInvalid, "64.0 MiB"},
		{server.URL + "/loop", exitNoSource, "more than 5 redirects"},
		{server.URL + "/spy", exitNoSource, "credentials"},
		{server.URL + "/forbidden", exitNoSource, "403"},
		{server.URL + "/short", exitNoSource, "unexpected EOF"},
		{secure.URL, exitNoSource, "certificate"},
		{strings.Replace(server.URL, "http://", "http://me:secret@", 1) + "/good", exitUsage, "are not taken"},
		{"http://[", exitUsage, "no URL"},
	} {
		raw, err := readManifest(t.Context(), c.where, origin.Options{})
		switch {
		case exitCode(err) != c.want:
			t.Errorf("%s: exit %d (%v), want %d", c.where, exitCode(err), err, c.want)
		case err == nil && string(raw) != "manifest":
			t.Errorf("%s: read %q", c.where, raw)
		case err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret")):
			t.Errorf("%s: %q, want %q in it and no secret", c.where, err, c.says)
		}
	}
}

// TestDowngrade: who can answer for an https server only once could send us to plain http for ever.
func TestDowngrade(t *testing.T) {
	request := func(url string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	via := []*http.Request{request("https://files.example/a"), request("https://files.example/b")}
	if err := followRedirect(request("http://files.example/c"), via); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("https to http: %v", err)
	}
	if err := followRedirect(request("https://other.example/c"), via); err != nil {
		t.Errorf("https to https: %v", err)
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
	if _, err := readManifest(t.Context(), name, origin.Options{}); !errors.Is(err, manifest.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}

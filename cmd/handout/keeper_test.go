package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"handout/agent"
)

// An agent looks for a newer version over one of the site's origin connections, and not beyond them.
func TestManifestNeedsALease(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.WriteString(w, "d8:announce0:e")
	}))
	defer server.Close()
	a, err := agent.New(agent.Config{NoPeers: true, SiteConnections: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	k := &keeper{agent: a, pkg: packageConfig{Manifest: server.URL + "/pkg.torrent"}}
	err = a.Visit(t.Context(), func(context.Context) error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := k.raw(ctx); err == nil || asked.Load() != 0 {
			t.Errorf("the only connection is out, and still: %v, %d requests", err, asked.Load())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := k.raw(t.Context()); err != nil || asked.Load() != 1 {
		t.Errorf("it is back: %v, %d requests", err, asked.Load())
	}
}

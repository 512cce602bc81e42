package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// get reads what a manifest's server has.
func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// However many agents want their manifests at the same moment, the origin has no more connections than the site may have.
func TestManifestsKeepToTheSite(t *testing.T) {
	const machines, each, connections = 6, 5, 2
	h := &atOnce{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { time.Sleep(20 * time.Millisecond) })}
	url := server(t, h)
	config := Config{Site: "manifests", SiteConnections: connections}
	room := []*Agent{run(t, config)}
	config.Seeds = []string{fmt.Sprintf("127.0.0.1:%d", room[0].PeerPort())}
	for range machines - 1 {
		room = append(room, run(t, config))
	}
	eventually(t, "all meet", func() bool {
		for _, a := range room {
			if len(a.site.Members()) < machines-1 {
				return false
			}
		}
		return true
	})
	var g sync.WaitGroup
	for _, a := range room {
		for range each {
			g.Go(func() {
				if err := a.Visit(t.Context(), func(ctx context.Context) error { return get(ctx, url) }); err != nil {
					t.Error(err)
				}
			})
		}
	}
	g.Wait()
	if h.most > connections || h.most == 0 {
		t.Errorf("%d connections at once, of %d", h.most, connections)
	}
	for _, a := range room {
		if n := a.site.Status().Mine; n != 0 {
			t.Errorf("%d leases are kept after the visits", n)
		}
	}
}

// A machine that fetches on all the connections there are reads a manifest on one of these.
func TestManifestDuringAFetch(t *testing.T) {
	dir := tree(t)
	url := server(t, slowly(http.FileServer(http.Dir(dir)), 2<<20))
	a := run(t, Config{NoPeers: true, SiteConnections: 1})
	m := publish(t, dir, url)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := inBackground(t, a, m, filepath.Join(t.TempDir(), "dest"), FetchOptions{})
	eventually(t, "the fetch reads", func() bool { return a.Totals().FromOrigin > 0 })
	err := a.Visit(ctx, func(ctx context.Context) error {
		if n, here := a.site.Status().Mine, a.Totals().FromOrigin >= m.Length; n != 1 || here {
			t.Errorf("%d leases, after the fetch: %t", n, here)
		}
		return get(ctx, url+"/small/1/f001")
	})
	if err != nil {
		t.Error(err)
	}
	mustEnd(t, ended)
}

// What a visit says is what it ends with, and it does not outlive its caller.
func TestVisitEnds(t *testing.T) {
	a := run(t, Config{NoPeers: true, SiteConnections: 1})
	failed := errors.New("no manifest there")
	if err := a.Visit(t.Context(), func(context.Context) error { return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := a.Visit(ctx, func(context.Context) error {
		time.AfterFunc(50*time.Millisecond, cancel)
		return a.Visit(ctx, func(context.Context) error {
			t.Error("a second connection of one")
			return nil
		})
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

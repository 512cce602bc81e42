package agent

import (
	"os"
	"path/filepath"
	"testing"

	"handout/agent/api"
	"handout/manifest"
)

// What a package's counters say goes on when it is ordered again or mended, and an error is gone when it is over.
func TestCountersOutliveARepeatedOrder(t *testing.T) {
	d := newAdmin(t)
	a := run(t, d.machine(t))
	raw, _, _ := d.pack(t, "1", 400_000)
	m, err := manifest.Open(raw, anybody)
	if err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "apps")
	status := func() api.Package {
		t.Helper()
		s := a.Status()
		if len(s.Packages) != 1 {
			t.Fatalf("%d packages", len(s.Packages))
		}
		return s.Packages[0]
	}
	fetch := func(o FetchOptions) {
		t.Helper()
		o.Keep = true
		if _, err := a.Fetch(t.Context(), m, dest, o); err != nil {
			t.Fatal(err)
		}
	}
	// Somebody's file is in the way first.
	if err := os.WriteFile(dest, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = a.Fetch(t.Context(), m, dest, FetchOptions{Keep: true})
	a.Trouble("the manifest", err)
	if p := status(); err == nil || p.Error == "" || len(a.Status().Errors) > 0 {
		t.Errorf("a file in the way: %v, status %q and %v", err, p.Error, a.Status().Errors)
	}
	if err := os.Remove(dest); err != nil {
		t.Fatal(err)
	}
	fetch(FetchOptions{})
	if p := status(); p.FromOrigin != 400_000 || p.Error != "" {
		t.Errorf("fetched: %d bytes from the origin, error %q", p.FromOrigin, p.Error)
	}
	leech := run(t, d.machine(t, a))
	if _, err := leech.Fetch(t.Context(), m, filepath.Join(t.TempDir(), "apps"), FetchOptions{NoOrigin: true}); err != nil {
		t.Fatal(err)
	}
	before := status()
	if before.ToPeers < 400_000 {
		t.Errorf("%d bytes were given", before.ToPeers)
	}
	fetch(FetchOptions{})
	if p := status(); p.FromOrigin != 400_000 || p.ToPeers < before.ToPeers {
		t.Errorf("ordered again: %d from the origin, %d given", p.FromOrigin, p.ToPeers)
	}
	if err := os.Truncate(filepath.Join(dest, "file"), 100_000); err != nil {
		t.Fatal(err)
	}
	fetch(FetchOptions{Repair: true, NoOrigin: true}) // from the leech, which has it
	if p := status(); p.FromOrigin != 400_000 || p.ToPeers < before.ToPeers || p.FromPeers == 0 {
		t.Errorf("mended: %d from the origin, %d from neighbours, %d given", p.FromOrigin, p.FromPeers, p.ToPeers)
	}
}

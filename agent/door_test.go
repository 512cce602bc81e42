package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"handout/agent/api"
	"handout/manifest"
)

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came: %s", what)
		}
	}
}

// packageOf is what status shows of m.
func packageOf(t testing.TB, a *Agent, m *manifest.Manifest) api.Package {
	t.Helper()
	for _, p := range a.Status().Packages {
		if p.InfoHash == m.InfoHash.String() {
			return p
		}
	}
	return api.Package{}
}

// inBackground fetches and returns a channel for how it ended.
func inBackground(t testing.TB, a *Agent, m *manifest.Manifest, dest string, o FetchOptions) <-chan error {
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	go func() {
		_, err := a.Fetch(ctx, m, dest, o)
		ended <- err
	}()
	return ended
}

func mustEnd(t testing.TB, ended <-chan error) {
	t.Helper()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// at is where a is as a neighbour.
func at(a *Agent) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(a.PeerPort()))
}

// built is the package of a folder.
func built(t testing.TB, dir string, o manifest.BuildOptions) *manifest.Manifest {
	t.Helper()
	raw, err := manifest.Build(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// quiet is long enough to see that something goes on which should not.
const quiet = 700 * time.Millisecond

// TestPausedMachineIsQuiet: an operator pauses because the network is needed for something else.
func TestPausedMachineIsQuiet(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := tree(t)
	origin := &counting{Handler: slowly(http.FileServer(http.Dir(dir)), 1<<20)}
	m := publish(t, dir, server(t, origin))
	a := run(t, Config{NoPeers: true, Connections: 1})
	dest := filepath.Join(t.TempDir(), "out")
	ended := inBackground(t, a, m, dest, FetchOptions{})
	eventually(t, "bytes from the origin", func() bool { return packageOf(t, a, m).FromOrigin > 0 })
	if err := a.Pause(m.Name); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the run", func() bool { p := packageOf(t, a, m); return p.Why == "paused" && p.Connections == 0 })
	before := origin.bytes.Load()
	time.Sleep(quiet)
	if after := origin.bytes.Load(); after != before {
		t.Errorf("%d bytes while it was paused", after-before)
	}
	if p := packageOf(t, a, m); !p.Paused || p.Done == p.Total {
		t.Fatalf("nothing was paused: %+v", p)
	}
	if err := a.Resume(""); err != nil {
		t.Fatal(err)
	}
	mustEnd(t, ended)
	mustMatch(t, m, dest)
	if err := a.Pause("nobody's"); !errors.Is(err, api.ErrNoPackage) {
		t.Errorf("pausing what is not here: %v", err)
	}
}

// TestPausedSeedGivesNothing, and gives again when it is resumed.
func TestPausedSeedGivesNothing(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := tree(t)
	m := publish(t, dir)
	seed := run(t, Config{Site: t.Name()})
	if _, err := seed.Fetch(fetchContext(t), m, dir, FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := seed.Pause(""); err != nil {
		t.Fatal(err)
	}
	leech := run(t, Config{Site: t.Name()})
	dest := filepath.Join(t.TempDir(), "out")
	ended := inBackground(t, leech, m, dest, FetchOptions{})
	leech.found(at(seed), true)
	time.Sleep(quiet)
	if n := seed.Totals().ToPeers; n != 0 {
		t.Errorf("%d bytes were given while it was paused", n)
	}
	if err := seed.Resume(""); err != nil {
		t.Fatal(err)
	}
	mustEnd(t, ended)
	mustMatch(t, m, dest)
}

// TestLimitsHold: a limited fetch can't be faster than its limit, wherever the bytes come from; a new limit counts at
// once.
func TestLimitsHold(t *testing.T) {
	t.Parallel() // it mostly waits
	const perSecond = 2 << 20
	dir := tree(t)
	origin := server(t, http.FileServer(http.Dir(dir)))
	var m *manifest.Manifest
	for i, c := range []struct {
		name        string
		leech, seed Limits
		noSeed      bool
		o           FetchOptions
	}{
		{"from the origin", Limits{Down: perSecond}, Limits{}, true, FetchOptions{}},
		{"from a neighbour", Limits{Down: perSecond}, Limits{}, false, FetchOptions{NoOrigin: true}},
		{"from a limited seed", Limits{}, Limits{Up: perSecond}, false, FetchOptions{NoOrigin: true}},
		{"from both", Limits{Down: perSecond}, Limits{}, false, FetchOptions{}},
	} {
		// Packages of their own, so that no other seed of this test is near.
		m = built(t, dir, manifest.BuildOptions{PieceLength: int64(64<<10) << i, Origins: []string{origin}})
		leech := run(t, Config{Site: t.Name(), NoPeers: c.noSeed, Limits: c.leech})
		if !c.noSeed {
			seed := run(t, Config{Site: t.Name(), Limits: c.seed})
			if _, err := seed.Fetch(fetchContext(t), m, dir, FetchOptions{}); err != nil {
				t.Fatal(err)
			}
			leech.found(at(seed), true)
		}
		dest := filepath.Join(t.TempDir(), "out")
		began := time.Now()
		mustEnd(t, inBackground(t, leech, m, dest, c.o))
		took := time.Since(began)
		mustMatch(t, m, dest)
		if least := time.Duration(float64(m.Length-paceStep) / perSecond * float64(time.Second)); took < least {
			t.Errorf("%s: %s, at %d bytes per second at least %s", c.name, took, perSecond, least)
		}
	}

	a := run(t, Config{NoPeers: true, Limits: Limits{Down: leastLimit}}) // would take minutes
	ended := inBackground(t, a, m, filepath.Join(t.TempDir(), "out"), FetchOptions{})
	eventually(t, "the first lease", func() bool { return packageOf(t, a, m).Connections > 0 })
	free := int64(0)
	if err := a.Limit(api.LimitsRequest{Down: &free}); err != nil {
		t.Fatal(err)
	}
	mustEnd(t, ended)
	low := int64(1)
	if err := a.Limit(api.LimitsRequest{Up: &low}); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("a byte per second: %v", err)
	}
}

// TestLowPriorityWaits while a package of a higher one arrives, and not when that one can't be had.
func TestLowPriorityWaits(t *testing.T) {
	t.Parallel() // it mostly waits
	dirs := []string{tree(t), tree(t)}
	slow := func(dir string) string { return server(t, slowly(http.FileServer(http.Dir(dir)), 1<<20)) }
	low := built(t, dirs[0], manifest.BuildOptions{Name: "low", PieceLength: 64 << 10, Origins: []string{slow(dirs[0])}})
	high := built(t, dirs[1], manifest.BuildOptions{Name: "high", PieceLength: 128 << 10, Origins: []string{slow(dirs[1])}})
	a := run(t, Config{NoPeers: true, Connections: 2})
	lowEnded := inBackground(t, a, low, filepath.Join(t.TempDir(), "low"), FetchOptions{Priority: api.Low})
	eventually(t, "the low one", func() bool { return packageOf(t, a, low).FromOrigin > 0 })
	highEnded := inBackground(t, a, high, filepath.Join(t.TempDir(), "high"), FetchOptions{Priority: api.High})
	eventually(t, "the wait", func() bool {
		p := packageOf(t, a, low)
		return p.Connections == 0 && p.Why == "waits for a package of a higher priority"
	})
	had := packageOf(t, a, low).FromOrigin
	if packageOf(t, a, high).State != api.Fetching {
		t.Fatal("the high one was done before the low one waited: nothing is shown")
	}
	time.Sleep(quiet)
	if p := packageOf(t, a, low); p.FromOrigin != had && packageOf(t, a, high).State == api.Fetching {
		t.Errorf("the low one went on: %d bytes", p.FromOrigin-had)
	}
	if err := a.Prioritise("low", "highest"); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("a priority nobody knows: %v", err)
	}
	if err := a.Prioritise("low", api.High); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the low one, raised", func() bool { return packageOf(t, a, low).FromOrigin > had })
	mustEnd(t, lowEnded)
	mustEnd(t, highEnded)
}

// TestDecisionsOutliveTheAgent: the machine that was told to be quiet is quiet after a restart too.
func TestDecisionsOutliveTheAgent(t *testing.T) {
	state := t.TempDir()
	c := Config{NoPeers: true, StateDir: state, Limits: Limits{Up: 1 << 20, Down: 2 << 20}, Log: slog.New(slog.DiscardHandler)}
	up, configured := int64(3<<20), int64(api.AsConfigured)
	for _, step := range []struct {
		name     string
		do       func(*Agent) error
		up, down int64
		paused   bool
	}{
		{"the config counts", func(*Agent) error { return nil }, 1 << 20, 2 << 20, false},
		{"until somebody decides", func(a *Agent) error { return a.Limit(api.LimitsRequest{Up: &up}) }, 3 << 20, 2 << 20, false},
		{"one thing after the other", func(a *Agent) error { return a.Pause("") }, 3 << 20, 2 << 20, true},
		{"or takes it back", func(a *Agent) error { return a.Limit(api.LimitsRequest{Up: &configured}) }, 1 << 20, 2 << 20, true},
		{"all of it", func(a *Agent) error { return a.Resume("") }, 1 << 20, 2 << 20, false},
	} {
		a, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := step.do(a); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		a.Close()
		if a, err = New(c); err != nil {
			t.Fatal(err)
		}
		if s := a.Status(); s.UpLimit != step.up || s.DownLimit != step.down || s.Paused != step.paused {
			t.Errorf("%s: up %d, down %d, paused %v", step.name, s.UpLimit, s.DownLimit, s.Paused)
		}
		a.Close()
	}
}

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"handout/agent/api"
	"handout/agent/plan"
	"handout/agent/store"
	"handout/manifest"
)

var anybody = manifest.Trust{AllowUnsigned: true}

// blob is a package of one file of n bytes, which an HTTP server has.
func blob(t *testing.T, name string, n int) *manifest.Manifest {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	content := bytes.Repeat([]byte(name+" is not like any other file\n"), n/(len(name)+28)+1)[:n]
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "file"), content, 0o644)); err != nil {
		t.Fatal(err)
	}
	return publish(t, dir, server(t, http.FileServer(http.Dir(dir))))
}

func keep(t *testing.T, a *Agent, m *manifest.Manifest, dest string) {
	t.Helper()
	if _, err := a.Fetch(fetchContext(t), m, dest, FetchOptions{Keep: true, Replace: true}); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, m, dest)
}

func seedOf(a *Agent) []string { return []string{fmt.Sprintf("127.0.0.1:%d", a.PeerPort())} }

// fromNeighbour fetches m from a alone.
func fromNeighbour(t *testing.T, a *Agent, m *manifest.Manifest) {
	t.Helper()
	dest := filepath.Join(t.TempDir(), "copy")
	_, err := run(t, Config{Seeds: seedOf(a)}).Fetch(fetchContext(t), m, dest, FetchOptions{NoOrigin: true})
	if err != nil {
		t.Fatalf("from the neighbour: %v", err)
	}
	mustMatch(t, m, dest)
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestNewVersionTakesThePlaceOfTheOld: while a new version is fetched, neighbours get the old one; nobody restarts anything.
func TestNewVersionTakesThePlaceOfTheOld(t *testing.T) {
	old, young := blob(t, "old", 300_000), blob(t, "young", 300_000)
	held, let := make(chan struct{}, 100), make(chan struct{})
	young = publishHeld(t, young, held, let)
	a := run(t, Config{})
	dest := filepath.Join(t.TempDir(), "pkg")
	keep(t, a, old, dest)

	done := make(chan error, 1)
	go func() {
		_, err := a.Fetch(fetchContext(t), young, dest, FetchOptions{Keep: true, Replace: true})
		done <- err
	}()
	<-held // the new version is being read
	fromNeighbour(t, a, old)
	mustMatch(t, old, dest)
	close(let)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustMatch(t, young, dest)
	fromNeighbour(t, a, young)
}

// publishHeld is m again, from a server that says when it is first read and then waits.
func publishHeld(t *testing.T, m *manifest.Manifest, held chan<- struct{}, let <-chan struct{}) *manifest.Manifest {
	t.Helper()
	src := t.TempDir()
	dir := filepath.Join(src, m.Root)
	if _, err := run(t, Config{NoPeers: true}).Fetch(fetchContext(t), m, dir, FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(dir))
	return publish(t, dir, server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case held <- struct{}{}:
		default:
		}
		<-let
		files.ServeHTTP(w, r)
	})))
}

// TestCacheIsGivenAfterRestart: what lies in the cache is of use whether or not the config still names it, and nothing of it
// is read for that.
func TestCacheIsGivenAfterRestart(t *testing.T) {
	m, other := blob(t, "pkg", 300_000), blob(t, "other", 1000)
	cache := Cache{Dir: t.TempDir(), Trust: anybody}
	first, err := New(Config{NoPeers: true, Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	keep(t, first, m, filepath.Join(cache.Dir, "pkg"))
	keep(t, first, other, filepath.Join(cache.Dir, "other"))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	stranger := cache
	stranger.Trust = manifest.Trust{}
	a := run(t, Config{Cache: stranger})
	if err := a.OpenCache(t.Context()); err != nil || len(a.held) > 0 {
		t.Fatalf("a package of an unknown key is opened: %v", err)
	}
	a = run(t, Config{Cache: cache})
	if err := a.OpenCache(t.Context()); err != nil {
		t.Fatal(err)
	}
	fromNeighbour(t, a, m)
	a.noteUse(time.Now().Add(time.Hour))

	// To ask for it finds it; at another place it moves, since one place is enough.
	r, err := a.Fetch(fetchContext(t), m, filepath.Join(cache.Dir, "pkg"), FetchOptions{Keep: true})
	if err != nil || !r.AlreadyThere {
		t.Errorf("asked for again: %+v, %v", r, err)
	}
	if _, err := a.Fetch(fetchContext(t), m, filepath.Join(t.TempDir(), "pkg"), FetchOptions{}); !errors.Is(err, ErrTwice) {
		t.Errorf("wanted at two places: %v", err)
	}
	dest := filepath.Join(t.TempDir(), "moved")
	keep(t, a, other, dest)
}

func TestRelease(t *testing.T) {
	m := blob(t, "pkg", 300_000)
	dest := filepath.Join(t.TempDir(), "pkg")
	a := run(t, Config{})
	keep(t, a, m, dest)
	if err := a.Release(dest); err != nil {
		t.Fatal(err)
	}
	if err := store.Evict(t.Context(), dest); err != nil {
		t.Errorf("still held: %v", err)
	}
	keep(t, a, m, dest)
}

// TestBudget: room is made for what is wanted, by what is least useful; what is pinned, named or wanted stays, and where that
// is too much the fetch ends before anything goes.
func TestBudget(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	var named string
	cache := Cache{Dir: dir, Trust: anybody, Budget: plan.Budget{MaxBytes: 350_000}, Named: func(dest string) bool { return dest == named }}
	a := run(t, Config{NoPeers: true, Cache: cache})
	for i, name := range []string{"one", "two", "three"} {
		keep(t, a, blob(t, name, 100_000), at(name))
		used := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(filepath.Join(dir, "."+name+".handout", "used"), used, used); err != nil {
			t.Fatal(err)
		}
	}
	_, err := a.Fetch(fetchContext(t), blob(t, "wanted", 100_000), at("wanted"), FetchOptions{Keep: true})
	if !errors.Is(err, store.ErrNoSpace) || !there(at("one")) {
		t.Fatalf("all are wanted: %v", err)
	}
	for _, name := range []string{"one", "two", "three"} {
		if err := a.Unwant(at(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Pin(at("one"), true); err != nil {
		t.Fatal(err)
	}
	named = at("two")
	_, err = a.Fetch(fetchContext(t), blob(t, "large", 260_000), at("large"), FetchOptions{Keep: true})
	if !errors.Is(err, store.ErrNoSpace) || !there(at("three")) {
		t.Fatalf("too large: %v", err)
	}
	keep(t, a, blob(t, "fits", 100_000), at("fits"))
	if !there(at("one")) || !there(at("two")) || there(at("three")) {
		t.Error("what is pinned or named went, or what is neither stayed")
	}
	events, _ := a.journal.After(0)
	evicted := slices.IndexFunc(events, func(e api.Event) bool { return e.Kind == string(CacheEvicted) })
	if evicted < 0 || !strings.Contains(events[evicted].Text, "three") {
		t.Errorf("the eviction is not told: %+v", events)
	}
	list, err := store.List(dir, anybody)
	if err != nil || len(list) != 3 {
		t.Errorf("left in the cache: %+v, %v", list, err)
	}
}

// TestTheOnlyHolderKeeps: where a neighbour still needs what nobody else near has, it does not go.
func TestTheOnlyHolderKeeps(t *testing.T) {
	m := blob(t, "pkg", 3_000_000)
	cache := Cache{Dir: t.TempDir(), Trust: anybody, Budget: plan.Budget{MaxBytes: 3_000_000}}
	dest := filepath.Join(cache.Dir, "pkg")
	a := run(t, Config{Cache: cache})
	keep(t, a, m, dest)
	if err := a.Unwant(dest); err != nil {
		t.Fatal(err)
	}
	b := run(t, Config{Seeds: seedOf(a)})
	disk := make(slowDisk)
	t.Cleanup(func() { close(disk) })
	torrent, err := b.engine.Add(m, disk)
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	b.torrents[torrent] = struct{}{}
	b.mu.Unlock()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		a.mu.Lock()
		needed := a.at(dest)[0].needed()
		a.mu.Unlock()
		if needed {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the neighbour was never seen to need anything")
		}
	}
	_, err = a.Fetch(fetchContext(t), blob(t, "other", 1000), filepath.Join(cache.Dir, "other"), FetchOptions{Keep: true})
	if !errors.Is(err, store.ErrNoSpace) || !there(dest) {
		t.Errorf("the only holder's package went: %v", err)
	}
}

// slowDisk takes blocks, and never comes to the end of checking a piece while it lives.
type slowDisk chan struct{}

func (slowDisk) Has(manifest.PieceIndex) bool   { return false }
func (slowDisk) Lacks(manifest.PieceIndex) bool { return true }

func (slowDisk) ReadAt(manifest.PieceIndex, []byte, int64) (int, error) {
	return 0, store.ErrIncomplete
}

func (slowDisk) WriteAt(_ manifest.PieceIndex, p []byte, _ int64) (int, error) { return len(p), nil }

func (d slowDisk) Verify(manifest.PieceIndex) (bool, error) {
	<-d
	return false, nil
}

// TestOthersFillTheDisk: what must stay free is freed for whoever filled the disk, and if that is not enough, fetches end.
func TestOthersFillTheDisk(t *testing.T) {
	cache := Cache{Dir: t.TempDir(), Trust: anybody}
	at := func(name string) string { return filepath.Join(cache.Dir, name) }
	a, err := New(Config{NoPeers: true, Cache: cache}) // and no Run, which looks at the disk from time to time
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	keep(t, a, blob(t, "old", 100_000), at("old"))
	if err := a.Unwant(at("old")); err != nil {
		t.Fatal(err)
	}
	held, let := make(chan struct{}, 100), make(chan struct{})
	defer close(let)
	m := publishHeld(t, blob(t, "new", 100_000), held, let)
	done := make(chan error, 1)
	go func() {
		_, err := a.Fetch(fetchContext(t), m, at("new"), FetchOptions{Keep: true})
		done <- err
	}()
	<-held
	a.c.Cache.Budget.MinFree = 1 << 60
	a.relieve(t.Context())
	if err := <-done; !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("the fetch ended with %v", err)
	}
	if there(at("old")) {
		t.Error("nothing went though the disk is full")
	}
}

// TestWhatTheDiskLostIsMended: a piece that is no longer what it was is found, not given, and fetched again.
func TestWhatTheDiskLostIsMended(t *testing.T) {
	m := blob(t, "pkg", 300_000)
	dest := filepath.Join(t.TempDir(), "pkg")
	a := run(t, Config{Verify: Verify{BytesPerSec: 1 << 40, Period: time.Nanosecond}})
	keep(t, a, m, dest)
	file := filepath.Join(dest, "file")
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, file)
	if err := os.Chtimes(file, fi.ModTime(), fi.ModTime()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	for {
		if r, err := store.Check(ctx, m, nil, dest, nil); err == nil && r.Matches() {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal("it is not mended")
		case <-time.After(50 * time.Millisecond):
		}
	}
	fromNeighbour(t, a, m)
}

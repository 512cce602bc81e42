package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"math/rand/v2"

	"handout/agent/store"
	"handout/manifest"
)

// tree writes a small tree: a large file, many small ones, an empty one, an empty folder.
func tree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pkg")
	rnd := rand.NewChaCha8([32]byte{7})
	write := func(name string, n int) {
		b := make([]byte, n)
		rnd.Read(b)
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("big.bin", 3<<20+17)
	for i := range 200 {
		write(fmt.Sprintf("small/%d/f%03d", i%7, i), i*37)
	}
	write("empty", 0)
	if err := os.Mkdir(filepath.Join(dir, "hollow"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func publish(t testing.TB, dir string, origins ...string) *manifest.Manifest {
	t.Helper()
	raw, err := manifest.Build(t.Context(), dir, manifest.BuildOptions{Origins: origins})
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func server(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// counting counts the body bytes a handler sends.
type counting struct {
	http.Handler
	bytes atomic.Int64
}

type countingWriter struct {
	http.ResponseWriter
	c *counting
}

func (w countingWriter) Write(b []byte) (int, error) {
	w.c.bytes.Add(int64(len(b)))
	return w.ResponseWriter.Write(b)
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.Handler.ServeHTTP(countingWriter{w, c}, r)
}

func run(t testing.TB, c Config) *Agent {
	t.Helper()
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return a
}

func mustMatch(t testing.TB, m *manifest.Manifest, dest string) {
	t.Helper()
	r, err := store.Check(context.Background(), m, nil, dest, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Matches() {
		t.Errorf("%s is not the package: %+v", dest, r)
	}
}

func fetchContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestFetchAloneFromHTTP(t *testing.T) {
	dir := tree(t)
	m := publish(t, dir, server(t, http.FileServer(http.Dir(dir))))
	dest := filepath.Join(t.TempDir(), "out")
	var last Progress
	r, err := run(t, Config{NoPeers: true}).Fetch(fetchContext(t), m, dest, FetchOptions{Progress: func(p Progress) { last = p }})
	if err != nil {
		t.Fatal(err)
	}
	mustMatch(t, m, dest)
	if r.FromOrigin != m.Length || r.AlreadyThere || r.Resumed != 0 || r.Bytes != m.Length {
		t.Errorf("result %+v of %d bytes", r, m.Length)
	}
	if last.Phase != Placing || last.Done != m.Length {
		t.Errorf("last progress %+v", last)
	}
	r, err = run(t, Config{NoPeers: true}).Fetch(fetchContext(t), m, dest, FetchOptions{})
	if err != nil || !r.AlreadyThere || r.FromOrigin != 0 {
		t.Errorf("fetched again: %+v, %v", r, err)
	}
}

func TestFetchFromFolder(t *testing.T) {
	dir := tree(t)
	m := publish(t, dir, dir)
	dest := filepath.Join(t.TempDir(), "out")
	if _, err := run(t, Config{NoPeers: true}).Fetch(fetchContext(t), m, dest, FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, m, dest)
}

// A package without a byte needs neither origin nor neighbour.
func TestPackageOfEmptyFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pkg")
	if err := os.MkdirAll(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "e"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := publish(t, dir)
	dest := filepath.Join(t.TempDir(), "out")
	if _, err := run(t, Config{NoPeers: true}).Fetch(fetchContext(t), m, dest, FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, m, dest)
}

// A room: all start together, read the origin and each other at once.
func TestRoomSharesTheOrigin(t *testing.T) {
	const n = 4
	dir := tree(t)
	o := &counting{Handler: slowly(http.FileServer(http.Dir(dir)), 2<<20)}
	m := publish(t, dir, server(t, o))
	agents := make([]*Agent, n)
	for i := range agents {
		var seeds []string
		for _, a := range agents[:i] {
			seeds = append(seeds, fmt.Sprintf("127.0.0.1:%d", a.PeerPort()))
		}
		agents[i] = run(t, Config{Seeds: seeds, Connections: n})
	}
	var g sync.WaitGroup
	for _, a := range agents {
		dest := filepath.Join(t.TempDir(), "out")
		g.Go(func() {
			if _, err := a.Fetch(fetchContext(t), m, dest, FetchOptions{}); err != nil {
				t.Error(err)
			}
			mustMatch(t, m, dest)
		})
	}
	g.Wait()
	if got := float64(o.bytes.Load()) / float64(m.Length); got > 2 {
		t.Errorf("the origin gave %.2f copies to %d machines", got, n)
	}
}

// slowly lets all responses together have so many bytes per second.
func slowly(h http.Handler, perSecond int) http.Handler {
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(slowWriter{w, &mu, perSecond}, r)
	})
}

type slowWriter struct {
	http.ResponseWriter
	mu        *sync.Mutex
	perSecond int
}

func (w slowWriter) Write(b []byte) (int, error) {
	n := 0
	for len(b) > 0 {
		part := b[:min(len(b), 16<<10)]
		w.mu.Lock()
		time.Sleep(time.Duration(float64(len(part)) / float64(w.perSecond) * float64(time.Second)))
		w.mu.Unlock()
		k, err := w.ResponseWriter.Write(part)
		n += k
		if err != nil {
			return n, err
		}
		b = b[k:]
	}
	return n, nil
}

// A seed is near and no origin is used.
func TestFetchFromSeedAlone(t *testing.T) {
	dir := tree(t)
	m := publish(t, dir, dir)
	seed := run(t, Config{})
	if _, err := seed.Fetch(fetchContext(t), m, filepath.Join(t.TempDir(), "out"), FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	leech := run(t, Config{Seeds: []string{fmt.Sprintf("127.0.0.1:%d", seed.PeerPort())}})
	dest := filepath.Join(t.TempDir(), "out")
	r, err := leech.Fetch(fetchContext(t), m, dest, FetchOptions{NoOrigin: true})
	if err != nil {
		t.Fatal(err)
	}
	mustMatch(t, m, dest)
	if r.FromPeers != m.Length || r.FromOrigin != 0 {
		t.Errorf("result %+v", r)
	}
	began := time.Now()
	seed.Linger(fetchContext(t), 10*time.Second)
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("the seed lingered %v though nobody lacks anything", d)
	}
	if got := seed.Totals().ToPeers; got < m.Length {
		t.Errorf("the seed says it uploaded %d bytes of %d", got, m.Length)
	}
}

// An interrupted fetch goes on where it was.
func TestInterruptedFetchGoesOn(t *testing.T) {
	dir := tree(t)
	o := &counting{Handler: slowly(http.FileServer(http.Dir(dir)), 4<<20)}
	m := publish(t, dir, server(t, o))
	dest := filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithCancel(fetchContext(t))
	_, err := run(t, Config{NoPeers: true}).Fetch(ctx, m, dest, FetchOptions{Progress: func(p Progress) {
		if p.Done > p.Total/3 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	if _, err := os.Stat(dest); err == nil {
		t.Fatal("a part of the tree stands at the destination")
	}
	first := o.bytes.Load()
	r, err := run(t, Config{NoPeers: true}).Fetch(fetchContext(t), m, dest, FetchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustMatch(t, m, dest)
	if r.Resumed < m.Length/4 || r.Resumed+r.FromOrigin > m.Length+m.Length/10 {
		t.Errorf("resumed %d, read %d of %d (the first run read %d)", r.Resumed, r.FromOrigin, m.Length, first)
	}
}

// The file server's tree was changed after publication: nothing of it is kept, file and origin are named.
func TestOriginThatServesOtherBytes(t *testing.T) {
	dir := tree(t)
	m := publish(t, dir)
	spoil(t, filepath.Join(dir, "small", "3", "f101"))
	url := server(t, http.FileServer(http.Dir(dir)))
	dest := filepath.Join(t.TempDir(), "out")
	_, err := run(t, Config{NoPeers: true}).Fetch(fetchContext(t), m, dest, FetchOptions{Origins: []string{url}})
	if !errors.Is(err, ErrOriginCorrupt) || !strings.Contains(err.Error(), "small/3/f101") || !strings.Contains(err.Error(), url) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(dest); err == nil {
		t.Error("a tree with wrong bytes was published")
	}
}

// A file that changes while it is read, whatever the server says of it: what was right stays, the rest is the origin's fault.
func TestFileChangesAtTheOrigin(t *testing.T) {
	for name, change := range map[string]func(t testing.TB, file string){
		"in place":  spoil,
		"all of it": func(t testing.TB, file string) { must(t, os.WriteFile(file, make([]byte, 3<<20+17), 0o644)) },
		"shorter":   func(t testing.TB, file string) { must(t, os.Truncate(file, 1<<20)) },
		"empty":     func(t testing.TB, file string) { must(t, os.Truncate(file, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t)
			m := publish(t, dir)
			files := http.FileServer(http.Dir(dir))
			var asked atomic.Int32
			url := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Etag", fmt.Sprintf(`"%d"`, asked.Add(1)))
				if asked.Load() == 2 {
					change(t, filepath.Join(dir, "big.bin"))
				}
				files.ServeHTTP(w, r)
			}))
			a := run(t, Config{NoPeers: true, Connections: 1})
			_, err := a.Fetch(fetchContext(t), m, filepath.Join(t.TempDir(), "out"), FetchOptions{Origins: []string{url}})
			if !errors.Is(err, ErrOriginCorrupt) || !strings.Contains(err.Error(), "big.bin") {
				t.Errorf("error %v", err)
			}
			if n := asked.Load(); n > 1000 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A server that compresses what it sends, though asked not to, and says so: the error does too.
func TestOriginThatCompresses(t *testing.T) {
	dir := tree(t)
	m := publish(t, dir)
	files := http.FileServer(http.Dir(dir))
	url := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		if r.URL.Path == "/big.bin" {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(bytes.Repeat([]byte("squeezed"), 1<<20)))
			return
		}
		files.ServeHTTP(w, r) // which were stored so
	}))
	_, err := run(t, Config{NoPeers: true}).Fetch(fetchContext(t), m, filepath.Join(t.TempDir(), "out"), FetchOptions{Origins: []string{url}})
	if !errors.Is(err, ErrOriginCorrupt) || !strings.Contains(err.Error(), "big.bin") || !strings.Contains(err.Error(), `Content-Encoding: "gzip"`) {
		t.Errorf("error %v", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func spoil(t testing.TB, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// The first origin is wrong, short of a file or out of service: the second one, or a neighbour, takes over.
func TestAnotherSourceTakesOver(t *testing.T) {
	dir := tree(t)
	m := publish(t, dir)
	good := server(t, http.FileServer(http.Dir(dir)))
	bad := map[string]http.Handler{
		"wrong bytes": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(make([]byte, 4<<20)))
		}),
		"one file gone": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "f077") {
				http.NotFound(w, r)
				return
			}
			http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
		}),
		"everything gone":   http.NotFoundHandler(),
		"nobody may read":   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) }),
		"out of service":    http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }),
		"hangs up":          http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }),
		"knows no ranges":   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("<html>log in first</html>")) }),
		"cuts every answer": cutting(http.FileServer(http.Dir(dir))),
	}
	for name, h := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dest := filepath.Join(t.TempDir(), "out")
			_, err := run(t, Config{NoPeers: true}).Fetch(fetchContext(t), m, dest, FetchOptions{Origins: []string{server(t, h), good}})
			if err != nil {
				t.Fatal(err)
			}
			mustMatch(t, m, dest)
		})
	}
	t.Run("a neighbour", func(t *testing.T) {
		t.Parallel()
		seed := run(t, Config{})
		if _, err := seed.Fetch(fetchContext(t), m, filepath.Join(t.TempDir(), "out"), FetchOptions{Origins: []string{dir}}); err != nil {
			t.Fatal(err)
		}
		leech := run(t, Config{Seeds: []string{fmt.Sprintf("127.0.0.1:%d", seed.PeerPort())}})
		dest := filepath.Join(t.TempDir(), "out")
		if _, err := leech.Fetch(fetchContext(t), m, dest, FetchOptions{Origins: []string{server(t, bad["wrong bytes"])}}); err != nil {
			t.Fatal(err)
		}
		mustMatch(t, m, dest)
	})
}

// cutting ends every answer after 100,000 bytes.
func cutting(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&cutWriter{ResponseWriter: w, left: 100_000}, r)
	})
}

type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(b []byte) (int, error) {
	if len(b) > w.left {
		w.ResponseWriter.Write(b[:w.left])
		panic(http.ErrAbortHandler)
	}
	w.left -= len(b)
	return w.ResponseWriter.Write(b)
}

func TestNothingToFetchFrom(t *testing.T) {
	dir := tree(t)
	m := publish(t, dir)
	for name, o := range map[string]FetchOptions{
		"no origin is named":  {},
		"the folder is gone":  {Origins: []string{filepath.Join(t.TempDir(), "gone")}},
		"every file is gone":  {Origins: []string{server(t, http.NotFoundHandler())}},
		"a scheme of its own": {Origins: []string{"gopher://h/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, Config{NoPeers: true}).Fetch(fetchContext(t), m, filepath.Join(t.TempDir(), "out"), o)
			if !errors.Is(err, ErrNoSource) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	a := run(t, Config{})
	if _, err := New(Config{PeerPort: a.PeerPort()}); !errors.Is(err, ErrPortInUse) {
		t.Errorf("error %v", err)
	}
	b := run(t, Config{PeerPort: a.PeerPort(), AnyPort: true})
	if b.PeerPort() == 0 || b.PeerPort() == a.PeerPort() {
		t.Errorf("port %d", b.PeerPort())
	}
}

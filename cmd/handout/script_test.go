package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the stories run this very program as "handout", as "faulty" with a goroutine that panics in an agent's
// child once there is a file panic-now, and one that doesn't end by itself as "stuck".
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"handout": main, "faulty": func() {
		if slices.Contains(os.Args, "--child") {
			go func() {
				for os.Remove("panic-now") != nil {
					time.Sleep(10 * time.Millisecond)
				}
				panic("injected")
			}()
		}
		main()
	}, "stuck": func() {
		ctx, _ := untilSignalled(context.Background(), os.Stderr)
		fmt.Println("begins")
		<-ctx.Done()
		time.Sleep(sameSignal)
		fmt.Println("ends, if it could:", context.Cause(ctx))
		select {}
	}})
}

// TestStories plays testdata/script: what a user types, and what comes of it. Each story has an HTTP server of its own
// that shows $WORK/www at $ORIGIN/plain (with a user and a password: $LOGIN/plain), and with a fault at $ORIGIN/slow, $ORIGIN/wrong and $ORIGIN/moved.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			server := httptest.NewServer(faultyOrigin(filepath.Join(env.WorkDir, "www")))
			env.Defer(server.Close)
			env.Setenv("ORIGIN", server.URL)
			env.Setenv("LOGIN", strings.Replace(server.URL, "//", "//me:SECRET@", 1))
			port, err := freePort()
			env.Setenv("PORT", port)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"answers":    answers,
			"exits":      exitsWith,
			"interrupts": interrupts,
			"random":     random,
			"same":       same,
			"subst":      subst,
		},
	})
}

// lastPort is the last one that freePort looked at, shared by the stories: no two get the same.
var lastPort atomic.Uint32

func init() { lastPort.Store(rand.Uint32N(5000)) }

// freePort is a port that is free together with the one after it, away from those the system hands out by itself.
func freePort() (string, error) {
	for range 100 {
		port := 20000 + 2*(lastPort.Add(1)%5000)
		a, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			continue
		}
		b, err := net.Listen("tcp", fmt.Sprintf(":%d", port+1))
		a.Close()
		if err == nil {
			b.Close()
			return strconv.Itoa(int(port)), nil
		}
	}
	return "", errors.New("no two free ports")
}

// faultyOrigin shows dir, well and badly.
func faultyOrigin(dir string) http.Handler {
	plain := http.FileServer(http.Dir(dir))
	mux := http.NewServeMux()
	mux.Handle("/plain/", http.StripPrefix("/plain", plain))
	mux.Handle("/slow/", http.StripPrefix("/slow", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain.ServeHTTP(slowWriter{w, r.Context()}, r)
	})))
	mux.Handle("/wrong/", http.StripPrefix("/wrong", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain.ServeHTTP(wrongWriter{w}, r)
	})))
	mux.Handle("/moved/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(r.URL.Path, "/moved/", "/plain/", 1), http.StatusFound)
	}))
	return mux
}

// slowWriter sends 256 KiB in a second.
type slowWriter struct {
	http.ResponseWriter
	ctx context.Context
}

func (w slowWriter) Write(p []byte) (n int, err error) {
	for chunk := range chunks(p, 16<<10) {
		select {
		case <-time.After(time.Second / 16):
		case <-w.ctx.Done():
			return n, w.ctx.Err()
		}
		k, err := w.ResponseWriter.Write(chunk)
		n += k
		if err != nil {
			return n, err
		}
		w.ResponseWriter.(http.Flusher).Flush()
	}
	return n, nil
}

func chunks(p []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(p) > 0 {
			n := min(size, len(p))
			if !yield(p[:n]) {
				return
			}
			p = p[n:]
		}
	}
}

// wrongWriter serves other bytes than the file has.
type wrongWriter struct{ http.ResponseWriter }

func (w wrongWriter) Write(p []byte) (int, error) {
	flipped := bytes.Clone(p)
	for i := range flipped {
		flipped[i] ^= 0x20
	}
	return w.ResponseWriter.Write(flipped)
}

// exitsWith plays "exits CODE PROGRAM ARGS...": it runs a program that must end with that exit code.
func exitsWith(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	if code := codeOf(ts, err); strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

func codeOf(ts *testscript.TestScript, err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// interrupts plays "interrupts CODE PATTERN PROGRAM ARGS...": it sends an interrupt once the program's output matches, and
// "interrupts CODE PATTERN,PATTERN PROGRAM ARGS..." one for each pattern. The program must then end with that exit code. Its
// output is in the files out and err.
func interrupts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: interrupts CODE PATTERN[,PATTERN...] PROGRAM ARGS...")
	}
	path, err := exec.LookPath(args[2])
	ts.Check(err)
	cmd := exec.Command(path, args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = scriptEnv(ts)
	var stdout, stderr, both output
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, &both), io.MultiWriter(&stderr, &both)
	ts.Check(cmd.Start())
	for pattern := range strings.SplitSeq(args[1], ",") {
		if !both.await(regexp.MustCompile(pattern), 20*time.Second) {
			ts.Logf("nothing matched %s", pattern)
			cmd.Process.Kill()
			break
		}
		cmd.Process.Signal(os.Interrupt)
	}
	err = cmd.Wait()
	ts.Logf("[stdout]\n%s[stderr]\n%s", &stdout, &stderr)
	ts.Check(os.WriteFile(ts.MkAbs("out"), []byte(stdout.String()), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs("err"), []byte(stderr.String()), 0o644))
	if code := codeOf(ts, err); strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// scriptEnv is the story's environment as far as the program needs it.
func scriptEnv(ts *testscript.TestScript) []string {
	env := []string{}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "SYSTEMROOT", "HANDOUT_TRUST"} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// output is what a program wrote so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await reports whether the output matches within d.
func (o *output) await(pattern *regexp.Regexp, d time.Duration) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if pattern.MatchString(o.String()) {
			return true
		}
	}
	return false
}

// answers plays "answers PROGRAM ARGS... [~ PATTERN]": the program is run until it succeeds and its output matches.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	pattern := regexp.MustCompile("")
	if n := len(args); n > 2 && args[n-2] == "~" {
		pattern, args = regexp.MustCompile(args[n-1]), args[:n-2]
	}
	if neg || len(args) == 0 {
		ts.Fatalf("usage: answers PROGRAM ARGS... [~ PATTERN]")
	}
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ts.Exec(args[0], args[1:]...) == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("it never answered %s", pattern)
}

// random plays "random FILE BYTES": it writes bytes that repeat nowhere and that no other story has, or two stories that
// are told at once would be neighbours of one swarm.
func random(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: random FILE BYTES")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o755))
	content := make([]byte, n)
	rand.NewChaCha8(sha256.Sum256([]byte(ts.MkAbs(args[0])))).Read(content)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), content, 0o644))
}

// subst plays "subst FILE": variables in the file are replaced by what the story says they are.
func subst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: subst FILE")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// same plays "same FILE FILE": the two become the same within some seconds.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same FILE FILE")
	}
	var got, want []byte
	for range 100 {
		got, _ = os.ReadFile(ts.MkAbs(args[0]))
		want, _ = os.ReadFile(ts.MkAbs(args[1]))
		if want != nil && bytes.Equal(got, want) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("%s: %q, %s: %q", args[0], got, args[1], want)
}

// TestKeyFileIsForItsOwnerOnly: who can read the key can sign in the publisher's name.
func TestKeyFileIsForItsOwnerOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no mode bits: the folder's access list decides")
	}
	name := filepath.Join(t.TempDir(), "lab")
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if code := (&app{in: null, out: null, err: null}).run(t.Context(), []string{"keygen", "--no-password", "-o", name}); code != exitDone {
		t.Fatalf("keygen: exit %d", code)
	}
	info, err := os.Stat(name + ".key")
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %o, want 600", mode)
	}
}

package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is a machine in memory.
type machine struct {
	mu     sync.Mutex
	status Status
	events []Event
	more   chan struct{}
	paused []string
}

func newMachine() *machine {
	return &machine{status: Status{Version: "v1", Packages: []Package{{Name: "win11"}}, Errors: []Trouble{}}, more: make(chan struct{})}
}

func (m *machine) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

func (m *machine) Survey(context.Context) SiteStatus {
	return SiteStatus{Site: "lab", Machines: []MachineStatus{{Member: Member{Mine: true}}, {Silent: "it does not answer"}}}
}

func (m *machine) Events(after uint64) ([]Event, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Event
	for _, e := range m.events {
		if e.Seq > after {
			all = append(all, e)
		}
	}
	return all, m.more
}

func (m *machine) happen(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, Event{Seq: uint64(len(m.events) + 1), Kind: "test", Text: text})
	close(m.more)
	m.more = make(chan struct{})
}

func (m *machine) Pause(pkg string) error {
	if pkg != "" && pkg != "win11" {
		return fmt.Errorf("%q: %w", pkg, ErrNoPackage)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused = append(m.paused, pkg)
	return nil
}

func (m *machine) Resume(pkg string) error { return m.Pause(pkg) }

func (m *machine) TestOrigin(ctx context.Context, t OriginTest) (OriginFindings, error) {
	switch {
	case t.Milliseconds == 0:
		return OriginFindings{}, ErrBadTest
	case t.Origin == "busy":
		return OriginFindings{}, ErrBusy
	case t.Origin == "hangs":
		<-ctx.Done()
		return OriginFindings{}, ctx.Err()
	}
	return OriginFindings{Origin: t.Origin, Error: "wrong"}, errors.New("wrong")
}

func (m *machine) Limit(LimitsRequest) error               { return m.Pause("") }
func (m *machine) Prioritise(pkg string, _ Priority) error { return m.Pause(pkg) }

// changes is how often something was changed.
func (m *machine) changes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.paused)
}

// shortDir is a folder whose path is short enough for a socket.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "door")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "door")
}

// openDoor serves m until the test ends.
func openDoor(t *testing.T, m Machine, address string) (*Door, string) {
	t.Helper()
	dir := shortDir(t)
	d, err := Open(Options{Dir: dir, Address: address, Machine: m})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- d.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the door did not close in order: %v", err)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind in the door's folder: %v, %v", left, err)
		}
	})
	return d, dir
}

const anyPort = "127.0.0.1:0"

// addresses are the two kinds of door.
func addresses() []string {
	if runtime.GOOS == "windows" {
		return []string{anyPort}
	}
	return []string{"", anyPort}
}

func TestStatusAndPauseThroughTheDoor(t *testing.T) {
	for _, address := range addresses() {
		m := newMachine()
		_, dir := openDoor(t, m, address)
		c, err := Find(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := c.Status(t.Context())
		if err != nil || s.Version != "v1" || len(s.Packages) != 1 {
			t.Fatalf("status: %+v, %v", s, err)
		}
		if _, err := c.Pause(t.Context(), "win11"); err != nil || m.changes() != 1 {
			t.Fatalf("pause: %v, %d changes", err, m.changes())
		}
		_, err = c.Pause(t.Context(), "nobody's")
		if p, ok := errors.AsType[*Problem](err); !ok || p.Status != http.StatusNotFound || !strings.Contains(p.Detail, "nobody's") {
			t.Errorf("pausing what is not there: %v", err)
		}
	}
}

func TestOriginIsTestedThroughTheDoor(t *testing.T) {
	for _, address := range addresses() {
		_, dir := openDoor(t, newMachine(), address)
		c, err := Find(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f, err := c.TestOrigin(t.Context(), OriginTest{Origin: "smb://fs/pkg", Milliseconds: 1})
		if err != nil || f.Origin != "smb://fs/pkg" || f.Error != "wrong" {
			t.Errorf("an origin in which something is wrong: %+v, %v", f, err)
		}
		for status, wrong := range map[int]OriginTest{http.StatusBadRequest: {Origin: "x"}, http.StatusServiceUnavailable: {Origin: "busy", Milliseconds: 1}} {
			_, err := c.TestOrigin(t.Context(), wrong)
			if p, ok := errors.AsType[*Problem](err); !ok || p.Status != status {
				t.Errorf("%+v: %v, want %d", wrong, err, status)
			}
		}
		// Whoever leaves ends the test.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.TestOrigin(ctx, OriginTest{Origin: "hangs", Milliseconds: 1}); err == nil {
			t.Error("a test that was left brought something")
		}
	}
}

// TestNobodyElseReachesTheDoor: another user of the machine must find neither the socket nor the token.
func TestNobodyElseReachesTheDoor(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no mode bits: the folder's access list decides")
	}
	for _, address := range addresses() {
		_, dir := openDoor(t, newMachine(), address)
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the folder: %v, %v", info.Mode(), err)
		}
		list, err := os.ReadDir(dir)
		if err != nil || len(list) == 0 {
			t.Fatalf("the folder holds %v, %v", list, err)
		}
		for _, e := range list {
			if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
			}
		}
	}
}

// TestFolderLeftOpen: what somebody prepared for others to enter is closed to them before the door opens.
func TestFolderLeftOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no mode bits: the folder's access list decides")
	}
	dir := shortDir(t)
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	d, err := Open(Options{Dir: dir, Machine: newMachine()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestOnlyLoopback(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:80", "localhost:80", "[::]:0", "127.0.0.1", "nonsense"} {
		if d, err := Open(Options{Dir: shortDir(t), Address: address, Machine: newMachine()}); err == nil {
			d.Close()
			t.Errorf("%s was opened", address)
		}
	}
}

func TestNoAgentIsSaid(t *testing.T) {
	dir := shortDir(t)
	if _, err := Find(dir); !errors.Is(err, ErrNoAgent) {
		t.Errorf("no folder: %v", err)
	}
	// A killed agent leaves its socket, or the files of its port.
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for name, text := range map[string]string{addressName: l.Addr().String(), tokenName: "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoAgent) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestSocketOfAKilledAgentIsNotInTheWay(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the door is a port on Windows")
	}
	dir := shortDir(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, socketName)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		t.Fatal("nothing was left to be in the way")
	}
	d, err := Open(Options{Dir: dir, Machine: newMachine()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	go d.Serve(t.Context())
	// And a living one keeps its door.
	if _, err := Open(Options{Dir: dir, Machine: newMachine()}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second agent: %v", err)
	}
}

func TestEventsArriveAndGoOnWhereTheyStopped(t *testing.T) {
	for _, address := range addresses() {
		m := newMachine()
		m.happen("before")
		_, dir := openDoor(t, m, address)
		c, err := Find(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var got []string
		want := []string{"before", "during", "after"}
		after := uint64(0)
		for len(got) < len(want) { // each stream is broken off after two events
			broken := errors.New("enough")
			err := c.Follow(t.Context(), &after, func(e Event) error {
				got = append(got, e.Text)
				if e.Text == "before" {
					m.happen("during")
				}
				if e.Text == "during" {
					m.happen("after")
					return broken
				}
				if e.Text == "after" {
					return broken
				}
				return nil
			})
			if !errors.Is(err, broken) {
				t.Fatalf("after %q: %v", got, err)
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestClosingEndsStreams: an agent that stops must not wait for those who listen.
func TestClosingEndsStreams(t *testing.T) {
	dir := shortDir(t)
	d, err := Open(Options{Dir: dir, Address: anyPort, Machine: newMachine()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(ctx) }()
	res := get(t, d, "/v1/events")
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := io.ReadAll(lines); err != nil {
		t.Errorf("the stream was cut off rather than ended: %v", err)
	}
}

// get asks with the token and reads nothing of the answer.
func get(t *testing.T, d *Door, path string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+d.place.where+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.place.token)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestWireIsJSON(t *testing.T) {
	d, _ := openDoor(t, newMachine(), anyPort)
	res := get(t, d, "/v1/status")
	defer res.Body.Close()
	var v map[string]any
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil || v["version"] != "v1" {
		t.Errorf("%v, %v", v, err)
	}
	if res.Header.Get("Content-Type") != "application/json" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers: %v", res.Header)
	}
}

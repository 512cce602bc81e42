package smborigin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"handout/sources"
	"handout/sources/sourcetest"
)

// noise is n bytes that are the same each time.
func noise(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(p)
	return p
}

// counter dials, and counts how many connections there were, and how many at once.
type counter struct{ now, most, all atomic.Int32 }

func (c *counter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.all.Add(1)
	if n := c.now.Add(1); n > c.most.Load() {
		c.most.Store(n)
	}
	return &counted{Conn: conn, c: c}, nil
}

type counted struct {
	net.Conn
	c    *counter
	once sync.Once
}

func (c *counted) Close() error {
	defer c.once.Do(func() { c.c.now.Add(-1) })
	return c.Conn.Close()
}

// patient asks again for as long as a server may need to come back.
func patient(o sources.Origin) sources.Origin {
	return sources.Retry(o, sources.RetryPolicy{Attempts: 40, First: 50 * time.Millisecond, Longest: 200 * time.Millisecond})
}

// soon does something while the test goes on, and is done with it before the test ends.
func soon(t *testing.T, do func() error) {
	done := make(chan error, 1)
	time.AfterFunc(300*time.Millisecond, func() { done <- do() })
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A password that is wrong is tried once: a room that tried it with every read would have the account locked.
func TestWrongPasswordIsTriedOnce(t *testing.T) {
	s, _ := serve(t, map[string][]byte{"a": {1}}, nil)
	var c counter
	o := open(t, s, Options{Credentials: Credentials{User: user, Password: "hunter2"}, Dial: c.dial})
	for range 5 {
		err := o.ReadRange(t.Context(), "a", 0, make([]byte, 1))
		if !errors.Is(err, sources.ErrDenied) || !strings.Contains(err.Error(), "does not know games with this password") || strings.Contains(err.Error(), "hunter2") {
			t.Fatal(err)
		}
	}
	if n := c.all.Load(); n != 1 {
		t.Errorf("%d logons", n)
	}
}

func TestDomainOfTheUser(t *testing.T) {
	s, _ := serve(t, map[string][]byte{"a": {1}}, nil)
	for _, location := range []string{"smb://HANDOUTLAB;games@" + s.Address + "/pkg", "smb://games@" + s.Address + "/pkg"} {
		o, err := Open(location, Options{Credentials: Credentials{Domain: "HANDOUTLAB", User: user, Password: password}})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		if err := o.ReadRange(t.Context(), "a", 0, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		if strings.Contains(o.String(), "games") {
			t.Errorf("shown as %s", o)
		}
	}
	if _, err := Open("smb://other@"+s.Address+"/pkg", known); err == nil {
		t.Error("games' password was taken for other")
	}
}

func TestGuestWhereNoneIsLetIn(t *testing.T) {
	s, _ := serve(t, map[string][]byte{"a": {1}}, func(s *sourcetest.Samba) { s.Share += "guest ok = no\n" })
	err := open(t, s, Options{}).ReadRange(t.Context(), "a", 0, make([]byte, 1))
	if !errors.Is(err, sources.ErrDenied) {
		t.Error(err)
	}
	if err := open(t, s, known).ReadRange(t.Context(), "a", 0, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// One file that we may not read is that file's matter, not the connection's.
func TestNoPermissionOnOneFile(t *testing.T) {
	s, root := serve(t, map[string][]byte{"open": {1}, "shut": {2}}, nil)
	if err := os.Chmod(filepath.Join(root, "shut"), 0); err != nil {
		t.Fatal(err)
	}
	var c counter
	options := known
	options.Dial = c.dial
	o := open(t, s, options)
	for range 3 {
		if err := o.ReadRange(t.Context(), "shut", 0, make([]byte, 1)); !errors.Is(err, sources.ErrDenied) {
			t.Error(err)
		}
		if err := o.ReadRange(t.Context(), "open", 0, make([]byte, 1)); err != nil {
			t.Error(err)
		}
	}
	if n := c.all.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestAFolderIsNoFile(t *testing.T) {
	s, _ := serve(t, map[string][]byte{"dir/a": {1}}, nil)
	o := open(t, s, known)
	for _, off := range []int64{0, 1} {
		if err := o.ReadRange(t.Context(), "dir", off, make([]byte, 1)); !errors.Is(err, errNotRegular) {
			t.Error(err)
		}
	}
	if err := o.ReadRange(t.Context(), "dir/a", 0, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// An admin closes the share and opens it again: a pause, not the end.
func TestShareVanishesAndReturns(t *testing.T) {
	want := noise(1000)
	s, root := serve(t, map[string][]byte{"a": want}, nil)
	o := open(t, s, known)
	read := func(o sources.Origin) error {
		p := make([]byte, len(want))
		err := o.ReadRange(t.Context(), "a", 0, p)
		if err == nil && !bytes.Equal(p, want) {
			t.Error("wrong bytes")
		}
		return err
	}
	if err := read(o); err != nil {
		t.Fatal(err)
	}
	s.Shares = map[string]string{"other": root}
	if err := errors.Join(s.Reload(), s.CloseShare("pkg")); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 250 { // the server's processes hear of it one by one
		if err = read(o); err != nil && strings.Contains(err.Error(), "no share pkg") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if _, again := sources.Retryable(err); !again {
		t.Fatalf("while the share is away: %v", err)
	}
	soon(t, func() error {
		s.Shares = map[string]string{"pkg": root}
		return s.Reload()
	})
	if err := read(patient(o)); err != nil {
		t.Errorf("after the share has come back: %v", err)
	}
}

// The server is restarted while a large file is read: the reader gets every byte once.
func TestServerRestartedMidRead(t *testing.T) {
	want := noise(64 << 20)
	s, _ := serve(t, map[string][]byte{"large": want}, nil)
	var c counter
	options := known
	options.Dial = c.dial
	o := patient(open(t, s, options))
	stream, err := sources.Stream(t.Context(), o, "large", 0, int64(len(want)))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(stream, got[:20<<20]); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	soon(t, s.Start)
	if _, err := io.ReadFull(stream, got[20<<20:]); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v, right bytes: %v", err, bytes.Equal(got, want))
	}
	if c.most.Load() != 1 || c.all.Load() < 2 {
		t.Errorf("%d connections, %d at once", c.all.Load(), c.most.Load())
	}
}

// A server that stops answering, as one whose disk sleeps or whose machine is paused, is given up after its time and
// read again when it answers.
func TestServerHangs(t *testing.T) {
	want := noise(8 << 20)
	s, _ := serve(t, map[string][]byte{"large": want, "a": {1}}, nil)
	var c counter
	options := known
	options.Dial, options.StallTimeout, options.LogonTimeout = c.dial, 300*time.Millisecond, 300*time.Millisecond
	o := open(t, s, options)
	if err := o.ReadRange(t.Context(), "a", 0, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer s.Signal(syscall.SIGCONT)
	begun := time.Now()
	var g sync.WaitGroup
	for range 8 {
		g.Go(func() {
			err := o.ReadRange(t.Context(), "large", 0, make([]byte, len(want)))
			if _, again := sources.Retryable(err); !again || !strings.Contains(err.Error(), "no answer for 300ms") {
				t.Error(err)
			}
		})
	}
	g.Wait()
	err := o.ReadRange(t.Context(), "a", 0, make([]byte, 1))
	if _, again := sources.Retryable(err); !again || !strings.Contains(err.Error(), "no logon within 300ms") {
		t.Error(err)
	}
	if took := time.Since(begun); took < 600*time.Millisecond || took > 2*time.Second {
		t.Errorf("two deadlines of 300ms took %v", took)
	}
	soon(t, func() error { return s.Signal(syscall.SIGCONT) })
	got := make([]byte, len(want))
	if err := patient(o).ReadRange(t.Context(), "large", 0, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after the server went on: %v, right bytes: %v", err, bytes.Equal(got, want))
	}
	if c.most.Load() != 1 {
		t.Errorf("%d connections at once", c.most.Load())
	}
}

// Who leaves doesn't wait for a server that hangs, and who closes doesn't either.
func TestLeavingAServerThatHangs(t *testing.T) {
	s, _ := serve(t, map[string][]byte{"large": noise(8 << 20)}, nil)
	o := open(t, s, known)
	read := func(ctx context.Context) error {
		return o.ReadRange(ctx, "large", 0, make([]byte, 8<<20))
	}
	if err := read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer s.Signal(syscall.SIGCONT)
	why := errors.New("why")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, why)
	defer cancel()
	begun := time.Now()
	if err := read(ctx); !errors.Is(err, why) || time.Since(begun) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
	time.AfterFunc(50*time.Millisecond, func() { o.Close() })
	begun = time.Now()
	if err := read(t.Context()); !errors.Is(err, sources.ErrClosed) || time.Since(begun) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

// A file that is another one than at first is told, in mid-package, before a whole piece of it is thrown away.
func TestFileReplaced(t *testing.T) {
	old := noise(1 << 20)
	s, root := serve(t, map[string][]byte{"a": old, "b": old, "c": old}, nil)
	o := open(t, s, known)
	part := make([]byte, 1000)
	for _, path := range []string{"a", "b", "c"} {
		if err := o.ReadRange(t.Context(), path, 5000, part); err != nil {
			t.Fatal(err)
		}
	}
	// Another of the same length takes its name.
	next := filepath.Join(root, "next")
	if err := os.WriteFile(next, noise(1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(root, "a")); err != nil {
		t.Fatal(err)
	}
	// It grows.
	if err := os.Truncate(filepath.Join(root, "b"), 2<<20); err != nil {
		t.Fatal(err)
	}
	// It is cut while it is open.
	if err := os.Truncate(filepath.Join(root, "c"), 100); err != nil {
		t.Fatal(err)
	}
	if err := o.ReadRange(t.Context(), "c", 5000, part); !errors.Is(err, sources.ErrChanged) {
		t.Errorf("cut: %v", err)
	}
	o.Close() // its handles are those of the old files
	for _, path := range []string{"a", "b"} {
		if err := o.ReadRange(t.Context(), path, 5000, part); !errors.Is(err, sources.ErrChanged) {
			t.Errorf("%s: %v", path, err)
		}
		if err := o.ReadRange(t.Context(), path, 5000, part); err != nil {
			t.Errorf("%s, told before: %v", path, err)
		}
	}
}

package site

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const echoing = "handout: echo 1"

// echo answers a line with the same line.
func echo(o Options) Options {
	o.Dialects = append(o.Dialects, Dialect{Greeting: echoing, Time: 20 * time.Second, AtOnce: 6, OfOneHost: 3,
		Serve: func(c Caller) error {
			line, err := bufio.NewReader(io.LimitReader(c, 100)).ReadString('\n')
			if err == nil {
				_, err = io.WriteString(c, line)
			}
			return err
		}})
	return o
}

func askEcho(t *testing.T, s *Site, name string, key []byte) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := Ask(ctx, s.at().String(), echoing, name, key)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "is anybody there?\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

func TestDialectIsSpokenWithThoseOfTheSite(t *testing.T) {
	key, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	for _, c := range []struct {
		what string
		of   Options
		name string
		key  []byte
		want error
	}{
		{"an open site", Options{}, "", nil, nil},
		{"the same key", Options{Key: key, Name: "lab"}, "lab", key, nil},
		{"another name", Options{Name: "lab"}, "room", nil, ErrOtherSite},
		{"no key here", Options{Key: key}, "", nil, ErrSiteKey},
		{"no key there", Options{}, "", key, ErrSiteKey},
		{"another key", Options{Key: key}, "", other, ErrSiteKey},
	} {
		s := newSite(t, echo(c.of))
		got, err := askEcho(t, s, c.name, c.key)
		switch {
		case c.want == nil && (err != nil || got != "is anybody there?\n"):
			t.Errorf("%s: %q, %v", c.what, got, err)
		case c.want != nil && !errors.Is(err, c.want):
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
	s := newSite(t, Options{})
	if _, err := askEcho(t, s, "", nil); !errors.Is(err, ErrNotSpoken) {
		t.Errorf("a question that is not known: %v", err)
	}
}

// Whoever has no key says nothing to a site that has one, whatever he says instead of a handshake.
func TestNobodyPassesTheSiteKeyBy(t *testing.T) {
	served := make(chan struct{}, 1)
	s := newSite(t, Options{Key: bytes.Repeat([]byte{1}, 32), Dialects: []Dialect{{
		Greeting: echoing, Time: time.Second, AtOnce: 4, OfOneHost: 4,
		Serve: func(Caller) error { served <- struct{}{}; return nil },
	}}})
	for _, say := range []string{"hello\n", "\x16\x03\x01\x00\x05hello", strings.Repeat("x", 1<<16), ""} {
		c, err := net.Dial("tcp", s.at().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "%s\n%s", echoing, say)
		c.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(io.LimitReader(c, 4096)); err == nil && bytes.Contains(b, []byte("hello")) {
			t.Errorf("%.20q is answered: %q", say, b)
		}
		c.Close()
	}
	select {
	case <-served:
		t.Error("somebody without the key was served")
	default:
	}
}

// Slow callers take a host's share, not the door; and they don't keep the site from being left.
func TestManySlowCallersAreBounded(t *testing.T) {
	s := newSite(t, echo(Options{}))
	for range 3 {
		c, err := Ask(t.Context(), s.at().String(), echoing, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for range 20 {
		if _, err := askEcho(t, s, "", nil); !errors.Is(err, ErrBusy) {
			t.Fatalf("one host more than it may: %v", err)
		}
	}
	var mute []net.Conn
	for range maxUnsortedOfOneHost + 50 {
		c, err := net.Dial("tcp", s.at().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		mute = append(mute, c)
	}
	refused := 0
	for _, c := range mute {
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			refused++
		}
	}
	if refused < 50 {
		t.Errorf("%d of %d callers that say nothing were sent away, want 50 at least", refused, len(mute))
	}
	began := time.Now()
	s.Close()
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("to leave took %v", d)
	}
}

// An exchange ends when its time is over, whoever is slow.
func TestDialectHasItsTime(t *testing.T) {
	done := make(chan error, 1)
	s := newSite(t, Options{Dialects: []Dialect{{Greeting: echoing, Time: 300 * time.Millisecond, AtOnce: 1, OfOneHost: 1,
		Serve: func(c Caller) error {
			_, err := io.ReadAll(c)
			done <- err
			return err
		}}}})
	c, err := Ask(t.Context(), s.at().String(), echoing, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case err := <-done:
		if err == nil {
			t.Error("the caller hung up by itself")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a caller that says nothing is served for ever")
	}
}

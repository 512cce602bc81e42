package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// raw sends text over a connection of its own and returns the answer.
func raw(t *testing.T, d *Door, text string) *http.Response {
	t.Helper()
	c := dialDoor(t, d)
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%.60q: no answer: %v", text, err)
	}
	return res
}

func dialDoor(t *testing.T, d *Door) net.Conn {
	t.Helper()
	c, err := net.Dial(d.place.listener.Addr().Network(), d.place.where)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRefusedAtTheDoor is the list of requests that must change nothing and be told why.
func TestRefusedAtTheDoor(t *testing.T) {
	m := newMachine()
	d, _ := openDoor(t, m, anyPort)
	host := d.place.where
	token := "Authorization: Bearer " + d.place.token + "\r\n"
	body := func(text string) string {
		return fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}
	post := func(headers, text string) string {
		return "POST /v1/pause HTTP/1.1\r\nHost: " + host + "\r\n" + token + headers + body(text)
	}
	for _, c := range []struct {
		threat, request string
		status          int
	}{
		{"no token", "GET /v1/status HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 401},
		{"a guessed token", "GET /v1/status HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer AAAA\r\n\r\n", 401},
		{"the token as a password", "GET /v1/status HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Basic " + d.place.token + "\r\n\r\n", 401},
		{"DNS rebinding: the page's own name leads to us", "GET /v1/status HTTP/1.1\r\nHost: evil.example\r\n" + token + "\r\n", 421},
		{"DNS rebinding with our port", "GET /v1/status HTTP/1.1\r\nHost: evil.example:" + host[strings.LastIndex(host, ":")+1:] + "\r\n" + token + "\r\n", 421},
		{"an absolute URL names the host", "GET http://evil.example/v1/status HTTP/1.1\r\nHost: " + host + "\r\n" + token + "\r\n", 421},
		{"another port of this machine", "GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:1\r\n" + token + "\r\n", 421},
		{"CSRF: a page of another site", post("Origin: http://evil.example\r\n", `{}`), 403},
		{"CSRF: a page without an origin", post("Origin: null\r\n", `{}`), 403},
		{"CSRF: a page on another port of localhost", post("Origin: http://127.0.0.1:8080\r\n", `{}`), 403},
		{"CSRF: a browser says so", post("Sec-Fetch-Site: cross-site\r\n", `{}`), 403},
		{"CSRF: a form", "POST /v1/pause HTTP/1.1\r\nHost: " + host + "\r\n" + token +
			"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 415},
		{"CSRF: a form with no type", "POST /v1/pause HTTP/1.1\r\nHost: " + host + "\r\n" + token + "Content-Length: 2\r\n\r\n{}", 415},
		{"a change by GET", "GET /v1/pause HTTP/1.1\r\nHost: " + host + "\r\n" + token + "\r\n", 405},
		{"a change by a made-up method", "PAUSE /v1/pause HTTP/1.1\r\nHost: " + host + "\r\n" + token + "\r\n", 405},
		{"a method smuggled in a header", "GET /v1/pause HTTP/1.1\r\nHost: " + host + "\r\n" + token + "X-HTTP-Method-Override: POST\r\n\r\n", 405},
		{"DELETE of what can only be read", "DELETE /v1/status HTTP/1.1\r\nHost: " + host + "\r\n" + token + "\r\n", 405},
		{"a path that climbs", "GET /v1/../../etc/passwd HTTP/1.1\r\nHost: " + host + "\r\n" + token + "\r\n", 404},
		{"nothing there", "GET /admin HTTP/1.1\r\nHost: " + host + "\r\n" + token + "\r\n", 404},
		{"no JSON", post("", `pause`), 400},
		{"half of it", post("", `{"package":`), 400},
		{"two values", post("", `{} {}`), 400},
		{"something after it", post("", `{}]`), 400},
		{"another type", post("", `["win11"]`), 400},
		{"a field nobody knows", post("", `{"packet":"win11"}`), 400},
		{"nothing at all", post("", ``), 400},
		{"a body too large", post("", `{"package":"`+strings.Repeat("x", maxBody)+`"}`), 413},
		{"a body too large that says it is JSON", post("", strings.Repeat("[", maxBody+1)), 400},
		{"a body without an end", "POST /v1/pause HTTP/1.1\r\nHost: " + host + "\r\n" + token +
			"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n\"" + strings.Repeat("x", 0x1ffff) + "\r\n", 413},
		{"a package nobody has", post("", `{"package":"\u001b[2J"}`), 404},
		{"a position that is no number", "GET /v1/events?after=-1 HTTP/1.1\r\nHost: " + host + "\r\n" + token + "\r\n", 400},
	} {
		res := raw(t, d, c.request)
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Errorf("%s: %v", c.threat, err)
		}
		if res.StatusCode != c.status {
			t.Errorf("%s: %d, want %d: %s", c.threat, res.StatusCode, c.status, text)
			continue
		}
		var p Problem
		if err := json.Unmarshal(text, &p); err != nil || p.Status != c.status || p.Title == "" || p.Type != "about:blank" ||
			res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: no problem document: %s %s", c.threat, res.Header.Get("Content-Type"), text)
		}
		if bytes.ContainsAny(text, "\x1b") {
			t.Errorf("%s: a control character comes back: %q", c.threat, text)
		}
	}
	if n := m.changes(); n != 0 {
		t.Errorf("%d requests changed something", n)
	}
}

// TestHeadersWithoutEnd: headers are small.
func TestHeadersWithoutEnd(t *testing.T) {
	d, _ := openDoor(t, newMachine(), anyPort)
	res := raw(t, d, "GET /v1/status HTTP/1.1\r\nHost: "+d.place.where+"\r\nX: "+strings.Repeat("x", 4*maxHeader)+"\r\n\r\n")
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d", res.StatusCode)
	}
}

// TestSlowClientsAreCutOff: who sends a byte now and then, or takes none, holds a connection for some seconds at most.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel() // it waits for some ten seconds
	d, _ := openDoor(t, newMachine(), anyPort)
	head := "POST /v1/pause HTTP/1.1\r\nHost: " + d.place.where + "\r\nAuthorization: Bearer " + d.place.token +
		"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
	var wait sync.WaitGroup
	for name, begin := range map[string]string{
		"says nothing":      "",
		"stops in headers":  "GET /v1/status HTTP/1.1\r\nHost:",
		"stops in the body": head + "{",
		"asks for no more":  "GET /v1/status HTTP/1.1\r\nHost: " + d.place.where + "\r\nAuthorization: Bearer " + d.place.token + "\r\n\r\n",
	} {
		c := dialDoor(t, d)
		io.WriteString(c, begin)
		c.SetReadDeadline(time.Now().Add(2 * time.Minute))
		wait.Go(func() {
			defer c.Close()
			if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a client that %s is still there after two minutes", name)
			}
		})
	}
	wait.Wait()
}

// TestManyClients: one that opens every connection it can does not grow the agent, and when it goes others come in.
func TestManyClients(t *testing.T) {
	for _, address := range addresses() {
		d, dir := openDoor(t, newMachine(), address)
		var held []net.Conn
		for range 3 * maxConns {
			c, err := net.Dial(d.place.listener.Addr().Network(), d.place.where)
			if err != nil {
				break
			}
			held = append(held, c)
		}
		f := d.place.listener.(*few)
		f.mu.Lock()
		if f.all > maxConnsEach {
			t.Errorf("%d connections from one address", f.all)
		}
		f.mu.Unlock()
		for _, c := range held {
			c.Close()
		}
		c, err := Find(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for end := time.Now().Add(30 * time.Second); ; {
			if _, err = c.Status(t.Context()); err == nil || time.Now().After(end) {
				break
			}
		}
		if err != nil {
			t.Errorf("after they left: %v", err)
		}
	}
}

// TestManyRequestsOfOneConnection: who asks without a pause is told to wait.
func TestManyRequestsOfOneConnection(t *testing.T) {
	_, dir := openDoor(t, newMachine(), anyPort)
	c, err := Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 100 * requestsBurst {
		if _, err = c.Status(t.Context()); err != nil {
			break
		}
	}
	if p, ok := errors.AsType[*Problem](err); !ok || p.Status != http.StatusTooManyRequests {
		t.Errorf("never told to wait: %v", err)
	}
}

// TestManyStreams: streams are few, and one that ends makes room.
func TestManyStreams(t *testing.T) {
	d, _ := openDoor(t, newMachine(), anyPort)
	var open []*http.Response
	for range maxStreams {
		res := get(t, d, "/v1/events")
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("stream %d: %d", len(open), res.StatusCode)
		}
		open = append(open, res)
	}
	res := get(t, d, "/v1/events")
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more stream: %d", res.StatusCode)
	}
	open[0].Body.Close()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		res = get(t, d, "/v1/events")
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return
		}
	}
	t.Error("a stream that ended made no room")
}

// FuzzBody: whatever a body holds, it is refused or read as one value, and says so.
func FuzzBody(f *testing.F) {
	for _, s := range []string{`{}`, `{"package":"win11"}`, `{"package":1}`, `[[[[`, `{} {}`, "\xff", `{"package":"\ud800"}`, `null`, `{"PACKAGE":"x"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var p PauseRequest
		if decode(bytes.NewReader(body), &p) != nil {
			return
		}
		if !json.Valid(body) {
			t.Errorf("%q was read as %+v", body, p)
		}
	})
}

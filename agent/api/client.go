package api

import (
	"bufio"
	"bytes"
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
	"strings"
	"syscall"
	"time"
)

// ErrNoAgent: no agent answers at the door.
var ErrNoAgent = errors.New("no agent runs here")

const (
	// askTime is how long the agent may take to answer, beyond a stream of events.
	askTime   = 20 * time.Second
	maxAnswer = 16 << 20
	maxEvent  = 64 << 10
)

// Client asks the agent of this machine. Its methods are safe for concurrent use. Errors to ask for: ErrNoAgent,
// fs.ErrPermission, *Problem.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// Find finds the door whose folder is dir. The agent need not answer.
func Find(dir string) (*Client, error) {
	address, err := os.ReadFile(filepath.Join(dir, addressName))
	if err == nil {
		token, err := os.ReadFile(filepath.Join(dir, tokenName))
		if err != nil {
			return nil, fmt.Errorf("read the token of the agent's door: %w", err)
		}
		return &Client{
			base: "http://" + strings.TrimSpace(string(address)), token: strings.TrimSpace(string(token)),
			http: &http.Client{Transport: &http.Transport{Proxy: nil}},
		}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for the agent's door: %w", err)
	}
	path := filepath.Join(dir, socketName)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: neither %s nor %s is there", ErrNoAgent, path, addressName)
	} else if err != nil {
		return nil, fmt.Errorf("look for the agent's door: %w", err)
	}
	return &Client{base: "http://handout", http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks how the machine is.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.ask(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Survey asks how every machine of the site is.
func (c *Client) Survey(ctx context.Context) (s SiteStatus, err error) {
	return s, c.ask(ctx, http.MethodGet, "/v1/site", nil, &s)
}

// Pause stops a package, or all ("").
func (c *Client) Pause(ctx context.Context, pkg string) (s Status, err error) {
	return s, c.ask(ctx, http.MethodPost, "/v1/pause", PauseRequest{pkg}, &s)
}

// Resume ends what Pause did.
func (c *Client) Resume(ctx context.Context, pkg string) (s Status, err error) {
	return s, c.ask(ctx, http.MethodPost, "/v1/resume", PauseRequest{pkg}, &s)
}

// TestOrigin has the agent test an origin.
func (c *Client) TestOrigin(ctx context.Context, t OriginTest) (f OriginFindings, err error) {
	ctx, cancel := context.WithTimeout(ctx, testTime+askTime)
	defer cancel()
	return f, c.exchange(ctx, http.MethodPost, "/v1/origin/test", t, &f)
}

// Limit changes the limits.
func (c *Client) Limit(ctx context.Context, l LimitsRequest) (s Status, err error) {
	return s, c.ask(ctx, http.MethodPost, "/v1/limits", l, &s)
}

// Prioritise changes the priority of a package.
func (c *Client) Prioritise(ctx context.Context, pkg string, p Priority) (s Status, err error) {
	return s, c.ask(ctx, http.MethodPost, "/v1/priority", PriorityRequest{pkg, p}, &s)
}

// ask is an exchange that the agent ends at once.
func (c *Client) ask(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return c.exchange(ctx, method, path, in, out)
}

// exchange sends in, nil: nothing, and reads the answer into out.
func (c *Client) exchange(ctx context.Context, method, path string, in, out any) error {
	res, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}

// send returns an answer that is not a problem; the caller closes its body.
func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if isRefused(err) {
		return nil, fmt.Errorf("%w: %w", ErrNoAgent, err)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		p := &Problem{Status: res.StatusCode, Title: http.StatusText(res.StatusCode)}
		json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(p) // without it the status says enough
		return nil, p
	}
	return res, nil
}

// wsaeconnrefused is what Windows calls ECONNREFUSED.
const wsaeconnrefused = syscall.Errno(10061)

// isRefused reports whether nobody listens where an agent once did.
func isRefused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, wsaeconnrefused) || errors.Is(err, fs.ErrNotExist)
}

// Error implements error.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return "the agent refuses: " + p.Title
	}
	return "the agent refuses: " + p.Detail
}

// Follow calls each with every event after the one numbered *after, as it happens, and keeps *after up to date. It
// returns each's error, or that of the connection; called again it goes on where it was.
func (c *Client) Follow(ctx context.Context, after *uint64, each func(Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Nothing for so long, not even a sign of life, and the agent is gone or stuck.
	silence := time.AfterFunc(3*stillThere, cancel)
	defer silence.Stop()
	res, err := c.send(ctx, http.MethodGet, fmt.Sprintf("/v1/events?after=%d", *after), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		silence.Reset(3 * stillThere)
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		*after = e.Seq
		if err := each(e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("follow the agent's events: %w", err)
	}
	return io.ErrUnexpectedEOF // the agent has closed its door
}

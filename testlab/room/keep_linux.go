package room

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"handout/testlab/nginx"
)

// keep has what a fetch on host i says kept, where that is wanted: its log, by one flag more, and its events.
func (r *Room) keep(i int, flags []string) (io.WriteCloser, []string, error) {
	if r.options.Keep == "" {
		return nowhere{io.Discard}, flags, nil
	}
	if err := os.MkdirAll(r.options.Keep, 0o755); err != nil {
		return nil, nil, err
	}
	name := filepath.Join(r.options.Keep, r.Lab.Hosts[i].Name)
	events, err := os.Create(name + ".events")
	if err != nil {
		return nil, nil, err
	}
	return &timed{to: events, since: r.began}, append(flags, "--log", name+".log"), nil
}

type nowhere struct{ io.Writer }

func (nowhere) Close() error { return nil }

// timed writes lines, each behind the seconds since.
type timed struct {
	to    io.WriteCloser
	since time.Time
	part  []byte // of a line that has not ended
}

func (t *timed) Write(p []byte) (int, error) {
	t.part = append(t.part, p...)
	for {
		line, rest, whole := bytes.Cut(t.part, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		if _, err := fmt.Fprintf(t.to, "%.2f %s\n", time.Since(t.since).Seconds(), line); err != nil {
			return 0, err
		}
		t.part = rest
	}
}

func (t *timed) Close() error { return t.to.Close() }

// keepRequests keeps what the origin was asked for, a line for each request: from when to when, by whom, on which connection,
// how many bytes of what.
func (r *Room) keepRequests(all []nginx.Request) error {
	if r.options.Keep == "" {
		return nil
	}
	names := map[netip.Addr]string{}
	for _, h := range r.Lab.Hosts {
		names[h.Addr] = h.Name
	}
	var b bytes.Buffer
	for _, q := range all {
		fmt.Fprintf(&b, "%.3f %.3f %s %d %d %d %s %s\n", q.Start.Sub(r.began).Seconds(), q.End.Sub(r.began).Seconds(), names[q.Client], q.Conn,
			q.Status, q.BodyBytes, q.URI, q.Range)
	}
	return os.WriteFile(filepath.Join(r.options.Keep, "origin.log"), b.Bytes(), 0o644)
}

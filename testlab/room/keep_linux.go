package room

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
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

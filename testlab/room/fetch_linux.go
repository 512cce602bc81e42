package room

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"handout/testlab/cli"
	"handout/testlab/lab"
)

// Fetch is a handout process that fetches the room's package on one host.
type Fetch struct {
	Process *lab.Process
	Host    *lab.Machine

	ready  chan struct{} // closed when all output was read
	stderr bytes.Buffer  // complete when the process has ended

	mu        sync.Mutex
	last      cli.Event
	published time.Time
	badOutput error
	changed   chan struct{} // closed and replaced with every event
}

// Fetch starts a fetch on host i (from 0) with more flags.
func (r *Room) Fetch(ctx context.Context, i int, flags ...string) (*Fetch, error) {
	dest := r.Dest(i)
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return nil, err
	}
	said, flags, err := r.keep(i, flags)
	if err != nil {
		return nil, err
	}
	f, err := startFetch(r.Lab.Hosts[i], r.options.Program.Fetch(ctx, r.Package, dest, flags...), dest, said)
	if err != nil {
		said.Close()
	}
	return f, err
}

// StartFetch starts a fetch on a machine that is in no Room, to a destination whose folder is there.
func StartFetch(ctx context.Context, on *lab.Machine, p cli.Program, pkg cli.Package, dest string, flags ...string) (*Fetch, error) {
	return startFetch(on, p.Fetch(ctx, pkg, dest, flags...), dest, nowhere{io.Discard})
}

// startFetch starts cmd, whose every line goes to said as well, which is closed at its end.
func startFetch(on *lab.Machine, cmd *exec.Cmd, dest string, said io.WriteCloser) (*Fetch, error) {
	cmd.Dir = filepath.Dir(dest)
	f := &Fetch{Host: on, ready: make(chan struct{}), changed: make(chan struct{})}
	cmd.Stderr = &f.stderr
	// A pipe of our own: exec's would be closed by the wait, with the last lines unread.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = write
	f.Process, err = f.Host.Start(cmd)
	write.Close()
	if err != nil {
		read.Close()
		return nil, err
	}
	go func() {
		defer close(f.ready)
		defer read.Close()
		defer said.Close()
		err := cli.ReadEvents(io.TeeReader(read, said), func(e cli.Event) { f.note(e, dest) })
		f.mu.Lock()
		f.badOutput = err
		f.mu.Unlock()
	}()
	return f, nil
}

func (f *Fetch) note(e cli.Event, dest string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = e
	// Believed only if it is so.
	if _, err := os.Lstat(dest); e.Kind == "published" && err == nil {
		f.published = time.Now()
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// Last is the newest event.
func (f *Fetch) Last() cli.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// PublishedAt is when the tree was seen to stand.
func (f *Fetch) PublishedAt() (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.published, !f.published.IsZero()
}

// Until waits until an event fulfils the condition, or reports why none will.
func (f *Fetch) Until(ctx context.Context, what string, condition func(cli.Event) bool) error {
	for {
		f.mu.Lock()
		last, changed := f.last, f.changed
		f.mu.Unlock()
		if condition(last) {
			return nil
		}
		select {
		case <-changed:
		case <-f.ready:
			if condition(f.Last()) {
				return nil
			}
			f.Process.Wait()
			return fmt.Errorf("%s ended before %s: %+v, stderr: %s", f.Host.Name, what, f.Last(), &f.stderr)
		case <-ctx.Done():
			return fmt.Errorf("%s: wait for %s: %w; last heard %+v", f.Host.Name, what, context.Cause(ctx), f.Last())
		}
	}
}

// Published waits until the tree stands; the process may go on for its neighbours' sake.
func (f *Fetch) Published(ctx context.Context) error {
	return f.Until(ctx, "its tree stood", func(cli.Event) bool { _, ok := f.PublishedAt(); return ok })
}

// Wait waits for the end of the process and returns its last event. It is an error if the process failed, printed
// anything but events, or said another exit code than it gave.
func (f *Fetch) Wait(ctx context.Context) (cli.Event, error) {
	select {
	case <-f.Process.Done():
	case <-ctx.Done():
		return f.Last(), fmt.Errorf("%s: wait for the end: %w; last heard %+v", f.Host.Name, context.Cause(ctx), f.Last())
	}
	<-f.ready
	last := f.Last()
	f.mu.Lock()
	bad := f.badOutput
	f.mu.Unlock()
	if err := f.Process.Wait(); err != nil {
		return last, fmt.Errorf("%s: %w; last said %+v, stderr: %s", f.Host.Name, err, last, &f.stderr)
	}
	if bad != nil {
		return last, fmt.Errorf("%s: %w", f.Host.Name, bad)
	}
	if last.Kind != "done" || last.Exit != 0 {
		return last, fmt.Errorf("%s ended well but last said %+v", f.Host.Name, last)
	}
	return last, nil
}

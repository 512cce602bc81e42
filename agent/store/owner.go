package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"
)

// ownerName is, in the landing of a tree that grows elsewhere, the file that says who copies to it: "ID beat HOST". Locks
// don't reach other machines on many network mounts, clocks differ, and machines die; so the owner counts the beat up as
// long as it lives, and whoever sees no beat for a while takes over. This is courtesy: it spares the way to two copies at
// once. Nothing depends on it, as every machine copies to a folder of its own.
const ownerName = "owner"

const (
	// beatEvery is how often an owner shows that it lives.
	beatEvery = 5 * time.Second
	// silentBeats are those after which an owner is dead. sshfs believes what it knows of a file for 20 s, NFS for up to 60.
	silentBeats = 18
	// namelessBeats are those after which an owner is dead that did not come to write its name.
	namelessBeats = 6
)

// ownership is held by who copies to a landing, until release.
type ownership struct {
	l    *landing
	id   string
	stop chan struct{}
	done chan struct{}
}

// claim waits until no other machine copies to the landing. id says who claims: the same after a crash, so that a machine
// need not wait for itself.
func (l *landing) claim(ctx context.Context, id string, beat time.Duration, log *slog.Logger) (*ownership, error) {
	var seen []byte
	var since time.Time
	said := false
	for {
		o, err := l.tryClaim(id, beat)
		if o != nil || err != nil {
			return o, err
		}
		now, err := l.root.ReadFile(ownerName)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // given up just now; if the landing went too, the next try says so
		case err != nil:
			return nil, explain(err, "read", l.path(ownerName))
		case seen == nil || !bytes.Equal(now, seen):
			seen, since = now, time.Now()
		case time.Since(since) > patience(now)*beat:
			if err := l.root.Remove(ownerName); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, explain(err, "remove", l.path(ownerName))
			}
			seen = nil
			continue
		}
		if !said {
			log.Warn("another machine is copying to the same destination, or died while it was: waiting for it",
				"dest", l.dest(), "machine", hostOf(now))
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s, which copies to %s too: %w", hostOf(now), l.dest(), context.Cause(ctx))
		case <-time.After(beat):
		}
	}
}

// patience is how many beats to wait for an owner of which the file says so.
func patience(text []byte) time.Duration {
	if len(text) == 0 {
		return namelessBeats
	}
	return silentBeats
}

// tryClaim returns nil if somebody else is the owner.
func (l *landing) tryClaim(id string, beat time.Duration) (*ownership, error) {
	o := &ownership{l: l, id: id, stop: make(chan struct{}), done: make(chan struct{})}
	f, err := l.root.OpenFile(ownerName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if !o.holds() {
			return nil, nil
		}
		f, err = l.root.OpenFile(ownerName, os.O_WRONLY, 0)
	}
	if err == nil {
		_, err = f.Write(o.text(0))
		if err = errors.Join(err, f.Close()); err != nil {
			l.root.Remove(ownerName) // or everybody, this machine too, would wait for whom it does not name
		}
	}
	if err != nil {
		return nil, explain(err, "write", l.path(ownerName))
	}
	go o.live(beat)
	return o, nil
}

// text always has the same length, so that writing it over an older one leaves nothing of that.
func (o *ownership) text(beat uint64) []byte {
	host, _ := os.Hostname()
	return fmt.Appendf(nil, "%s %016x %s\n", o.id, beat, host)
}

func hostOf(text []byte) string {
	if f := strings.Fields(string(text)); len(f) > 2 {
		return f[2]
	}
	return "unknown"
}

// holds reports whether the file says that we are the owner.
func (o *ownership) holds() bool {
	text, err := o.l.root.ReadFile(ownerName)
	return err == nil && strings.HasPrefix(string(text), o.id+" ")
}

// live beats until it is stopped or somebody else has taken over.
func (o *ownership) live(every time.Duration) {
	defer close(o.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for beat := uint64(1); ; beat++ {
		select {
		case <-o.stop:
			return
		case <-tick.C:
		}
		if !o.holds() {
			continue // taken over, or the mount is away for a while
		}
		if f, err := o.l.root.OpenFile(ownerName, os.O_WRONLY, 0); err == nil {
			f.Write(o.text(beat))
			f.Close()
		}
	}
}

func (o *ownership) stopBeating() {
	close(o.stop)
	<-o.done
}

// release gives the landing up to others.
func (o *ownership) release() error {
	o.stopBeating()
	if !o.holds() {
		return nil
	}
	err := o.l.root.Remove(ownerName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return explain(err, "remove", o.l.path(ownerName))
}

// dropVisitors removes from a landing that is a staging folder too what was copied there from elsewhere, once whoever did
// has ended.
func (l *landing) dropVisitors(ctx context.Context, o Options) error {
	if visited, err := exists(l.root, ownerName); !visited || err != nil {
		return explain(err, "look at", l.path(ownerName))
	}
	owner, err := l.claim(ctx, newToken(), o.beat, o.Log)
	if err != nil {
		return err
	}
	return errors.Join(l.clearArrivals(""), owner.release())
}

// newToken tells one machine's staging folder from all others.
func newToken() string {
	var b [8]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x", b)
}

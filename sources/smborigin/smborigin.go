// Package smborigin reads packages from SMB shares (MS-SMB2): Windows, Samba and what else speaks 2.0.2 to 3.1.1.
//
// One Origin is one TCP connection with one session on it. Reads share it: requests run ahead of their answers, so that
// the tree of small files costs round trips side by side and not one after the other. The protocol is go-smb2's; what it
// leaves to others is here: deadlines, reconnecting, what an answer means for the reader, and which handles stay open.
//
// A context of a caller never reaches go-smb2: a request that is cancelled while it is being sent would spoil those of
// others on the same connection. A caller who leaves waits for the answer a moment; then the connection is given up.
//
// On Windows a UNC path is for the system's own client instead (sources/origin decides).
package smborigin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"handout/sources"
	"handout/sources/dial"
	"handout/sources/internal/seen"
)

// Options say who we are on a server and how long to bear with it. The zero value is a guest's.
type Options struct {
	Credentials Credentials

	ConnectTimeout time.Duration // to dial; 0: 10 s
	LogonTimeout   time.Duration // to log on and find the share, for which a server may have to ask others; 0: 30 s
	StallTimeout   time.Duration // an answer is due and not a byte arrives; 0: 15 s

	// Dial opens the connection; nil: by a dial.Dialer of its own.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	observe *observer // nil: nobody listens in
}

const (
	// maxAttempts bounds how often one read goes on by itself after a connection that had worked broke.
	maxAttempts = 3
	// logonPause is for how long a refused logon is not tried again: servers lock accounts after a few wrong passwords.
	logonPause = 10 * time.Minute
)

// Origin is a tree or a file on a share, and at most one connection. It implements sources.Origin and sources.Streamer.
type Origin struct {
	at   Location
	o    Options
	name string

	mu      sync.Mutex
	link    *link    // nil: no connection
	dialing *dialing // nil: none is being made
	closes  int      // how often Close was called
	refused refusal
	guest   time.Time  // until then we are one, as our optional credentials came to nothing here
	seen    seen.Files // what files were when they were first opened, by path
}

// refusal is why the server did not let us in.
type refusal struct {
	err   error // nil: it did, or was not asked
	until time.Time
}

// dialing is a connection being made, for all who wait for it.
type dialing struct {
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when link and err are settled
	link   *link
	err    error
}

// Open prepares to read from the tree, or the one file, at location: smb://[domain;][user@]server[:port]/share/path or
// \\server\share\path. It does not connect: that is left to the first read, and happens again whenever the connection
// is gone. A user in location must be the one of the credentials; without any, only a guest of that name gets in.
func Open(location string, o Options) (*Origin, error) {
	at, err := Parse(location)
	if err != nil {
		return nil, err
	}
	if at.User != "" {
		if o.Credentials.Guest() {
			o.Credentials = Credentials{Domain: at.Domain, User: at.User, unproven: !strings.EqualFold(at.User, "guest")}
		} else if !o.Credentials.are(at.Domain, at.User) {
			return nil, fmt.Errorf("origin %s: its user is not the one whose credentials are at hand", at)
		}
	}
	setDefault(&o.ConnectTimeout, 10*time.Second)
	setDefault(&o.LogonTimeout, 30*time.Second)
	setDefault(&o.StallTimeout, 15*time.Second)
	if o.Dial == nil {
		o.Dial = new(dial.Dialer).Context
	}
	return &Origin{at: at, o: o, name: at.String()}, nil
}

func setDefault(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

// String is the location without the user.
func (o *Origin) String() string { return o.name }

// Close ends the connection; see sources.Origin.
func (o *Origin) Close() error {
	o.mu.Lock()
	o.closes++
	d, l := o.dialing, o.link
	o.link = nil
	o.mu.Unlock()
	if d != nil {
		d.cancel(sources.ErrClosed)
		<-d.done
	}
	if l != nil {
		l.kill(sources.ErrClosed)
	}
	return nil
}

// connected returns the connection, made anew where there is none that lives.
func (o *Origin) connected(ctx context.Context, closes int) (*link, error) {
	o.mu.Lock()
	switch {
	case o.closes != closes:
		o.mu.Unlock()
		return nil, sources.ErrClosed
	case o.link != nil && o.link.alive():
		defer o.mu.Unlock()
		return o.link, nil
	case o.refused.err != nil && time.Now().Before(o.refused.until):
		defer o.mu.Unlock()
		return nil, o.refused.err
	}
	d := o.dialing
	if d == nil {
		d = o.dial(closes)
	}
	o.mu.Unlock()
	select {
	case <-d.done:
		return d.link, d.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// dial begins to make a connection, which all who wait for it share, also if whoever asked first has left. The caller
// holds o.mu.
func (o *Origin) dial(closes int) *dialing {
	ctx, cancel := context.WithCancelCause(context.Background())
	d := &dialing{cancel: cancel, done: make(chan struct{})}
	o.dialing = d
	o.link = nil // it is dead, and so closed
	options := o.o
	if time.Now().Before(o.guest) {
		options.Credentials = Credentials{}
	}
	go func() {
		l, err := connect(ctx, o.at, options)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.dialing = nil
		switch {
		case o.closes != closes:
			if l != nil {
				l.kill(sources.ErrClosed)
			}
			l, err = nil, sources.ErrClosed
		case errors.Is(err, errLogon):
			o.refused = refusal{err, time.Now().Add(logonPause)}
		case err == nil:
			o.refused = refusal{}
			if options.Credentials.Kerberos != nil && l.as.Kerberos == nil {
				o.guest = time.Now().Add(logonPause)
			}
		}
		o.link, d.link, d.err = l, l, err
		cancel(nil)
		close(d.done)
	}()
	return d
}

func (o *Origin) closeCount() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closes
}

func (o *Origin) readError(path string, off int64, err error) error {
	return &sources.ReadError{Path: path, Offset: off, Origin: o.name, Err: err}
}

func notNow(format string, args ...any) error {
	return &sources.NotNow{Err: fmt.Errorf(format, args...)}
}

package smborigin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudsoda/go-smb2"

	"handout/sources"
)

// link is one TCP connection, the session on it and the share.
type link struct {
	wire  *wire
	as    Credentials // who we are on it
	share *smb2.Share // what is asked of it ends with life, not before

	life context.Context // until the connection ends; its cause says why
	end  context.CancelCauseFunc

	stall    time.Duration
	answered atomic.Bool // something was read here
	fast     atomic.Bool // a stream was no slower than slow
	// roundTrip is the shortest time that opening a file took, in nanoseconds; 0: none was opened yet.
	roundTrip atomic.Int64

	handles handles
}

const (
	// grace is how long a caller who leaves waits for its answer, so that the others keep the connection.
	grace = 300 * time.Millisecond
	// maxStalls bounds how long one answer may take while others come.
	maxStalls = 20
)

var errAbandoned = errors.New("given up: an answer that nobody waits for any more does not come")

// connect dials, logs on and finds the share. Without credentials we are nobody, and where nobody is not let in, the
// guest: Samba wants the one, Windows the other. So it goes also where they need not count and come to nothing.
func connect(ctx context.Context, at Location, o Options) (*link, error) {
	if c := o.Credentials; c.unproven {
		return nil, fmt.Errorf("%w: neither a password nor a keytab of %s is known here", sources.ErrDenied, c)
	}
	l, err := connectAs(ctx, at, o, o.Credentials)
	if err == nil || !o.Credentials.Optional() {
		return l, err
	}
	var others []Credentials
	switch {
	case !o.Credentials.Guest() && LogonFailed(err):
		others = []Credentials{{}, {User: "Guest"}}
	case o.Credentials.Guest() && errors.Is(err, sources.ErrDenied):
		others = []Credentials{{User: "Guest"}}
	}
	for _, c := range others {
		if g, e := connectAs(ctx, at, o, c); e == nil {
			return g, nil
		}
	}
	return nil, err
}

func connectAs(ctx context.Context, at Location, o Options, c Credentials) (*link, error) {
	dialCtx, stop := context.WithTimeoutCause(ctx, o.ConnectTimeout, notNow("no connection within %v: %w", o.ConnectTimeout, sources.ErrNoAnswer))
	defer stop()
	raw, err := o.Dial(dialCtx, "tcp", at.address())
	if err != nil {
		if dialCtx.Err() != nil {
			return nil, context.Cause(dialCtx)
		}
		return nil, notNow("connect: %w", err)
	}
	ctx, stop = context.WithTimeoutCause(ctx, o.LogonTimeout, notNow("connected, but no logon within %v", o.LogonTimeout))
	defer stop()
	l := &link{wire: newWire(raw, o.observe), as: c, stall: o.StallTimeout}
	l.life, l.end = context.WithCancelCause(context.Background())
	l.handles.link = l
	// Closed from here too, as go-smb2 may hang in sending when its context is done.
	release := context.AfterFunc(ctx, func() { l.kill(context.Cause(ctx)) })
	err = l.logOn(ctx, at, c)
	if !release() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		l.kill(err)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, connectOutcome(err, at, c)
	}
	return l, nil
}

func (l *link) logOn(ctx context.Context, at Location, c Credentials) error {
	service := "cifs/" + strings.ToLower(at.Host)
	d := smb2.Dialer{Initiator: &smb2.NTLMInitiator{
		User: c.User, Password: c.Password, Domain: c.Domain, TargetSPN: service,
	}}
	kerberos := &kerberosLogon{ctx: ctx, k: c.Kerberos, service: service}
	if c.Kerberos != nil {
		d.Initiator = kerberos
	}
	session, err := d.DialConn(ctx, l.wire, at.address())
	if err != nil {
		if c.Kerberos != nil {
			c.Kerberos.forget(service)
		}
		if _, ok := errors.AsType[*smb2.InvalidResponseError](err); ok {
			err = cmp.Or(kerberos.err, l.wire.observe.refusal(), err) // which say more
		}
		return err
	}
	share, err := session.WithContext(ctx).Mount(`\\` + at.Host + `\` + at.Share)
	if err != nil {
		return err
	}
	l.share = share.WithContext(l.life)
	return nil
}

// took notes how long opening a file took, which is a round trip and next to no work.
func (l *link) took(d time.Duration) {
	for {
		least := l.roundTrip.Load()
		if least != 0 && least <= int64(d) || l.roundTrip.CompareAndSwap(least, int64(d)) {
			return
		}
	}
}

func (l *link) alive() bool { return l.life.Err() == nil }

// kill ends the connection, and with it whatever is under way on it. The first reason stays.
func (l *link) kill(why error) {
	l.end(why)
	l.wire.Close()
}

// do asks the server something: op returns when it has answered, or when the connection has ended. The answer has a
// deadline: the connection ends when it is due and nothing at all arrives, or when it does not come for very long while
// others do. When ctx ends, op gets a moment more. The error says what it means for the reader.
func (l *link) do(ctx context.Context, op func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d := deadline{link: l, begun: time.Now()}
	d.start()
	answered := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-answered:
		case <-time.After(grace):
			l.kill(errAbandoned)
		}
	})
	err := op()
	close(answered)
	stop()
	d.stop()
	return l.meaning(ctx, err)
}

// deadline ends a connection that leaves a request without an answer.
type deadline struct {
	link  *link
	begun time.Time

	mu    sync.Mutex
	timer *time.Timer // nil: the answer is here
}

func (d *deadline) start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer = time.AfterFunc(d.link.stall, d.check)
}

func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer.Stop()
	d.timer = nil
}

func (d *deadline) check() {
	d.mu.Lock()
	defer d.mu.Unlock()
	waited := time.Since(d.begun)
	left := d.link.stall - min(d.link.wire.silence(), waited)
	switch {
	case d.timer == nil:
	case left <= 0:
		d.link.kill(notNow("no answer for %v", d.link.stall))
	case waited > maxStalls*d.link.stall:
		d.link.kill(notNow("no answer to one request for %v", waited.Round(time.Second)))
	default:
		d.timer.Reset(left)
	}
}

// meaning is what the error of an operation means for the reader; nil where there is none.
func (l *link) meaning(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		l.answered.Store(true)
		return nil
	}
	meaning, over := outcome(err)
	if !over && l.alive() {
		return meaning
	}
	if over {
		l.kill(fmt.Errorf("connection broke: %w", err))
	}
	why := context.Cause(l.life)
	if errors.Is(why, sources.ErrClosed) {
		return why
	}
	if _, stalled := sources.Retryable(why); !stalled {
		if l.answered.Load() {
			why = broken{why}
		}
		why = &sources.NotNow{Err: why}
	}
	return why
}

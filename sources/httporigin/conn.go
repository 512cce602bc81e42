package httporigin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"handout/sources"
)

// conn is the one connection and whether it has ever answered.
type conn struct {
	*http.ClientConn
	used bool // guarded by Origin.mu
}

// enter waits for the caller's turn on a connection to u's endpoint and opens it where there is none. After a success
// the caller ends its turn with h.door.Leave.
func (h *Origin) enter(ctx context.Context, u *url.URL, closes int) (*conn, error) {
	place := endpoint(u)
	for {
		if err := h.door.Enter(ctx, place); err != nil {
			return nil, err
		}
		h.mu.Lock()
		c, closed := h.conn, h.closes != closes
		h.mu.Unlock()
		switch {
		case closed:
			h.door.Leave()
			return nil, sources.ErrClosed
		case c == nil:
			c, err := h.connect(ctx, u, closes)
			if err != nil {
				h.door.Leave()
				return nil, err
			}
			return c, nil
		case c.Err() == nil:
			return c, nil
		}
		h.door.Shut()
		h.door.Leave()
	}
}

// connect opens the connection. The caller is alone inside the door.
func (h *Origin) connect(ctx context.Context, u *url.URL, closes int) (*conn, error) {
	dialCtx, cancel := context.WithTimeoutCause(ctx, h.o.ConnectTimeout, notNow("no connection within %v: %w", h.o.ConnectTimeout, sources.ErrNoAnswer))
	defer cancel()
	h.mu.Lock()
	if h.closes != closes {
		h.mu.Unlock()
		return nil, sources.ErrClosed
	}
	h.cancelDial = cancel
	h.mu.Unlock()

	t := h.own
	if !sameEndpoint(u, h.base) {
		t = h.other
	}
	cc, err := t.NewClientConn(dialCtx, u.Scheme, net.JoinHostPort(u.Hostname(), port(u)))

	h.mu.Lock()
	defer h.mu.Unlock()
	h.cancelDial = nil
	switch {
	case h.closes != closes:
		if err == nil {
			h.raw.Close()
			cc.Close()
		}
		return nil, sources.ErrClosed
	case err != nil:
		return nil, dialError(dialCtx, err)
	}
	h.conn = &conn{ClientConn: cc}
	return h.conn, nil
}

// dial is what the transports dial with. It keeps hold of what is under TLS and HTTP/2: these may still be at ending it
// when they say that they have.
func (h *Origin) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := h.o.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if h.o.Fit != nil {
		c = h.o.Fit(c)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.raw = c
	return c, nil
}

// hangUp closes the connection, whatever is under way on it.
func (h *Origin) hangUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn != nil {
		h.raw.Close() // first: TLS would take its time to say goodbye
		h.conn.Close()
		h.conn, h.raw = nil, nil
	}
}

// answered notes that c works, and lets others share it where the protocol can. The caller is inside the door.
func (h *Origin) answered(c *conn, resp *http.Response) {
	h.mu.Lock()
	first := !c.used
	c.used = true
	h.mu.Unlock()
	if first && resp.ProtoMajor == 2 {
		h.door.Widen(min(maxStreams, 1+c.Available()))
	}
}

// wasUsed reports whether c had answered before: then a failure may only mean that the server ended it meanwhile.
func (h *Origin) wasUsed(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return c.used
}

func (h *Origin) isClosed(closes int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closes != closes
}

// dialError is the outcome that a failure to connect means.
func dialError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if isTrust(err) {
		return fmt.Errorf("connect: %w", err)
	}
	return &sources.NotNow{Err: fmt.Errorf("connect: %w", err)}
}

// isTrust reports whether a handshake failed because one side does not accept the other, which waiting won't heal.
func isTrust(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" // an alert: crypto/tls has no type for it
}

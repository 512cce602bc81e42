package httporigin

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"handout/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is a network in memory, so that time can be virtual: every dial reaches the one server, whatever the host. It
// counts connections, and fails the test that sees two at once.
type wire struct {
	t        *testing.T
	accepted chan net.Conn
	done     chan struct{}

	mu          sync.Mutex
	open, total int
}

func newWire(t *testing.T) *wire {
	w := &wire{t: t, accepted: make(chan net.Conn), done: make(chan struct{})}
	return w
}

func (w *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case w.accepted <- server:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total++
	if w.open++; w.open > 1 {
		w.t.Errorf("%d connections at once", w.open)
	}
	return &wireConn{Conn: client, w: w}, nil
}

type wireConn struct {
	net.Conn
	w    *wire
	once sync.Once
}

func (c *wireConn) Close() error {
	c.once.Do(func() {
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		c.w.open--
	})
	return c.Conn.Close()
}

func (w *wire) connections() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// Accept, Close and Addr make it a net.Listener.
func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.accepted:
		return c, nil
	case <-w.done:
		return nil, net.ErrClosed
	}
}
func (w *wire) Close() error   { close(w.done); return nil }
func (w *wire) Addr() net.Addr { return &net.IPAddr{} }

// serve answers by handler and returns an origin that asks it.
func (w *wire) serve(url string, o Options, handler http.HandlerFunc) *Origin {
	s := &http.Server{Handler: handler}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Serve(w)
	}()
	h := w.origin(url, o)
	w.t.Cleanup(func() {
		h.Close()
		s.Close()
		<-ended
	})
	return h
}

// serveRaw answers each connection by talk, which gets each request's head read away first.
func (w *wire) serveRaw(url string, o Options, talk func(c net.Conn, request *http.Request)) *Origin {
	var g sync.WaitGroup
	g.Go(func() {
		for {
			c, err := w.Accept()
			if err != nil {
				return
			}
			g.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					request, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					talk(c, request)
				}
			})
		}
	})
	h := w.origin(url, o)
	w.t.Cleanup(func() {
		h.Close()
		w.Close()
		g.Wait()
	})
	return h
}

func (w *wire) origin(url string, o Options) *Origin {
	o.Dial = w.dial
	o.Proxy = noProxy
	h, err := Open(url, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func isNotNow(err error) bool {
	_, ok := sources.Retryable(err)
	return ok
}

func asNotNow(err error) *sources.NotNow {
	n, _ := errors.AsType[*sources.NotNow](err)
	return n
}

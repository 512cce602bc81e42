// Package api is the agent's own door: JSON over HTTP for whoever runs the machine, events as they happen (SSE), and
// metrics. It never listens to the network; neighbours speak the site's and the swarm's protocols.
//
// Who comes in. On Unix the door is a socket in a folder that only the agent's user and root may enter. Where that is not
// to be had (Windows), or a scraper needs a port, it is a port of the loopback interface, and every request carries the
// token that lies in a file with the same protection. Browsers on the machine can reach that port too, so a request that
// names another host (DNS rebinding) or comes from a page (Origin, Sec-Fetch-Site) is refused, nothing is changed by a
// GET, and what changes something must be JSON and say so.
//
// Whoever gets as far as the door can still not hurt the agent: bodies and headers are small, a slow client is cut off,
// connections are counted in all and for each address, requests for each connection. Errors are problem documents (RFC 9457).
//
// This room knows nothing of packages on disk or in the swarm: it shows what a Machine tells and passes on what it is
// asked to do. The types in wire.go are the protocol; the agent's own may change without it.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// Machine is the agent as its door shows it. Its methods are called concurrently; all but TestOrigin return at once.
type Machine interface {
	// Status is this machine at the moment.
	Status() Status
	// Survey is how every machine of the site is, by its own word; whoever says nothing is among them too. It takes as long
	// as the slowest.
	Survey(context.Context) SiteStatus
	// Events are those after the one numbered so, as far as they are remembered, oldest first; more is closed when
	// there is another.
	Events(after uint64) (events []Event, more <-chan struct{})
	// Pause stops fetching and giving of a package, named by name, info-hash or destination, or of all; "": all. Resume
	// ends that. ErrNoPackage: there is none of that name.
	Pause(pkg string) error
	Resume(pkg string) error
	// TestOrigin reads from an origin for some seconds, as who the agent is there. What is wrong with the origin is among
	// the findings; ErrBadTest and ErrBusy say that there was no test.
	TestOrigin(ctx context.Context, t OriginTest) (OriginFindings, error)
	// Limit and Prioritise change what LimitsRequest and PriorityRequest say. ErrInvalid: they can't be that.
	Limit(LimitsRequest) error
	Prioritise(pkg string, p Priority) error
}

var (
	// ErrNoPackage: the machine has no package of the name that was asked for.
	ErrNoPackage = errors.New("no such package here")
	// ErrInvalid: what was asked for makes no sense.
	ErrInvalid = errors.New("not possible")
)

var (
	// ErrBadTest: this can't be tested.
	ErrBadTest = errors.New("not to be tested")
	// ErrBusy: an origin is being tested already.
	ErrBusy = errors.New("an origin is being tested already: try again in a moment")
)

// Options say where the door is.
type Options struct {
	Dir     string // the folder for the socket, or for the files "address" and "token"; made if it isn't there
	Address string // "": a socket, on Windows any port of 127.0.0.1; else host:port, the host being a loopback address
	Machine Machine
	Log     *slog.Logger // nil: silent
}

// Door listens. Serve or Close ends that.
type Door struct {
	place   *place
	machine Machine
	server  *http.Server
	streams chan struct{} // one for each client that listens to events
	log     *slog.Logger
	leaving context.Context // ends when the door closes, so that streams end
}

const (
	maxHeader  = 8 << 10
	maxBody    = 64 << 10
	maxStreams = 8

	headerTime = 5 * time.Second
	bodyTime   = 10 * time.Second
	answerTime = 10 * time.Second
	idleTime   = 10 * time.Second
	closeTime  = 2 * time.Second
)

// Open opens the door: from then on clients may connect, and Serve answers them.
func Open(o Options) (*Door, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p, err := openPlace(o.Dir, o.Address)
	if err != nil {
		return nil, err
	}
	d := &Door{place: p, machine: o.Machine, streams: make(chan struct{}, maxStreams), log: o.Log}
	leaving, leave := context.WithCancel(context.Background())
	d.leaving = leaving
	d.server = &http.Server{
		Handler:           d.guard(d.routes()),
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       bodyTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       withLimiter,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	d.server.RegisterOnShutdown(leave)
	return d, nil
}

// Where is the socket's path, or the address.
func (d *Door) Where() string { return d.place.where }

// Serve answers until ctx ends, then closes the door. It returns when every request has been answered or cut off.
func (d *Door) Serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := d.server.Serve(d.place.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return d.Close()
	})
	return g.Wait()
}

// Close closes the door. Requests under way get a moment to end.
func (d *Door) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := d.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = d.server.Close()
	}
	return errors.Join(err, d.place.close())
}

// Package httporigin reads packages from HTTP(S) servers: any that serves files and, for what is larger than a few MiB,
// byte ranges (RFC 9110 section 14).
//
// It trusts the server for nothing: every answer is held against what was asked before a byte of it is used, waits have
// deadlines of their own, redirects are bounded and carry no credentials elsewhere. Whether the bytes are right is for
// the caller to check. One Origin is one connection, literally: it owns an http.ClientConn instead of a pool.
package httporigin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"handout/sources"
	"handout/sources/dial"
	"handout/sources/internal/door"
)

// Options say how to talk to a server. The zero value is good for a server without secrets.
type Options struct {
	// User and Password are for basic authentication (RFC 7617), Token for bearer (RFC 6750); Token wins. Header is sent
	// as well. All go to the scheme and host of the origin's own URL and never follow a redirect elsewhere.
	User, Password string
	Token          string
	Header         http.Header

	Certificates []tls.Certificate // client certificates, for the origin's own scheme and host only
	RootCAs      *x509.CertPool    // whom to trust; nil: the system's

	// Proxy picks a proxy as http.Transport.Proxy does; nil: as HTTPS_PROXY, HTTP_PROXY and NO_PROXY say.
	Proxy func(*http.Request) (*url.URL, error)

	ConnectTimeout time.Duration // to dial and shake hands; 0: 10 s
	AnswerTimeout  time.Duration // from a request to the head of its answer; 0: 30 s
	StallTimeout   time.Duration // without a byte of a body; 0: 15 s
	MinRate        int64         // bytes per second over 30 s of waiting; slower counts as stalled; 0: 1 KiB/s

	MaxRedirects int    // one read follows at most; 0: 5; negative: none
	UserAgent    string // "": handout

	// Fit returns what an open connection is read through; nil: itself.
	Fit func(net.Conn) net.Conn
	// Dial opens the connection; nil: by a dial.Dialer of its own.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

const (
	// minRateWindow is over how much waiting MinRate is averaged.
	minRateWindow = 30 * time.Second
	// readBuffer is what the transport reads at once until the head of an answer is complete. Bodies are read past it,
	// straight into the caller's memory, once it is empty.
	readBuffer = 16 << 10
	// maxHead bounds the head of an answer.
	maxHead = 64 << 10
	// maxStreams bounds how many reads share an HTTP/2 connection.
	maxStreams = 32
)

// Origin is a tree or a file behind one URL, and at most one connection. It implements sources.Origin and
// sources.Streamer. Over HTTP/2 reads are multiplexed, over HTTP/1.1 they queue.
type Origin struct {
	o    Options
	base *url.URL // as configured
	name string   // base for people

	// What has the credentials is for base's endpoint only; the other, for those a redirect leads to.
	own, other             *http.Transport
	ownHeader, otherHeader http.Header // read-only

	door    *door.Door // at: the endpoint of the connection
	codings codings
	manners manners

	mu         sync.Mutex
	conn       *conn              // nil: none
	raw        net.Conn           // what conn runs over
	cancelDial context.CancelFunc // nil: not dialling
	closes     int                // how often Close was called
	moved      *url.URL           // where a redirect said base is now; nil: nowhere else
}

// Open prepares to read from the tree, or the one file, that rawURL names. It does not connect: that is left to the
// first read, and happens again whenever the connection is gone. A query in rawURL is sent with every request and never
// shown. A user and password in it, as Options' own, are for its scheme and host alone.
func Open(rawURL string, o Options) (*Origin, error) {
	base, login, err := parseBase(rawURL)
	if err != nil {
		return nil, err
	}
	if login != nil {
		o.User, o.Token = login.Username(), ""
		o.Password, _ = login.Password()
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	if o.MaxRedirects == 0 {
		o.MaxRedirects = 5
	}
	if o.UserAgent == "" {
		o.UserAgent = "handout"
	}
	if o.MinRate == 0 {
		o.MinRate = 1 << 10
	}
	setDefault(&o.ConnectTimeout, 10*time.Second)
	setDefault(&o.AnswerTimeout, 30*time.Second)
	setDefault(&o.StallTimeout, 15*time.Second)
	if o.Dial == nil {
		o.Dial = new(dial.Dialer).Context
	}
	h := &Origin{o: o, base: base, name: display(base)}
	h.own, h.other = h.transport(o.Certificates), h.transport(nil)
	h.ownHeader, h.otherHeader = o.headers()
	h.door = &door.Door{Room: 1, Moved: func(string) { h.hangUp() }}
	return h, nil
}

func setDefault(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

func (h *Origin) transport(certs []tls.Certificate) *http.Transport {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	return &http.Transport{
		DialContext:            h.dial,
		Proxy:                  h.o.Proxy,
		TLSClientConfig:        &tls.Config{Certificates: certs, RootCAs: h.o.RootCAs},
		Protocols:              &p,
		DisableCompression:     true,
		ReadBufferSize:         readBuffer,
		MaxResponseHeaderBytes: maxHead,
	}
}

// headers are what every request begins with, to the origin's own endpoint and to others.
func (o *Options) headers() (own, other http.Header) {
	other = http.Header{
		"User-Agent":      {o.UserAgent},
		"Accept-Encoding": {"identity"}, // a range of a compressed file is not a range of the file
	}
	own = other.Clone()
	for k, v := range o.Header {
		own[http.CanonicalHeaderKey(k)] = v
	}
	switch {
	case o.Token != "":
		own.Set("Authorization", "Bearer "+o.Token)
	case o.User != "" || o.Password != "":
		own.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(o.User+":"+o.Password)))
	}
	return own, other
}

// String is the URL without its query.
func (h *Origin) String() string { return h.name }

// Close ends the connection; see sources.Origin.
func (h *Origin) Close() error {
	h.mu.Lock()
	h.closes++
	h.moved = nil
	if h.cancelDial != nil {
		h.cancelDial()
	}
	h.mu.Unlock()
	h.hangUp()
	return nil
}

func (h *Origin) readError(path string, off int64, err error) error {
	return &sources.ReadError{Path: path, Offset: off, Origin: h.name, Err: err}
}

func notNow(format string, args ...any) error {
	return &sources.NotNow{Err: fmt.Errorf(format, args...)}
}

var errStalled = errors.New("stalled")

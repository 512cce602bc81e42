package site

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"time"
)

// The port for members answers questions too, of whoever is admitted, member or not: an admin's desk that is no member
// pushes through it, and a newcomer reads what it missed. Each kind of question is a dialect, which its first line names.
// All first lines begin with "handout: ", which the membership's own streams never do.
//
// The answer to the first line is one line of JSON, opening. Where the site has a key both go on in TLS, with a pair of
// keys that is made of the site's key: whoever can prove to have it is in, and nobody else reads or changes what is said.
// That needs nothing but the standard library, where a cipher of our own over memberlist's would. Without a key all is in
// the clear, as the site is open.

// Dialect is a kind of question. To add one: a Greeting that no other has, a Serve that bounds what it reads, and its
// place in Options.Dialects. The asker's side is Ask.
type Dialect struct {
	Greeting  string        // the first line: "handout: WHAT VERSION"
	Time      time.Duration // an exchange is cut off after so long, whatever is under way
	AtOnce    int           // callers that are served at once; more are told to come again
	OfOneHost int           // of these, from one address
	// Serve answers one caller and returns when it is done. The error is for the log at its lowest level: strangers cause it.
	Serve func(Caller) error
}

// Caller is whoever asks in a dialect, from after its first line on. The connection is closed when Serve returns; its
// deadline may be set to something earlier.
type Caller struct {
	net.Conn
	From netip.Addr
	End  time.Time // when the exchange is cut off
}

// What Ask returns, besides the network's own errors.
var (
	ErrBusy      = errors.New("it answers as many as it can already")
	ErrOtherSite = errors.New("it belongs to another site")
	ErrSiteKey   = errors.New("the site keys differ")
	ErrNotSpoken = errors.New("it is no member's port, or of a version that doesn't know this question")
)

// OtherSite is ErrOtherSite with the name of that site, as a stranger says it.
type OtherSite struct{ Site string }

func (o *OtherSite) Error() string { return fmt.Sprintf("%v: %q", ErrOtherSite, o.Site) }

func (o *OtherSite) Unwrap() error { return ErrOtherSite }

// opening is what a member answers to a dialect's first line.
type opening struct {
	Site  string `json:"site"`
	Keyed bool   `json:"keyed,omitempty"`
	Busy  bool   `json:"busy,omitempty"`
}

// openTime is for connecting, and again for the opening and the proof of a key.
const openTime = 3 * time.Second

// Ask opens an exchange in a dialect with the member at an address, its port for members. Name and key are those of the
// site it should belong to. The exchange ends with ctx; the caller closes it.
func Ask(ctx context.Context, member, greeting, name string, key []byte) (_ net.Conn, err error) {
	c, err := (&net.Dialer{Timeout: openTime}).DialContext(ctx, "tcp", member)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	ended := &asked{c, stop}
	defer func() {
		if err != nil {
			ended.Close()
			err = fmt.Errorf("ask %s: %w", member, err)
		}
	}()
	c.SetDeadline(time.Now().Add(openTime))
	if _, err := io.WriteString(c, greeting+"\n"); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(c, maxLine)
	var o opening
	if err := readLine(r, &o); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, bufio.ErrBufferFull) {
			err = ErrNotSpoken
		}
		return nil, err
	}
	switch {
	case o.Busy:
		return nil, ErrBusy
	case o.Site != named(name):
		return nil, &OtherSite{o.Site[:min(len(o.Site), maxName)]}
	case o.Keyed && key == nil:
		return nil, fmt.Errorf("%w: it has one, and none is given", ErrSiteKey)
	case !o.Keyed && key != nil:
		return nil, fmt.Errorf("%w: it has none", ErrSiteKey)
	case !o.Keyed:
		c.SetDeadline(time.Time{})
		return &begun{ended, r}, nil
	}
	secured := tls.Client(&begun{ended, r}, siteTLS(key))
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSiteKey, err)
	}
	c.SetDeadline(time.Time{})
	return secured, nil
}

// asked is a connection that a context ends.
type asked struct {
	net.Conn
	stop func() bool
}

func (a *asked) Close() error {
	a.stop()
	return a.Conn.Close()
}

// spokenDialect is one that the port answers, and how many it answers now.
type spokenDialect struct {
	Dialect
	callers
}

// dialects are those that the port answers.
type dialects struct {
	name string
	tls  *tls.Config // nil: the site has no key
	all  map[string]*spokenDialect
}

func newDialects(name string, key []byte, admit func(netip.Addr) bool, list []Dialect) *dialects {
	d := &dialects{name: name, all: map[string]*spokenDialect{}}
	if key != nil {
		d.tls = siteTLS(key)
	}
	for _, l := range list {
		d.all[l.Greeting] = &spokenDialect{l, newCallers(admit, l.AtOnce, l.OfOneHost)}
	}
	return d
}

// serve answers a caller that said this first line.
func (d *dialects) serve(c net.Conn, r *bufio.Reader, said string) error {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return errNoSense
	}
	l := d.all[strings.TrimSuffix(said, "\n")]
	if l == nil {
		return errNoSense
	}
	from := tcp.AddrPort().Addr().Unmap()
	c.SetDeadline(time.Now().Add(openTime))
	if !l.begin(from) {
		if l.admitted(from) {
			d.open(c, opening{Busy: true})
		}
		return fmt.Errorf("%s is not admitted, or asks too much", from)
	}
	defer l.end(from)
	if err := d.open(c, opening{Site: d.name, Keyed: d.tls != nil}); err != nil {
		return err
	}
	var conn net.Conn = begun{c, r}
	if d.tls != nil {
		secured := tls.Server(conn, d.tls)
		if err := secured.Handshake(); err != nil {
			return err
		}
		defer secured.CloseWrite()
		conn = secured
	}
	end := time.Now().Add(l.Time)
	c.SetDeadline(end)
	return l.Serve(Caller{conn, from, end})
}

func (d *dialects) open(c net.Conn, o opening) error {
	line, err := json.Marshal(o)
	if err == nil {
		_, err = c.Write(append(line, '\n'))
	}
	return err
}

// siteTLS is for those who have a site's key: both sides show the certificate that is made of it, and take no other.
func siteTLS(key []byte) *tls.Config {
	h := hmac.New(sha256.New, key)
	io.WriteString(h, "handout site certificate 1")
	private := ed25519.NewKeyFromSeed(h.Sum(nil))
	public := private.Public().(ed25519.PublicKey)
	from := time.Unix(0, 0)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: from.AddDate(200, 0, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		panic(err) // a fixed template and a sound key
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: private}},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // no name and no authority counts, only the key: VerifyConnection looks at it
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) != 1 {
				return errOtherKey
			}
			theirs, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
			if !ok || !bytes.Equal(theirs, public) {
				return errOtherKey
			}
			return nil
		},
	}
}

var errOtherKey = errors.New("another site key")

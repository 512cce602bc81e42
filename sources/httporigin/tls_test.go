package httporigin

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"handout/sources"
	"handout/sources/sourcetest"
)

// selfSigned makes a certificate for the loopback, which is its own authority.
func selfSigned(t testing.TB) (cert tls.Certificate, pool *x509.CertPool, certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if cert, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return cert, pool, certPEM, keyPEM
}

// counter counts the connections an origin has, and remembers the most at once.
type counter struct{ now, most, total atomic.Int32 }

func (c *counter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.total.Add(1)
	if n := c.now.Add(1); n > c.most.Load() {
		c.most.Store(n)
	}
	return &counted{Conn: conn, c: c}, nil
}

type counted struct {
	net.Conn
	c    *counter
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.c.now.Add(-1) })
	return c.Conn.Close()
}

// HTTP/2 from nginx, which ends each connection after some requests: reads are multiplexed, and there is one connection.
func TestNginxHTTP2(t *testing.T) {
	_, pool, certPEM, keyPEM := selfSigned(t)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := errors.Join(os.WriteFile(certFile, certPEM, 0o600), os.WriteFile(keyFile, keyPEM, 0o600)); err != nil {
		t.Fatal(err)
	}
	var c counter
	sourcetest.Run(t, func(t *testing.T, files map[string][]byte) sources.Origin {
		n := &sourcetest.Nginx{Root: writeTree(t, files), CertFile: certFile, KeyFile: keyFile, Server: "keepalive_requests 50;"}
		startNginx(t, n)
		return mustOpen(t, n.URL, Options{RootCAs: pool, Dial: c.dial})
	})
	if c.most.Load() > 1 || c.total.Load() < 3 {
		t.Errorf("%d connections, %d at once", c.total.Load(), c.most.Load())
	}
}

func TestHTTP2IsMultiplexed(t *testing.T) {
	cert, pool, _, _ := selfSigned(t)
	var together sync.WaitGroup
	together.Add(8)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/f" { // answered only when all eight have arrived
			together.Done()
			together.Wait()
		}
		partial(w, r, content64K)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	h := mustOpen(t, s.URL, Options{RootCAs: pool})
	wantRead(t, h, "first", 0, content64K)
	var g sync.WaitGroup
	for i := range 8 {
		g.Go(func() { wantRead(t, h, "f", i*10, content64K[i*10:i*10+1000]) })
	}
	g.Wait()
	h.Close()
}

func TestTrust(t *testing.T) {
	cert, pool, _, _ := selfSigned(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { partial(w, r, content64K) }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MaxVersion: tls.VersionTLS12}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	err := mustOpen(t, s.URL, Options{}).ReadRange(t.Context(), "f", 0, make([]byte, 1))
	if err == nil || isNotNow(err) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server nobody vouches for: %v", err)
	}
	h := mustOpen(t, s.URL, Options{RootCAs: pool})
	wantRead(t, h, "f", 0, content64K)
	h.Close()

	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	err = mustOpen(t, strings.Replace(plain.URL, "http:", "https:", 1), Options{}).ReadRange(t.Context(), "f", 0, make([]byte, 1))
	if err == nil || isNotNow(err) {
		t.Errorf("https to a server of http: %v", err)
	}
}

// The client's certificate is a credential too: only the origin's own host sees it.
func TestClientCertificateStaysHome(t *testing.T) {
	cert, pool, _, _ := selfSigned(t)
	var home, elsewhere atomic.Int32
	start := func(handler http.HandlerFunc) *httptest.Server {
		s := httptest.NewUnstartedServer(handler)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	other := start(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(int32(len(r.TLS.PeerCertificates)))
		partial(w, r, content64K)
	})
	own := start(func(w http.ResponseWriter, r *http.Request) {
		home.Add(int32(len(r.TLS.PeerCertificates)))
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
	})
	h := mustOpen(t, own.URL, Options{RootCAs: pool, Certificates: []tls.Certificate{cert}})
	wantRead(t, h, "f", 0, content64K)
	h.Close()
	if home.Load() != 1 || elsewhere.Load() != 0 {
		t.Errorf("shown at home %d times, elsewhere %d", home.Load(), elsewhere.Load())
	}
}

func TestProxy(t *testing.T) {
	var through atomic.Int32
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { partial(w, r, content64K) }))
	defer origin.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.IsAbs() || r.Host != "origin.example" || r.Header.Get("Proxy-Authorization") == "" {
			t.Errorf("not a proxy's request: %v %v", r.URL, r.Header)
		}
		through.Add(1)
		out, _ := http.NewRequest("GET", origin.URL+r.URL.Path, nil)
		out.Header = r.Header
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		var b bytes.Buffer
		b.ReadFrom(resp.Body)
		w.Write(b.Bytes())
	}))
	defer proxy.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	at := mustParse(proxy.URL)
	at.User = url.UserPassword("u", "p")
	h := mustOpen(t, "http://origin.example/pkg", Options{Proxy: http.ProxyURL(at)})
	defer h.Close()
	wantRead(t, h, "a b", 0, content64K)
	wantRead(t, h, "a b", 5, content64K[5:10])
	if through.Load() != 2 {
		t.Errorf("%d requests through the proxy", through.Load())
	}
}

// Nobody listens: that may pass.
func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	h := mustOpen(t, "http://"+l.Addr().String(), Options{})
	if err := h.ReadRange(t.Context(), "f", 0, make([]byte, 1)); !isNotNow(err) {
		t.Error(err)
	}
}

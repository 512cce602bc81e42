package api

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"handout/agent/atomicfile"
)

// What lies in the door's folder.
const (
	socketName  = "agent.sock"
	addressName = "address" // host:port
	tokenName   = "token"
)

// maxSocketPath is what a socket's address holds on Linux and Windows (unix(7): 108 bytes with the zero at the end).
const maxSocketPath = 107

// ErrInUse: another agent has the door.
var ErrInUse = errors.New("an agent runs here already")

// place is where the door is: a socket, or a port with a token.
type place struct {
	listener  net.Listener
	where     string   // for people
	hosts     []string // what a request may name as its host
	token     string   // "": whoever gets here may come in
	tokenFile string
	files     []string // to remove at the end
}

func openPlace(dir, address string) (*place, error) {
	if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
		if _, err := atomicfile.SetAside(dir); err != nil {
			return nil, fmt.Errorf("make the folder of the agent's door: %w", err)
		}
	}
	if err := makePrivate(dir); err != nil {
		return nil, fmt.Errorf("make the folder of the agent's door: %w", err)
	}
	if address == "" {
		address = defaultAddress
	}
	var p *place
	var err error
	if address == "" {
		p, err = openSocket(dir)
	} else {
		p, err = openPort(dir, address)
	}
	if err != nil {
		return nil, fmt.Errorf("open the agent's door: %w", err)
	}
	p.listener = &few{Listener: p.listener, each: map[string]int{}}
	return p, nil
}

func openSocket(dir string) (*place, error) {
	path := filepath.Join(dir, socketName)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path %s is longer than the %d bytes a socket's may have: choose another state folder, or a port",
			path, maxSocketPath)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("%w: it answers at %s", ErrInUse, path)
	}
	// What a killed agent left is in the way.
	for _, name := range []string{socketName, addressName, tokenName} {
		if err := makeWay(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path) // closing it removes the file
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return &place{listener: l, where: path, hosts: []string{"handout", "localhost"}}, nil
}

func openPort(dir, address string) (*place, error) {
	if err := CheckAddress(address); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	p := &place{
		listener: l, where: at.String(), hosts: []string{at.String(), fmt.Sprintf("localhost:%d", at.Port())},
		token: rand.Text(), tokenFile: filepath.Join(dir, tokenName),
	}
	if err := makeWay(filepath.Join(dir, socketName)); err != nil {
		l.Close()
		return nil, err
	}
	// The address comes last: who sees it finds the token.
	for _, f := range [][2]string{{tokenName, p.token}, {addressName, p.where}} {
		path := filepath.Join(dir, f[0])
		p.files = append(p.files, path)
		err := makeWay(path)
		if err == nil {
			err = atomicfile.Write(path, []byte(f[1]+"\n"), 0o600)
		}
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

// CheckAddress says what is wrong with an address for the door; "" is right.
func CheckAddress(address string) error {
	if address == "" {
		return nil
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().IsLoopback() {
		return fmt.Errorf("%q is not an address of this machine's loopback with a port, such as 127.0.0.1:4749", address)
	}
	return nil
}

// makeWay removes what lies at path; a folder with something in it is set aside.
func makeWay(path string) error {
	err := os.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if info, err2 := os.Lstat(path); err2 == nil && info.IsDir() {
		_, err = atomicfile.SetAside(path)
	}
	return err
}

func (p *place) isHost(host string) bool {
	for _, h := range p.hosts {
		if strings.EqualFold(h, host) {
			return true
		}
	}
	return false
}

// close closes the listener and removes what told of it.
func (p *place) close() error {
	err := p.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // the server closed it
	}
	for _, f := range p.files {
		if e := os.Remove(f); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

const (
	maxConns     = 64
	maxConnsEach = 32 // from one address; a socket's clients have one together
)

// few accepts so many connections and no more: those above are closed at once.
type few struct {
	net.Listener

	mu   sync.Mutex
	all  int
	each map[string]int // by address
}

// Accept implements net.Listener.
func (f *few) Accept() (net.Conn, error) {
	for {
		c, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if from := addressOf(c); f.count(from) {
			return &counted{Conn: c, gone: sync.OnceFunc(func() { f.uncount(from) })}, nil
		}
		c.Close()
	}
}

func addressOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return "" // a socket
	}
	return host
}

func (f *few) count(from string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all >= maxConns || f.each[from] >= maxConnsEach {
		return false
	}
	f.all++
	f.each[from]++
	return true
}

func (f *few) uncount(from string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all--
	if f.each[from]--; f.each[from] == 0 {
		delete(f.each, from)
	}
}

type counted struct {
	net.Conn
	gone func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.gone()
	return c.Conn.Close()
}

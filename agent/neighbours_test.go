package agent

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"handout/agent/site"
	"handout/discovery/networks"
	"handout/manifest"
)

// seeding is an agent that holds a package and gives it away.
func seeding(t *testing.T) (*Agent, *manifest.Manifest) {
	t.Helper()
	dir := tree(t)
	m := publish(t, dir, dir)
	seed := run(t, Config{Site: t.Name()})
	if _, err := seed.Fetch(fetchContext(t), m, dir, FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	return seed, m
}

// A seed dials who comes into its site: a newcomer may have as many neighbours as it wants, and no seed among them.
func TestSeedDialsNewcomers(t *testing.T) {
	seed, m := seeding(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.(*net.TCPListener).SetDeadline(time.Now().Add(2 * introduceEvery)) // it would be dialled in one of fifteen rounds otherwise
	newcomer, err := site.New(site.Options{
		Name: t.Name(), Networks: networks.New(networks.Options{CIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}), Connections: 1,
		PeerPort: l.Addr().(*net.TCPAddr).Port,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer newcomer.Close()
	newcomer.Join(memberPorts([]netip.AddrPort{at(seed)}))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hello := make([]byte, 48) // of BEP 3: up to the info-hash
	if _, err := io.ReadFull(c, hello); err != nil || !bytes.Equal(hello[28:], m.InfoHash[:]) {
		t.Errorf("it says %q (%v)", hello, err)
	}
}

// A hundred machines that were heard of are off by now. The one seed that is named is met at once all the same.
func TestTheDeadHoldUpNoFetch(t *testing.T) {
	seed, m := seeding(t)
	leech := run(t, Config{Site: t.Name(), Seeds: []string{at(seed).String()}})
	for i := range 100 {
		leech.found(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, 0, byte(i)}), 1), false)
	}
	dest := filepath.Join(t.TempDir(), "out")
	began := time.Now()
	if _, err := leech.Fetch(fetchContext(t), m, dest, FetchOptions{NoOrigin: true}); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > 2*introduceEvery {
		t.Errorf("it took %v, as if the seed had waited its turn", d)
	}
	mustMatch(t, m, dest)
}

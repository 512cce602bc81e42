package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"handout/testlab/cli"
	"handout/testlab/lab"
	"handout/testlab/nginx"
	"handout/testlab/payload"
	"handout/testlab/room"
)

// Rooms in which some or all machines have other addresses than IPv4's.

// device is the card that a machine of a lab has.
const device = "eth0"

// street is a room of machines with addresses of their own.
type street struct {
	*testing.T
	*lab.Lab
	ctx    context.Context
	dir    string
	tree   string
	server *nginx.Server
	pkg    cli.Package
	bin    cli.Program
}

// openStreet makes a lab whose machines have these addresses, the origin's first, with their lengths; nil: link-local
// ones only. origins are what the manifest names, %d standing for the server's port.
func openStreet(t *testing.T, addrs [][]string, origins ...string) *street {
	t.Helper()
	t.Parallel()
	if !nginx.Installed() {
		t.Skip("needs nginx: make deps")
	}
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the story took more than a minute"))
	t.Cleanup(cancel)
	s := &street{T: t, ctx: ctx, bin: bin}
	s.dir, err = os.MkdirTemp(scratch, "street")
	s.must(err)
	t.Cleanup(func() { os.RemoveAll(s.dir) })
	s.Lab = lab.ForTest(t, lab.Options{Hosts: len(addrs) - 1, Rate: 40 * lab.Mbit, OriginRate: 40 * lab.Mbit})
	for i, m := range append([]*lab.Machine{s.Origin}, s.Hosts...) {
		s.must(m.Do(func() error { return readdress(device, addrs[i]) }))
	}
	s.tree = filepath.Join(s.dir, "origin", "tree")
	s.must(os.Mkdir(filepath.Dir(s.tree), 0o755))
	s.must(payload.Write(s.tree, 1, 8<<20))
	logs := filepath.Join(s.dir, "nginx")
	s.must(os.Mkdir(logs, 0o755))
	s.Origin.Addr = netip.IPv6Unspecified()
	s.server, err = nginx.Start(ctx, s.Origin, filepath.Dir(s.tree), logs)
	s.must(err)
	var flags []string
	for i, o := range origins {
		if origins[i] = fmt.Sprintf(o, s.server.Addr.Port()); i > 0 {
			flags = append(flags, "--origin", origins[i])
		}
	}
	s.pkg, err = bin.Publish(ctx, s.dir, s.tree, origins[0], flags...)
	s.must(err)
	return s
}

func (s *street) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// readdress gives the card of the calling thread's machine these addresses and no others but the link-local one it has.
func readdress(device string, addrs []string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	old, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range old {
		if err := netlink.AddrDel(link, &a); err != nil {
			return err
		}
	}
	for _, text := range addrs {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		a.Flags = syscall.IFA_F_NODAD
		if err := netlink.AddrAdd(link, a); err != nil {
			return err
		}
	}
	return nil
}

// linkLocal waits until the machine's card has a link-local address, and returns it.
func (s *street) linkLocal(m *lab.Machine, device string) (addr netip.Addr) {
	s.Helper()
	s.must(m.Do(func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			all, err := netlink.AddrList(link, netlink.FAMILY_V6)
			if err != nil {
				return err
			}
			for _, a := range all {
				if a.IP.IsLinkLocalUnicast() && a.Flags&syscall.IFA_F_TENTATIVE == 0 {
					addr, _ = netip.AddrFromSlice(a.IP)
					return nil
				}
			}
		}
		return fmt.Errorf("%s of %s gets no link-local address", device, m.Name)
	}))
	return addr
}

// fetch starts a fetch on host i.
func (s *street) fetch(i int, flags ...string) *room.Fetch {
	s.Helper()
	dest := s.dest(i)
	s.must(os.MkdirAll(filepath.Dir(dest), 0o755))
	f, err := room.StartFetch(s.ctx, s.Hosts[i], s.bin, s.pkg, dest, append([]string{"--linger", "auto:1m"}, flags...)...)
	s.must(err)
	return f
}

func (s *street) dest(i int) string { return filepath.Join(s.dir, s.Hosts[i].Name, "tree") }

// end waits for all and returns how many bytes each had from neighbours, and how many copies left the origin.
func (s *street) end(all ...*room.Fetch) (fromPeers []int64, copies float64) {
	s.Helper()
	var fromOrigin int64
	for i, f := range all {
		last, err := f.Wait(s.ctx)
		if err != nil {
			s.Fatal(err)
		}
		fromPeers = append(fromPeers, last.FromPeers)
		fromOrigin += last.FromOrigin
		c, err := payload.Compare(s.tree, s.dest(i))
		if err != nil || len(c.Differs) > 0 {
			s.Errorf("%s: %v, %v", f.Host.Name, c.Differs, err)
		}
		s.Logf("%s: %.1f s, %d from the origin, %d from neighbours", f.Host.Name, last.Seconds, last.FromOrigin, last.FromPeers)
	}
	bytes, err := payload.Bytes(s.tree)
	s.must(err)
	return fromPeers, float64(fromOrigin) / float64(bytes)
}

// A room without IPv4, and one where some have it and some have not, is a room like any other.
func TestLabIPv6(t *testing.T) {
	for _, c := range []struct {
		what    string
		addrs   [][]string // of the origin, and of each host
		origins []string
	}{
		{"unique local", [][]string{{"fd00:7::1/64"}, {"fd00:7::2/64"}, {"fd00:7::3/64"}, {"fd00:7::4/64"}}, []string{"http://[fd00:7::1]:%d/tree"}},
		{"global", [][]string{{"2001:db8:7::1/64"}, {"2001:db8:7::2/64"}, {"2001:db8:7::3/64"}, {"2001:db8:7::4/64"}}, []string{"http://[2001:db8:7::1]:%d/tree"}},
		{"link-local", [][]string{{"fe80::7/64"}, nil, nil, nil}, []string{"http://[fe80::7%%25eth0]:%d/tree"}},
		{"IPv4 and both", [][]string{{"10.1.0.1/24", "fd00:7::1/64"}, {"10.1.0.2/24"}, {"10.1.0.3/24", "fd00:7::3/64"}, {"10.1.0.4/24", "fd00:7::4/64"}},
			[]string{"http://10.1.0.1:%d/tree"}},
		{"IPv4, both, IPv6", [][]string{{"10.1.0.1/24", "fd00:7::1/64"}, {"10.1.0.2/24"}, {"10.1.0.3/24", "fd00:7::3/64"}, {"fd00:7::4/64"}},
			[]string{"http://10.1.0.1:%d/tree", "http://[fd00:7::1]:%[1]d/tree"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := openStreet(t, c.addrs, slices.Clone(c.origins)...)
			for _, m := range s.Hosts {
				s.linkLocal(m, device)
			}
			most := s.Origin.WatchConnections(s.server.Addr.Port())
			peers, copies := s.end(s.fetch(0), s.fetch(1), s.fetch(2))
			if n := most(); n > 4 {
				t.Errorf("%d connections to the origin", n)
			}
			for i, n := range peers {
				if n == 0 {
					t.Errorf("%s had nothing from a neighbour", s.Hosts[i].Name)
				}
			}
			if copies > 1.5 {
				t.Errorf("%.2f copies left the origin", copies)
			}
		})
	}
}

// A machine has two cards without an address plan, and on each a neighbour with the same address. The origin is behind one of
// them; what it has it gives to both.
func TestLabSameNeighbourOnTwoCards(t *testing.T) {
	s := openStreet(t, [][]string{{"fe80::7/64"}, nil, {"fe80::2/64"}, nil}, "http://[fe80::7%%25eth0]:%d/tree")
	middle, far := s.Hosts[0], s.Hosts[2]
	var there netns.NsHandle
	s.must(far.Do(func() (err error) { there, err = netns.Get(); return err }))
	defer there.Close()
	s.must(middle.Do(func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "eth1", PeerNamespace: netlink.NsFd(there)}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		return netlink.LinkSetUp(v)
	}))
	s.must(far.Do(func() error {
		old, err := netlink.LinkByName(device)
		if err == nil {
			err = netlink.LinkDel(old)
		}
		if err != nil {
			return err
		}
		link, err := netlink.LinkByName("eth1")
		if err == nil {
			err = netlink.LinkSetUp(link)
		}
		if err != nil {
			return err
		}
		return readdress("eth1", []string{"fe80::2/64"})
	}))
	s.linkLocal(middle, "eth1")
	s.linkLocal(far, "eth1")
	peers, copies := s.end(s.fetch(0), s.fetch(1), s.fetch(2, "--no-origin"))
	if peers[2] == 0 || copies > 1.5 {
		t.Errorf("from neighbours %d; %.2f copies left the origin", peers, copies)
	}
}

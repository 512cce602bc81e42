package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"handout/agent/site"
	"handout/discovery/networks"
	"handout/sources"
)

func TestIsNoNetwork(t *testing.T) {
	dial := func(err error) error {
		return &sources.NotNow{Err: fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Net: "tcp", Err: err})}
	}
	for _, c := range []struct {
		what string
		err  error
		want bool
	}{
		{"no address yet", dial(os.NewSyscallError("connect", syscall.ENETUNREACH)), true},
		{"nobody answers ARP", dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), true},
		{"a switch that does not forward yet", dial(os.ErrDeadlineExceeded), true},
		{"the name service is out of reach", &net.DNSError{Err: "server misbehaving", IsTemporary: true}, true},
		{"a firewall that drops", &sources.NotNow{Err: fmt.Errorf("no connection within 10s: %w", sources.ErrNoAnswer)}, true},
		{"a name that is wrong", &net.DNSError{Err: "no such host", IsNotFound: true}, false},
		{"a server without the service", dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), false},
		{"a server that says no", errors.New("404"), false},
		{"Windows: no address yet", dial(wsaenetunreach), true},
	} {
		if got := isNoNetwork(c.err); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

func TestHostOf(t *testing.T) {
	for in, want := range map[string]string{
		"http://files.example:8080/x": "files.example", "https://[2001:db8::1]/x": "2001:db8::1", "smb://u@files/share": "files",
		`\\files\share\x`: "files", "/srv/x": "", "file:///srv/x": "", `D:\x`: "",
	} {
		if got := hostOf(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

// cards is a machine whose cards the test changes.
type cards struct{ now []networks.Card }

func (c *cards) list() ([]networks.Card, error) { return c.now, nil }

func loopback(addrs ...string) []networks.Card {
	c := networks.Card{Interface: net.Interface{Index: 1, Name: "lo", Flags: net.FlagUp | net.FlagRunning | net.FlagLoopback}, Kind: networks.Loop}
	for _, a := range addrs {
		c.Prefixes = append(c.Prefixes, netip.MustParsePrefix(a))
	}
	return []networks.Card{c}
}

// A member gets another address while it is connected: others know it by the new one, with the same name, and their connections to
// the old one end, whoever has that now.
func TestMemberMoves(t *testing.T) {
	fence := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	nets := func(c *cards) *networks.Networks { return networks.New(networks.Options{CIDRs: fence, List: c.list}) }
	here, there := &cards{loopback("127.0.0.1/8")}, &cards{loopback("127.0.0.2/8")}
	left := make(chan netip.Addr, 1)
	open := func(n *networks.Networks, moved func(netip.Addr)) *site.Site {
		s, err := site.New(site.Options{Name: t.Name(), Connections: 4, PeerPort: 4747, Networks: n, Moved: moved})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	stays := open(nets(here), func(a netip.Addr) { left <- a })
	n := nets(there)
	moves := open(n, nil)
	moves.Join([]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(stays.Port()))})
	member := func() site.Member {
		if all := stays.Members(); len(all) == 1 {
			return all[0]
		}
		return site.Member{}
	}
	soon(t, "they have met", func() bool { return member().Peer.Addr() == netip.MustParseAddr("127.0.0.2") })
	was := member()

	there.now = nil
	n.Look() // the old address goes first, as with DHCP
	time.Sleep(100 * time.Millisecond)
	there.now = loopback("127.0.0.3/8")
	n.Look()
	soon(t, "it is known at its new address", func() bool { return member().Peer.Addr() == netip.MustParseAddr("127.0.0.3") })
	if is := member(); is.ID != was.ID || is.Since != was.Since {
		t.Errorf("it became another member: %v, was %v", is, was)
	}
	select {
	case a := <-left:
		if a != netip.MustParseAddr("127.0.0.2") {
			t.Errorf("it left %v", a)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody was told that it left its old address")
	}
}

// A machine without a network starts, says so, and joins once it has an address.
func TestStartsWithoutANetwork(t *testing.T) {
	fence := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	bare := &cards{}
	n := networks.New(networks.Options{CIDRs: fence, List: bare.list})
	late, err := site.New(site.Options{Name: t.Name(), Connections: 4, Networks: n})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	other, err := site.New(site.Options{Name: t.Name(), Connections: 4,
		Networks: networks.New(networks.Options{CIDRs: fence, List: (&cards{loopback("127.0.0.1/8")}).list})})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	there := []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(other.Port()))}
	late.Join(there)
	if all := other.Members(); len(all) != 0 {
		t.Errorf("a member that is nowhere: %v", all)
	}
	bare.now = loopback("127.0.0.4/8")
	n.Look()
	soon(t, "both know each other", func() bool {
		late.Join(there)
		all := other.Members()
		return len(all) == 1 && all[0].Port.Addr() == netip.MustParseAddr("127.0.0.4") && len(late.Members()) == 1
	})
}

func TestFollow(t *testing.T) {
	c := &cards{loopback("127.0.0.1/8")}
	m := &moves{nets: networks.New(networks.Options{CIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, List: c.list})}
	if m.offline() {
		t.Error("a machine with an address is offline")
	}
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		m.follow(ctx, func() { told <- struct{}{} })
		close(ended)
	}()
	soon(t, "it is told of the change", func() bool {
		c.now = append(c.now, networks.Card{Interface: net.Interface{Name: fmt.Sprint("eth", len(c.now))}})
		m.nets.Look()
		select {
		case <-told:
			return true
		default:
			return false
		}
	})
	cancel()
	for {
		select {
		case <-told:
		case <-ended:
			if m.seen.Load() == 0 {
				t.Error("no change was counted")
			}
			return
		}
	}
}

func TestFetchWithoutANetwork(t *testing.T) {
	dir := tree(t)
	m := publish(t, dir, dir)
	a := run(t, Config{Site: t.Name(), CIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}) // this machine is not there
	dest := filepath.Join(t.TempDir(), "out")
	if _, err := a.Fetch(fetchContext(t), m, dest, FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, m, dest)
}

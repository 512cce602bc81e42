package scenario

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"handout/testlab/lab"
	"handout/testlab/room"
)

// ip runs ip(8) on a machine.
func (s *story) ip(on *lab.Machine, args string) {
	s.Helper()
	if _, err := on.Run(exec.Command("ip", strings.Fields(args)...)); err != nil {
		s.Fatalf("%s: ip %s: %v", on.Name, args, err)
	}
}

// Every machine has the same address on a bridge for containers, and a VPN like an Ethernet that holds the default route. They meet
// all the same, at the addresses they have on the LAN.
func TestLabContainersAndVPN(t *testing.T) {
	s := open(t, 3)
	var all []*room.Fetch
	for i, h := range s.Lab.Hosts {
		for _, card := range []struct{ name, addr string }{{"docker0", "172.17.0.1/16"}, {"tun0", "10.0.2.15/24"}} {
			s.ip(h, "link add "+card.name+" type bridge")
			s.ip(h, "addr add "+card.addr+" dev "+card.name)
			s.ip(h, "link set "+card.name+" up")
		}
		s.ip(h, "route replace default dev tun0")
		all = append(all, s.fetch(i))
	}
	f := s.end(all...)
	if f.MostConnections > 4 {
		t.Errorf("%d origin connections at once", f.MostConnections)
	}
	if full && f.Copies() > 1.1 {
		t.Errorf("they read the origin %.2f times", f.Copies())
	}
	for _, m := range all {
		if got := m.Last(); got.FromPeers == 0 {
			t.Errorf("%s got nothing from neighbours", m.Host.Name)
		}
	}
}

// The machine that began, and is steward, loses its address while all fetch and gets another a moment later; a latecomer has the
// old one. All finish, and who moved goes on.
func TestLabAddressChanges(t *testing.T) {
	s := open(t, 3)
	moves, late := s.Lab.Hosts[0], s.Lab.Hosts[2]
	old := moves.Addr.String() + "/16"
	all := []*room.Fetch{s.fetch(0), s.fetch(1)}
	s.until(all[0], 0.2)
	s.ip(moves, "addr del "+old+" dev eth0")
	time.Sleep(time.Second)
	moves.Addr = netip.MustParseAddr("10.78.7.7")
	s.ip(moves, "addr add "+moves.Addr.String()+"/16 dev eth0")
	moved := time.Now()
	s.ip(late, "addr add "+old+" dev eth0")
	all = append(all, s.fetch(2))
	s.end(all...)
	if at, ok := all[0].PublishedAt(); ok {
		t.Logf("it was done %.1f s after it had another address", at.Sub(moved).Seconds())
	}
	if last := all[2].Last(); last.FromPeers == 0 {
		t.Error("the latecomer got nothing from neighbours")
	}
}

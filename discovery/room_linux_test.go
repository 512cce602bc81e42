package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"handout/discovery/networks"
)

// soon is when something has happened for certain, on a busy machine too.
const soon = 5 * time.Second

func TestAgentsFindEachOther(t *testing.T) {
	const limit = 1500 * time.Millisecond
	for _, n := range []int{2, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			l := newLab(t)
			room := l.newLAN()
			var hosts []*host
			var all []string
			for i := range n {
				addr := fmt.Sprintf("10.0.0.%d", i+1)
				all = append(all, addr+":4747")
				hosts = append(hosts, l.newHost().plug(room, "eth0", addr+"/24"))
			}
			l.settle()
			var agents []*agent
			for _, h := range hosts {
				agents = append(agents, h.run(Options{Port: 4747}))
			}
			for i, a := range agents {
				var others []string
				others = append(append(others, all[:i]...), all[i+1:]...)
				t.Logf("agent %d knew all after %v", i, a.finds(limit, others...))
			}
			for i, a := range agents {
				if got := a.all(); len(got) != n-1 {
					t.Errorf("agent %d found %v, want the %d others", i, got, n-1)
				}
			}
		})
	}
}

// An agent that has been there for long is found at once by one that only listens, on a LAN of IPv4 alone.
func TestNewcomerFindsThePresent(t *testing.T) {
	l := newLab(t)
	room := l.newLAN()
	present := l.newHost().noIPv6().plug(room, "eth0", "10.0.0.1/24")
	newcomer := l.newHost().noIPv6().plug(room, "eth0", "10.0.0.2/24")
	l.settle()
	present.run(Options{Port: 4747})
	time.Sleep(2500 * time.Millisecond) // its greetings are over
	b := newcomer.run(Options{})
	if took := b.finds(soon, "10.0.0.1:4747"); took > time.Second {
		t.Errorf("took %v", took)
	} else {
		t.Logf("took %v", took)
	}
}

func TestIPv6Alone(t *testing.T) {
	l := newLab(t)
	room := l.newLAN()
	a := l.newHost().plug(room, "eth0", "fd00::1/64").run(Options{Port: 4747})
	b := l.newHost().plug(room, "eth0", "fd00::2/64").run(Options{Port: 4747})
	a.finds(soon, "[fd00::2]:4747") // the kernel needs a second or two to settle link-local addresses
	b.finds(soon, "[fd00::1]:4747")
}

// Agents on one machine share UDP 5353 and tell each other apart by their ports.
func TestSeveralAgentsOnOneMachine(t *testing.T) {
	l := newLab(t)
	room := l.newLAN()
	h := l.newHost().plug(room, "eth0", "10.0.0.1/24")
	guest := l.newHost().plug(room, "eth0", "10.0.0.2/24").run(Options{Port: 4747})
	a, b, c := h.run(Options{Port: 4747}), h.run(Options{Port: 4748}), h.run(Options{Port: 4749})
	a.finds(soon, "10.0.0.1:4748", "10.0.0.1:4749", "10.0.0.2:4747")
	b.finds(soon, "10.0.0.1:4747", "10.0.0.1:4749", "10.0.0.2:4747")
	c.finds(soon, "10.0.0.1:4747", "10.0.0.1:4748", "10.0.0.2:4747")
	guest.finds(soon, "10.0.0.1:4747", "10.0.0.1:4748", "10.0.0.1:4749")
	if _, ok := a.all()[netip.MustParseAddrPort("10.0.0.1:4747")]; ok {
		t.Error("an agent found itself")
	}
}

// A machine gets another address, or its first one long after the agent started.
func TestAddressChangeIsAnnounced(t *testing.T) {
	l := newLab(t)
	room := l.newLAN()
	a := l.newHost().plug(room, "eth0", "10.0.0.1/24").run(Options{Port: 4747})
	moving, late := l.newHost().plug(room, "eth0", "10.0.0.2/24"), l.newHost().plug(room, "eth0")
	b, c := moving.run(Options{Port: 4747}), late.run(Options{Port: 4747})
	a.finds(soon, "10.0.0.2:4747")
	moving.unaddr("eth0", "10.0.0.2/24")
	moving.addr("eth0", "10.0.0.22/24")
	late.addr("eth0", "10.0.0.3/24")
	a.finds(soon, "10.0.0.22:4747", "10.0.0.3:4747")
	c.finds(soon, "10.0.0.1:4747", "10.0.0.22:4747")
	b.finds(soon, "10.0.0.1:4747", "10.0.0.3:4747")
	if _, ok := b.all()[netip.MustParseAddrPort("10.0.0.22:4747")]; ok {
		t.Error("an agent took its own new address for a neighbour")
	}
}

// A server with a leg in another network announces there nothing where the site has a fence, and without one nothing of its
// other leg.
func TestMultiHomed(t *testing.T) {
	for _, c := range []struct {
		what  string
		cidrs []netip.Prefix
		there int // announced in the other network
	}{
		{"the fence decides", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}, 0},
		{"a room without a gateway counts", nil, 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			l := newLab(t)
			site, other := l.newLAN(), l.newLAN()
			server := l.newHost().plug(site, "eth0", "10.0.0.1/24").plug(other, "eth1", "192.168.5.1/24")
			server.gateway("eth0", "10.0.0.254")
			inside := l.newHost().plug(site, "eth0", "10.0.0.2/24").run(Options{})
			outside := l.newHost().plug(other, "eth0", "192.168.5.2/24").run(Options{})
			server.run(Options{Port: 4747, CIDRs: c.cidrs})
			inside.finds(soon, "10.0.0.1:4747")
			if c.there > 0 {
				outside.finds(soon, "192.168.5.1:4747")
			}
			time.Sleep(1200 * time.Millisecond) // both greetings are over
			if got := inside.all(); len(got) != 1 {
				t.Errorf("announced in its site: %v", got)
			}
			if got := outside.all(); len(got) != c.there {
				t.Errorf("announced elsewhere: %v", got)
			}
		})
	}
}

func TestSystemCards(t *testing.T) {
	l := newLab(t)
	h := l.newHost().plug(l.newLAN(), "eth0", "10.0.0.1/24").plug(l.newLAN(), "eth1", "192.168.5.1/16")
	h.gateway("eth0", "10.0.0.254")
	want := map[string]struct {
		addr    string
		gateway bool
	}{"lo": {"127.0.0.1/8", false}, "eth0": {"10.0.0.1/24", true}, "eth1": {"192.168.5.1/16", false}}
	var all []networks.Card
	l.must(h.inside(func() (err error) { all, err = networks.SystemCards(); return err }))
	for _, i := range all {
		w := want[i.Name]
		if !slices.Contains(i.Prefixes, netip.MustParsePrefix(w.addr)) || i.Gateway != w.gateway {
			t.Errorf("%s is %v, gateway %v; want %v", i.Name, i.Prefixes, i.Gateway, w)
		}
		delete(want, i.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// attacker is a machine on the LAN that sends what it likes from port 5353.
type attacker struct {
	t    *testing.T
	conn *net.UDPConn
	on   *net.Interface
}

func (h *host) attacker() attacker {
	h.l.t.Helper()
	a := attacker{t: h.l.t}
	h.l.must(h.inside(func() (err error) {
		ni, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		a.on = ni
		group := netip.MustParseAddrPort("224.0.0.251:5353")
		all, err := networks.SystemCards()
		if err != nil {
			return err
		}
		for _, i := range all {
			if i.Index == ni.Index {
				l, err := openLink(&i, group)
				if err != nil {
					return err
				}
				a.conn = l.conn
			}
		}
		return nil
	}))
	h.l.t.Cleanup(func() { a.conn.Close() })
	return a
}

func (a attacker) send(packet []byte) {
	a.t.Helper()
	if _, err := a.conn.WriteToUDPAddrPort(packet, netip.MustParseAddrPort("224.0.0.251:5353")); err != nil {
		a.t.Fatal(err)
	}
}

// A student's machine floods the room with ten thousand agents that don't exist, addresses of strangers' servers, and
// packets that are no DNS at all. Neighbours are found all the same.
func TestFloodOfLies(t *testing.T) {
	l := newLab(t)
	room := l.newLAN()
	victim := l.newHost().plug(room, "eth0", "10.0.0.1/24").run(Options{Port: 4747})
	evil := l.newHost().plug(room, "eth0", "10.0.0.66/24").attacker()

	evil.send(nil)
	for n := range 40 {
		evil.send(hello(testName, 4747, addrs("10.0.0.77"))[:n])
	}
	evil.send([]byte{0, 0, 0x84, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1})
	evil.send(manyRecords(t, 200))
	evil.send(make([]byte, 20_000))
	for _, a := range []string{"8.8.8.8", "127.0.0.1", "10.0.1.1", "255.255.255.255", "224.0.0.251", "0.0.0.0", "::1", "2001:db8::1"} {
		evil.send(hello(newLabel(), 80, addrs(a)))
	}
	for i := range 10_000 {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		evil.send(hello(newLabel(), 1+i, []netip.Addr{a}))
	}
	l.newHost().plug(room, "eth0", "10.0.0.2/24").run(Options{Port: 4747})
	victim.finds(soon, "10.0.0.2:4747")

	got := victim.all()
	if len(got) > 2*maxPerSource+1 { // two sweeps may have gone by
		t.Errorf("found %d addresses", len(got))
	}
	for a := range got {
		if !netip.MustParsePrefix("10.0.0.0/24").Contains(a.Addr()) {
			t.Errorf("found %v, which is no neighbour", a)
		}
	}
}

// One packet asks the same thing five thousand times, and then comes again and again: an agent must not become an
// amplifier.
func TestFloodOfQuestions(t *testing.T) {
	l := newLab(t)
	room := l.newLAN()
	l.newHost().plug(room, "eth0", "10.0.0.1/24").run(Options{Port: 4747})
	evil := l.newHost().plug(room, "eth0", "10.0.0.66/24").attacker()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{})
	b.EnableCompression()
	b.StartQuestions()
	for range 1000 {
		b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName("_handout._tcp.local."), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET})
	}
	packet, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	const span = 2500 * time.Millisecond
	end := time.Now().Add(span)
	go func() {
		for time.Now().Before(end) {
			evil.conn.WriteToUDPAddrPort(packet, netip.MustParseAddrPort("224.0.0.251:5353"))
			time.Sleep(10 * time.Millisecond)
		}
	}()
	answers := 0
	evil.conn.SetReadDeadline(end)
	buf := make([]byte, maxPacket)
	for {
		n, from, err := evil.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			break
		}
		if m, err := parse(buf[:n], nil); err == nil && len(m.response.agents()) > 0 && from.Addr() == netip.MustParseAddr("10.0.0.1") {
			answers++
		}
	}
	if answers < 2 || answers > 4 {
		t.Errorf("%d answers in %v, want about one a second", answers, span)
	}
}

// A packet from outside the LAN, sent straight to the agent's port 5353, is neither answered nor believed.
func TestPacketFromElsewhere(t *testing.T) {
	eth0 := nic("eth0", true, "10.0.0.1/24", "fe80::1/64")
	eth0.Index = 7
	l := &link{on: &eth0}
	for from, want := range map[string]bool{
		"10.0.0.2:5353":         true,
		"10.0.0.2:40000":        true, // a question from no mDNS software
		"10.0.1.2:5353":         false,
		"[fe80::2%eth0]:5353":   true,
		"[fe80::2%7]:5353":      true,
		"[fe80::2%eth1]:5353":   false,
		"[2001:db8::2]:5353":    false,
		"[::ffff:8.8.8.8]:5353": false,
	} {
		if got := l.onLink(netip.MustParseAddrPort(from)); got != want {
			t.Errorf("%s: %v, want %v", from, got, want)
		}
	}
}

// The last thing an agent says is that it is gone.
func TestGoodbye(t *testing.T) {
	l := newLab(t)
	room := l.newLAN()
	neighbour := l.newHost().plug(room, "eth0", "10.0.0.66/24").attacker()
	a := l.newHost().plug(room, "eth0", "10.0.0.1/24").run(Options{Port: 4747})

	heardFor := func(want uint32) {
		t.Helper()
		neighbour.conn.SetReadDeadline(time.Now().Add(soon))
		buf := make([]byte, maxPacket)
		for {
			n, _, err := neighbour.conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				t.Fatalf("no announcement for %d seconds: %v", want, err)
			}
			var p dnsmessage.Parser
			if h, err := p.Start(buf[:n]); err != nil || !h.Response || p.SkipAllQuestions() != nil {
				continue
			}
			if r, err := p.AnswerHeader(); err == nil && r.TTL == want {
				return
			}
		}
	}
	heardFor(recordSeconds)
	began := time.Now()
	a.stop()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("stopping took %v", took)
	}
	heardFor(0)
}

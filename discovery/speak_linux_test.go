package discovery

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
)

// hears waits for a packet that is right.
func (a attacker) hears(what string, right func(*dns.Msg) bool) {
	a.t.Helper()
	a.conn.SetReadDeadline(time.Now().Add(soon))
	buf := make([]byte, maxPacket)
	for {
		n, _, err := a.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			a.t.Fatalf("%s: nothing came: %v", what, err)
		}
		if m := new(dns.Msg); m.Unpack(buf[:n]) == nil && right(m) {
			return
		}
	}
}

// silent fails if an answer comes.
func (a attacker) silent(what string, d time.Duration) {
	a.t.Helper()
	a.conn.SetReadDeadline(time.Now().Add(d))
	buf := make([]byte, maxPacket)
	for {
		n, _, err := a.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if m := new(dns.Msg); m.Unpack(buf[:n]) == nil && m.Response {
			a.t.Errorf("%s: an answer came: %v", what, m)
		}
	}
}

func isHello(m *dns.Msg) bool { return m.Response && len(m.Answer) > 0 && m.Answer[0].Header().Ttl > 0 }

// settled returns an agent whose greetings are over, its name, and a machine that hears it.
func settled(t *testing.T) (evil attacker, name string) {
	h, stranger := pair("10.0.0.1/24", "10.0.0.2/24")(t)
	evil = stranger.attacker()
	h.run(Options{Port: 4747, Alone: func() bool { return false }}) // which answers its own questions, too
	for range 2 {
		evil.hears("the greetings", func(m *dns.Msg) bool {
			if !isHello(m) {
				return false
			}
			for _, r := range m.Answer {
				if a, ok := r.(*dns.A); ok {
					name, _, _ = strings.Cut(a.Hdr.Name, ".")
				}
			}
			return true
		})
	}
	time.Sleep(answerGap + 300*time.Millisecond)
	return evil, name
}

// dig and other programs that are no mDNS software ask from a port of their own, and hear no multicast.
func TestLegacyQuestion(t *testing.T) {
	t.Parallel()
	h, stranger := pair("10.0.0.1/24", "10.0.0.2/24")(t)
	h.run(Options{Port: 4747})
	var answer *dns.Msg
	h.l.must(stranger.inside(func() (err error) {
		for end := time.Now().Add(soon); ; time.Sleep(50 * time.Millisecond) {
			q := new(dns.Msg).SetQuestion("_handout._tcp.local.", dns.TypePTR)
			q.RecursionDesired = false
			answer, _, err = (&dns.Client{Timeout: time.Second}).Exchange(q, "10.0.0.1:5353")
			if err == nil || time.Now().After(end) { // the agent may not listen yet
				return err
			}
		}
	}))
	if len(answer.Answer) != 1 || len(answer.Question) != 1 || len(answer.Extra) < 3 {
		t.Errorf("got %v", answer)
	}
}

// Who asks to be answered alone is, as everybody else has heard it lately; and who has part of the answers says the rest in
// further packets.
func TestAnswersToOneOrNone(t *testing.T) {
	t.Parallel()
	evil, name := settled(t)
	// Multicast is not for this socket, which has left the group.
	alone := question{serviceName, kindPTR, classIN | topBit}
	if err := ipv4.NewPacketConn(evil.conn).LeaveGroup(evil.on, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251)}); err != nil {
		t.Fatal(err)
	}
	ipv4.NewPacketConn(evil.conn).SetMulticastLoopback(false)
	evil.send(ask(alone))
	evil.hears("an answer to one", isHello)
	if err := ipv4.NewPacketConn(evil.conn).JoinGroup(evil.on, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251)}); err != nil {
		t.Fatal(err)
	}

	known := func(ttl uint32) record {
		return record{name: serviceName, kind: kindPTR, class: classIN, ttl: ttl, data: []byte(serviceName.under(name))}
	}
	first := newWriter(0, flagTruncated)
	first.question(question{serviceName, kindPTR, classIN})
	rest := newWriter(0, 0)
	rest.record(answers, known(100))
	evil.send(first.b)
	evil.send(rest.b)
	evil.silent("the asker knows it", moreTime+700*time.Millisecond)
	evil.send(first.b)
	evil.hears("the asker does not say that it knows it", isHello)
}

// Whoever is about to take an agent's name is told at once that it is taken, and one that has it all the same has the agent
// take another, and not without end.
func TestNameIsTaken(t *testing.T) {
	t.Parallel()
	evil, name := settled(t)
	host := localDomain.under(name)
	probe := newWriter(0, 0)
	probe.question(question{host, kindANY, classIN | topBit})
	probe.record(authorities, record{name: host, kind: kindA, class: classIN, ttl: 120, data: []byte{10, 0, 0, 2}})
	evil.send(probe.b)
	evil.hears("it is taken", isHello)

	named := func(other string) func(*dns.Msg) bool {
		return func(m *dns.Msg) bool { return isHello(m) && !strings.Contains(m.String(), other) }
	}
	evil.send(hello(name, 4747, addrs("10.0.0.2")))
	var second string
	evil.hears("another name", func(m *dns.Msg) bool {
		if !named(name)(m) {
			return false
		}
		second, _, _ = strings.Cut(m.Answer[0].(*dns.PTR).Ptr, ".")
		return true
	})
	evil.send(hello(second, 4747, addrs("10.0.0.2")))
	evil.conn.SetReadDeadline(time.Now().Add(renameGap / 2))
	buf := make([]byte, maxPacket)
	for {
		n, from, err := evil.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			break
		}
		if m := new(dns.Msg); from.Addr() == netip.MustParseAddr("10.0.0.1") && m.Unpack(buf[:n]) == nil && named(second)(m) {
			t.Errorf("took a third name: %v", m)
		}
	}
}

package discovery

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

const testName = "0123456789abcdef"

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestAnswerIsUnderstood(t *testing.T) {
	m, err := parse(answer(testName, 4747, addrs("10.0.0.1", "fd00::1"), 120), "other")
	want := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:4747"), netip.MustParseAddrPort("[fd00::1]:4747")}
	if err != nil || m.asks || !slices.Equal(m.found, want) {
		t.Errorf("got %v, %v, want %v", m, err, want)
	}
	m, err = parse(answer(testName, 4747, addrs("10.0.0.1"), 0), "other")
	if err != nil || len(m.found) != 0 {
		t.Errorf("a goodbye was taken for a greeting: %v, %v", m, err)
	}
}

func TestQuestionsWeAnswer(t *testing.T) {
	if m, err := parse(question(), testName); err != nil || !m.asks {
		t.Errorf("our own question: %v, %v", m, err)
	}
	for name, want := range map[string]bool{
		"_HandOut._TCP.local.":             true, // names are compared without regard to case
		testName + "._handout._tcp.local.": true,
		testName + ".local.":               true,
		"x._handout._tcp.local.":           false,
		"_http._tcp.local.":                false,
		".":                                false,
	} {
		// In company of others, as bundled questions are (RFC 6762 section 5.3).
		b := dnsmessage.NewBuilder(nil, dnsmessage.Header{})
		b.StartQuestions()
		for _, n := range []string{"_printer._tcp.local.", name} {
			b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(n), Type: dnsmessage.TypeALL, Class: dnsmessage.ClassINET | cacheFlush})
		}
		packet, err := b.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if m, err := parse(packet, testName); err != nil || m.asks != want {
			t.Errorf("%s: got %v, %v, want %v", name, m.asks, err, want)
		}
	}
}

// manyRecords answers for n agents and n addresses of each in one packet: what its reader makes of it grows with n².
func manyRecords(t testing.TB, n int) []byte {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{Response: true})
	b.EnableCompression()
	b.StartAnswers()
	host := dnsmessage.MustNewName("h.local.")
	head := func(n string) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(n), Class: dnsmessage.ClassINET, TTL: 100}
	}
	for i := range n {
		b.SRVResource(head(fmt.Sprintf("%d.%s", i, serviceName)), dnsmessage.SRVResource{Target: host, Port: uint16(i + 1)})
	}
	for i := range n {
		b.AResource(head("h.local."), dnsmessage.AResource{A: [4]byte{10, 0, byte(i >> 8), byte(i)}})
	}
	packet, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func TestPacketThatMultiplies(t *testing.T) {
	for _, n := range []int{8, 32, 63, 500} {
		m, err := parse(manyRecords(t, n), testName)
		if err != nil || len(m.found) > maxRecords*maxRecords/4 {
			t.Errorf("%d agents with %d addresses: %d found, %v", n, n, len(m.found), err)
		}
	}
}

// FuzzParse: whatever a stranger sends, only what is plausible comes through, and not more than the bound.
func FuzzParse(f *testing.F) {
	f.Add(question())
	f.Add(answer(testName, 4747, addrs("10.0.0.1", "fd00::1", "8.8.8.8", "127.0.0.1"), 120))
	f.Add(answer(testName, 0, nil, 0))
	f.Add(manyRecords(f, 20))
	f.Add([]byte{0, 0, 0x84, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc0, 12}) // a name that points to itself
	eth0 := nic("eth0", true, "10.0.0.2/24", "fd00::2/64", "fe80::2/64")
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := parse(packet, testName)
		if err != nil && m.asks {
			t.Error("a question out of a broken packet")
		}
		if len(m.found) > maxRecords*maxRecords/4 {
			t.Errorf("%d addresses out of one packet", len(m.found))
		}
		for _, a := range m.found {
			p, ok := plausible(a, &eth0, nil)
			if !ok {
				continue
			}
			if p.Port() == 0 || !within(p.Addr().WithZone(""), eth0.Prefixes) || p.Addr().Is4In6() {
				t.Errorf("%v came through as %v", a, p)
			}
		}
	})
}

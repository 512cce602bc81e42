package discovery

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/dns/dnsmessage"
)

const testName = "0123456789abcdef"

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// hello and goodbye are what an agent called label says.
func hello(label string, port int, addrs []netip.Addr) []byte {
	return newSelf(label, port, addrs, notMine).hello()
}

func goodbye(label string, port int, addrs []netip.Addr) []byte {
	return newSelf(label, port, addrs, notMine).goodbye()
}

func someone(label string) *self { return newSelf(label, 4747, addrs("10.0.0.1"), notMine) }

func TestAnnouncementIsUnderstood(t *testing.T) {
	m, err := parse(hello(testName, 4747, addrs("10.0.0.1", "fd00::1")), someone("other"))
	want := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:4747"), netip.MustParseAddrPort("[fd00::1]:4747")}
	if got := m.response.agents(); err != nil || m.query.asks != 0 || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	m, err = parse(goodbye(testName, 4747, addrs("10.0.0.1")), someone("other"))
	if got := m.response.agents(); err != nil || len(got) != 0 || len(m.response.instances) != 0 {
		t.Errorf("a goodbye was taken for a greeting: %v, %v", got, err)
	}
}

// Another implementation reads what we write, and finds what RFC 6762 wants there.
func TestOthersReadOurMessages(t *testing.T) {
	me := newSelf(testName, 4747, addrs("10.0.0.1", "fd00::1"), notMine)
	m, err := parse(asked(t, nil, q(testName+".local.", dnsmessage.TypeA)), me)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what                     string
		packet                   []byte
		id, questions, answers   int
		additionals, most, flush int // records; seconds; records that replace others
	}{
		{"hello", me.hello(), 0, 0, 6, 2, recordSeconds, 6},
		{"goodbye", me.goodbye(), 0, 0, 5, 0, 0, 4},
		{"to who is no mDNS software", me.legacy(m.query), 77, 1, 1, 5, 10, 0},
		{"question", whoIsThere(), 0, 1, 0, 0, 0, 0},
	} {
		var d dnsmessage.Message
		if err := d.Unpack(c.packet); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(c.packet); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		flush := 0
		for _, r := range slices.Concat(m.Answer, m.Extra) {
			h := r.Header()
			if int(h.Ttl) > c.most || c.most > 0 && h.Ttl == 0 {
				t.Errorf("%s: %v", c.what, r)
			}
			if h.Class&topBit != 0 {
				flush++
				if h.Rrtype == dns.TypePTR {
					t.Errorf("%s: takes other agents' record away: %v", c.what, r)
				}
			}
		}
		if int(m.Id) != c.id || len(m.Question) != c.questions || len(m.Answer) != c.answers || len(m.Extra) != c.additionals || flush != c.flush {
			t.Errorf("%s, %d bytes: want %+v, got\n%v", c.what, len(c.packet), c, m)
		}
	}
}

func q(n string, k dnsmessage.Type) dnsmessage.Question {
	return dnsmessage.Question{Name: dnsmessage.MustNewName(n), Type: k, Class: dnsmessage.ClassINET}
}

// asked is a query, by another implementation, with these answers known.
func asked(t *testing.T, known []dnsmessage.Resource, qs ...dnsmessage.Question) []byte {
	t.Helper()
	packet, err := (&dnsmessage.Message{Header: dnsmessage.Header{ID: 77}, Questions: qs, Answers: known}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func TestQuestionsWeAnswer(t *testing.T) {
	me := newSelf(testName, 4747, addrs("10.0.0.1", "fd00::1"), notMine)
	const (
		any     = dnsmessage.TypeALL
		service = "_handout._tcp.local."
	)
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		want []kind
	}{
		{service, dnsmessage.TypePTR, []kind{kindPTR}},
		{"_HandOut._TCP.local.", dnsmessage.TypePTR, []kind{kindPTR}}, // names are compared without regard to case
		{service, any, []kind{kindPTR}},
		{service, dnsmessage.TypeSRV, nil},
		{"_services._dns-sd._udp.local.", dnsmessage.TypePTR, []kind{kindPTR}},
		{testName + "." + service, dnsmessage.TypeSRV, []kind{kindSRV}},
		{testName + "." + service, any, []kind{kindSRV, kindTXT}},
		{strings.ToUpper(testName) + "." + service, dnsmessage.TypeTXT, []kind{kindTXT}},
		{testName + "." + service, dnsmessage.TypeA, []kind{kindNSEC}}, // there is none
		{testName + ".local.", dnsmessage.TypeA, []kind{kindA}},
		{testName + ".local.", dnsmessage.TypeAAAA, []kind{kindAAAA}},
		{testName + ".LOCAL.", any, []kind{kindA, kindAAAA}},
		{testName + ".local.", dnsmessage.TypeHINFO, []kind{kindNSEC}},
		{"x." + service, any, nil},
		{"_http._tcp.local.", any, nil},
		{".", any, nil},
	} {
		// In company of others, as bundled questions are (RFC 6762 section 5.3).
		m, err := parse(asked(t, nil, q("_printer._tcp.local.", any), q(c.name, c.kind)), me)
		var got []kind
		for i, r := range me.records {
			if m.query.asks&(1<<i) != 0 {
				got = append(got, r.kind)
			}
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v of %s: got %v, %v, want %v", c.kind, c.name, got, err, c.want)
		}
	}
}

// A name may have a dot inside a label, in a question before ours and in an instance's own; x/net/dns/dnsmessage can't
// write one.
func TestDotInALabel(t *testing.T) {
	dotted := nameOf("Dr. Kühn's printer v1.2", "_ipp", "_tcp", "local")
	m, err := parse(ask(question{dotted, kindSRV, classIN}, question{serviceName, kindPTR, classIN}), someone(testName))
	if err != nil || m.query.asks == 0 {
		t.Errorf("a question after one with a dot: %v", err)
	}
	w := newWriter(0, flagResponse)
	instance := serviceName.under("Depot v1.2. 2nd floor")
	w.record(answers, record{name: instance, kind: kindSRV, class: classIN, ttl: 9,
		data: append([]byte{0, 0, 0, 0, 1, 2}, localDomain.under("depot.x")...)})
	w.record(answers, record{name: localDomain.under("DEPOT.X"), kind: kindA, class: classIN, ttl: 9, data: []byte{10, 0, 0, 9}})
	m, err = parse(w.b, nil)
	if got := m.response.agents(); err != nil || len(got) != 1 || got[0] != netip.MustParseAddrPort("10.0.0.9:258") {
		t.Errorf("got %v, %v", got, err)
	}
	// nameOf("depot", "x") is another name, though written the same.
	if nameOf("depot.x").is(nameOf("depot", "x")) {
		t.Error("a dot inside a label is taken for one between labels")
	}
}

// Who has our answer already, and for long enough, is not told again (RFC 6762 section 7.1).
func TestKnownAnswers(t *testing.T) {
	me := newSelf(testName, 4747, addrs("10.0.0.1", "10.0.0.2"), notMine)
	const service = "_handout._tcp.local."
	ptr := func(instance string, ttl uint32) dnsmessage.Resource {
		return dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(service), Class: dnsmessage.ClassINET, TTL: ttl},
			Body:   &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(instance + "." + service)},
		}
	}
	a := func(last byte) dnsmessage.Resource {
		return dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(testName + ".local."), Class: dnsmessage.ClassINET, TTL: 100},
			Body:   &dnsmessage.AResource{A: [4]byte{10, 0, 0, last}},
		}
	}
	for _, c := range []struct {
		what  string
		asked dnsmessage.Question
		known []dnsmessage.Resource
		want  bool
	}{
		{"nothing known", q(service, dnsmessage.TypePTR), nil, true},
		{"known", q(service, dnsmessage.TypePTR), []dnsmessage.Resource{ptr("x", 120), ptr(strings.ToUpper(testName), 119)}, false},
		{"known for too short a time", q(service, dnsmessage.TypePTR), []dnsmessage.Resource{ptr(testName, 59)}, true},
		{"others known", q(service, dnsmessage.TypePTR), []dnsmessage.Resource{ptr("x", 120)}, true},
		{"one address of two", q(testName+".local.", dnsmessage.TypeA), []dnsmessage.Resource{a(1), a(7)}, true},
		{"both addresses", q(testName+".local.", dnsmessage.TypeA), []dnsmessage.Resource{a(1), a(2)}, false},
	} {
		m, err := parse(asked(t, c.known, c.asked), me)
		if all, _ := m.query.needs(); err != nil || all != c.want {
			t.Errorf("%s: answered: %v, %v", c.what, all, err)
		}
	}
}

// Who says something else under our name has it too; who says the same, or an address that we have elsewhere, is us.
func TestNameClash(t *testing.T) {
	mine := map[netip.Addr]bool{netip.MustParseAddr("10.0.0.1"): true, netip.MustParseAddr("10.9.0.1"): true}
	me := newSelf(testName, 4747, addrs("10.0.0.1"), func(a netip.Addr) bool { return mine[a] })
	for what, c := range map[string]struct {
		packet []byte
		want   bool
	}{
		"our own words":          {me.hello(), false},
		"in capitals":            {hello(strings.ToUpper(testName), 4747, addrs("10.0.0.1")), false},
		"our other interface":    {hello(testName, 4747, addrs("10.9.0.1")), false},
		"a goodbye":              {goodbye(testName, 4748, addrs("10.0.0.7")), false},
		"another agent":          {hello("x", 4747, addrs("10.0.0.7")), false},
		"a copy of this machine": {hello(testName, 4747, addrs("10.0.0.7")), true},
		"a copy with IPv6":       {hello(testName, 4747, addrs("fd00::7")), true},
		"another port here":      {hello(testName, 4748, addrs("10.0.0.1")), true},
		"a question is no claim": {asked(t, nil, q(testName+".local.", dnsmessage.TypeA)), false},
		"an address of no bytes": {[]byte("\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\x10" + testName + "\x05local\x00\x00\x01\x00\x01\x00\x00\x00\x09\x00\x00"), false},
	} {
		m, err := parse(c.packet, me)
		if err != nil || m.response.clash != c.want {
			t.Errorf("%s: clash: %v, %v", what, m.response.clash, err)
		}
	}
}

// A loop of pointers, one that leads forward, a name that grows without end: each ends, as no message.
func TestNamesThatDoNotEnd(t *testing.T) {
	head := "\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00"
	long := strings.Repeat("\x3f"+strings.Repeat("a", 63), 4)
	for what, n := range map[string]string{
		"to itself": "\xc0\x0c", "to each other": "\xc0\x0e\xc0\x0c", "forward": "\xc0\x20", "a label and back": "\x01a\xc0\x0c",
		"too long": long + "\x00", "unfinished": "\x05ab", "a label of 64": "\x40" + strings.Repeat("a", 64) + "\x00", "nothing": "",
	} {
		if _, err := parse([]byte(head+n+"\x00\x01\x00\x01\x00\x00\x00\x09\x00\x04\x01\x02\x03\x04"), nil); err == nil && what != "nothing" {
			t.Errorf("%s: taken for a name", what)
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
		b.SRVResource(head(fmt.Sprintf("%d._handout._tcp.local.", i)), dnsmessage.SRVResource{Target: host, Port: uint16(i + 1)})
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
		m, err := parse(manyRecords(t, n), nil)
		if found := m.response.agents(); err != nil || len(found) > maxServers*maxAddresses {
			t.Errorf("%d agents with %d addresses: %d found, %v", n, n, len(found), err)
		}
	}
}

// What is heard in parts is put together, in bounds.
func TestResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r resolver
		depot, host := serviceName.under("depot"), localDomain.under("host")
		if _, curious := r.take(response{instances: []name{depot}}); !curious {
			t.Error("an instance without its server")
		}
		if got := r.questions(); len(got) != 1 || got[0] != (question{depot, kindSRV, classIN}) {
			t.Errorf("asks %v", got)
		}
		if found, curious := r.take(response{servers: []server{{depot, host, 80}}}); len(found) != 0 || !curious {
			t.Errorf("a server without an address: %v", found)
		}
		if got := r.questions(); len(got) != 2 || got[0] != (question{host, kindA, classIN}) {
			t.Errorf("asks %v", got)
		}
		found, curious := r.take(response{addresses: []address{{localDomain.under("HOST"), netip.MustParseAddr("10.0.0.1")}}})
		if len(found) != 1 || found[0] != netip.MustParseAddrPort("10.0.0.1:80") || curious || len(r.open) != 0 {
			t.Errorf("found %v; still open: %v", found, r.open)
		}

		for i := range 1000 { // nobody answers for these
			label := fmt.Sprint(i)
			r.take(response{instances: []name{serviceName.under(label)}, servers: []server{{serviceName.under("y" + label), localDomain.under(label), 1}}})
			if got := r.questions(); len(got) > maxAsked {
				t.Fatalf("%d questions at once", len(got))
			}
		}
		if len(r.open) > maxOpen {
			t.Errorf("%d are remembered", len(r.open))
		}
		for range askTimes * maxOpen {
			r.questions()
		}
		if got := r.questions(); got != nil {
			t.Errorf("asked without end: %v", got)
		}
		time.Sleep(openTime + time.Second)
		if _, curious := r.take(response{instances: []name{depot}}); !curious || len(r.open) != 1 {
			t.Errorf("what nobody answers stays: %d", len(r.open))
		}
	})
}

// FuzzParse: whatever a stranger sends, only what is plausible comes through, and not more than the bound.
func FuzzParse(f *testing.F) {
	f.Add(whoIsThere())
	f.Add(ask(question{nameOf("a.b", "c"), kindSRV, classIN}, question{everyService, kindANY, classIN | topBit}))
	f.Add(hello(testName, 4747, addrs("10.0.0.1", "fd00::1", "8.8.8.8", "127.0.0.1")))
	f.Add(goodbye(testName, 0, nil))
	f.Add(manyRecords(f, 20))
	f.Add([]byte{0, 0, 0x84, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc0, 12}) // a name that points to itself
	eth0 := nic("eth0", true, "10.0.0.2/24", "fd00::2/64", "fe80::2/64")
	me := newSelf(testName, 4747, addrs("10.0.0.2", "fd00::2"), notMine)
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := parse(packet, me)
		if err != nil && m.query.asks != 0 {
			t.Error("a question out of a broken packet")
		}
		if m.query.asks != 0 {
			if _, err := parse(me.legacy(m.query), nil); err != nil {
				t.Errorf("our answer is not read: %v", err)
			}
			if n := len(me.legacy(m.query)); n > len(packet)+1000 {
				t.Errorf("%d bytes are answered with %d", len(packet), n)
			}
		}
		var r resolver
		found, _ := r.take(m.response)
		if len(found) > maxServers*maxAddresses || len(r.open) > maxOpen {
			t.Errorf("%d addresses and %d open questions out of one packet", len(found), len(r.open))
		}
		if _, err := parse(ask(r.questions()...), me); err != nil {
			t.Errorf("our question is not read: %v", err)
		}
		for _, a := range found {
			p, ok := plausible(a, &eth0, nil)
			if !ok {
				continue
			}
			if p.Port() == 0 || !eth0.Holds(p.Addr()) || p.Addr().Is4In6() {
				t.Errorf("%v came through as %v", a, p)
			}
		}
	})
}

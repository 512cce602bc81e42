package discovery

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	serviceName = "_handout._tcp.local."
	version     = "v=1" // the only thing a TXT record says

	maxPacket  = 9000 // bytes of a message (RFC 6762 section 17); a longer one is not read
	maxRecords = 64   // looked at in one message; an agent's has a dozen at most

	recordSeconds = 120 // how long others may keep what we say (RFC 6762 section 10)

	// cacheFlush marks a record as ours alone, so that it replaces what was heard before; in a question the same bit asks
	// for an answer to the asker only, which is not done here (RFC 6762 sections 5.4 and 10.2).
	cacheFlush = 1 << 15
)

// newName makes the label an agent is known by on the air. It is random, so it names nobody, and needs no probing for
// clashes (RFC 6762 section 8.1).
func newName() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// question asks who offers the service.
func question() []byte { return questionFor(serviceName) }

func questionFor(name string) []byte {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{})
	err := b.StartQuestions()
	if err == nil {
		err = b.Question(dnsmessage.Question{
			Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET,
		})
	}
	return finish(&b, err)
}

// answer says that the agent called name is at these addresses for the given number of seconds, 0 taking it back: the
// records of DNS-SD (RFC 6763), all in one message.
func answer(name string, port int, addrs []netip.Addr, seconds uint32) []byte {
	service := dnsmessage.MustNewName(serviceName)
	instance := dnsmessage.MustNewName(name + "." + serviceName)
	host := dnsmessage.MustNewName(name + ".local.")
	head := func(n dnsmessage.Name, class dnsmessage.Class) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: n, Class: class, TTL: seconds}
	}
	const shared, ours = dnsmessage.ClassINET, dnsmessage.ClassINET | cacheFlush

	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{Response: true, Authoritative: true})
	b.EnableCompression()
	err := b.StartAnswers()
	add := func(e error) {
		if err == nil {
			err = e
		}
	}
	add(b.PTRResource(head(service, shared), dnsmessage.PTRResource{PTR: instance}))
	add(b.SRVResource(head(instance, ours), dnsmessage.SRVResource{Port: uint16(port), Target: host}))
	add(b.TXTResource(head(instance, ours), dnsmessage.TXTResource{TXT: []string{version}}))
	for _, a := range addrs {
		if a.Is4() {
			add(b.AResource(head(host, ours), dnsmessage.AResource{A: a.As4()}))
		} else {
			add(b.AAAAResource(head(host, ours), dnsmessage.AAAAResource{AAAA: a.As16()}))
		}
	}
	return finish(&b, err)
}

// finish returns the message. Only names and record counts of our own making go in, so an error is a bug.
func finish(b *dnsmessage.Builder, err error) []byte {
	if err == nil {
		var msg []byte
		if msg, err = b.Finish(); err == nil {
			return msg
		}
	}
	panic(fmt.Sprintf("discovery: build a DNS message: %v", err))
}

// message is what a packet means to us.
type message struct {
	asks  bool             // for the service, or for the instance or host called name
	found []netip.AddrPort // agents it says are there; not checked for anything
}

// parse reads a packet from a stranger. What it returns is bounded by the packet's records, of which it looks at no more
// than maxRecords; an answer whose records are spread over several packets is not understood, and agents send none.
func parse(packet []byte, name string) (message, error) {
	var m message
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	if err != nil {
		return m, fmt.Errorf("read DNS header: %w", err)
	}
	if h.OpCode != 0 || h.RCode != 0 {
		return m, nil // to be ignored (RFC 6762 sections 18.3 and 18.11)
	}
	if !h.Response {
		m.asks, err = asksFor(&p, name)
		return m, err
	}
	if err := p.SkipAllQuestions(); err != nil {
		return m, fmt.Errorf("skip questions: %w", err)
	}
	m.found, err = agentsIn(&p)
	return m, err
}

func asksFor(p *dnsmessage.Parser, name string) (bool, error) {
	for range maxRecords {
		q, err := p.Question()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil {
			return false, fmt.Errorf("read question: %w", err)
		}
		if q.Class&^cacheFlush != dnsmessage.ClassINET {
			continue
		}
		n := q.Name.String()
		if same(n, serviceName) || same(n, name+"."+serviceName) || same(n, name+".local.") {
			return true, nil
		}
	}
	return false, nil
}

// agentsIn joins the SRV records of our service with the addresses of the hosts they name.
func agentsIn(p *dnsmessage.Parser) ([]netip.AddrPort, error) {
	type server struct {
		host string
		port uint16
	}
	type address struct {
		host string
		addr netip.Addr
	}
	var servers []server
	var addresses []address
	looked := 0
	read := func(header func() (dnsmessage.ResourceHeader, error), skip func() error) error {
		for ; looked < maxRecords; looked++ {
			h, err := header()
			if err == dnsmessage.ErrSectionDone {
				return nil
			}
			if err != nil {
				return err
			}
			n := h.Name.String()
			live := h.TTL > 0 && h.Class&^cacheFlush == dnsmessage.ClassINET
			switch {
			case live && h.Type == dnsmessage.TypeSRV && offersService(n):
				r, err := p.SRVResource()
				if err != nil {
					return err
				}
				servers = append(servers, server{r.Target.String(), r.Port})
			case live && h.Type == dnsmessage.TypeA:
				r, err := p.AResource()
				if err != nil {
					return err
				}
				addresses = append(addresses, address{n, netip.AddrFrom4(r.A)})
			case live && h.Type == dnsmessage.TypeAAAA:
				r, err := p.AAAAResource()
				if err != nil {
					return err
				}
				addresses = append(addresses, address{n, netip.AddrFrom16(r.AAAA)})
			default:
				if err := skip(); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := read(p.AnswerHeader, p.SkipAnswer); err != nil {
		return nil, fmt.Errorf("read answers: %w", err)
	}
	if looked < maxRecords {
		if err := p.SkipAllAuthorities(); err != nil {
			return nil, fmt.Errorf("skip authorities: %w", err)
		}
		if err := read(p.AdditionalHeader, p.SkipAdditional); err != nil {
			return nil, fmt.Errorf("read additional records: %w", err)
		}
	}
	var found []netip.AddrPort
	for _, s := range servers {
		for _, a := range addresses {
			if same(a.host, s.host) {
				found = append(found, netip.AddrPortFrom(a.addr, s.port))
			}
		}
	}
	return found, nil
}

// offersService reports whether name is that of some instance of the service.
func offersService(name string) bool {
	i := len(name) - len(serviceName)
	return i > 1 && name[i-1] == '.' && same(name[i:], serviceName)
}

// same compares names as DNS does.
func same(a, b string) bool { return strings.EqualFold(a, b) }

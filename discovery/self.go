package discovery

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
)

var (
	localDomain  = nameOf("local")
	serviceName  = nameOf("_handout", "_tcp", "local")
	everyService = nameOf("_services", "_dns-sd", "_udp", "local") // RFC 6763 section 9
)

const (
	version = "v=1" // the only thing a TXT record says

	// recordSeconds is how long others may keep what we say. RFC 6762 section 10 has 75 minutes for what names no host; but
	// an agent's name is new each time it starts, and one that was switched off shall not be seen for so long.
	recordSeconds = 120
	// legacySeconds is the same for an asker that hears no goodbye (section 6.7).
	legacySeconds = 10

	// maxOwn bounds the addresses that an interface announces. What one sender may have others remember is as much.
	maxOwn = maxPerSource
)

// newLabel makes the label an agent is known by on the air. It is random, so it names nobody, and needs no probing for
// clashes (RFC 6762 section 8.1).
func newLabel() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// self is an agent as one link knows it: the records of DNS-SD (RFC 6763) that say where it is.
type self struct {
	instance, host name
	records        []record
	shared         wanted // the records whose names other agents have too
	mine           func(netip.Addr) bool
}

// wanted is a set of a self's records, by their index.
type wanted uint64

// newSelf is the agent called label at these addresses; mine tells the machine's, on all its cards.
func newSelf(label string, port int, addrs []netip.Addr, mine func(netip.Addr) bool) *self {
	s := &self{instance: serviceName.under(label), host: localDomain.under(label), mine: mine}
	add := func(n name, k kind, class uint16, data []byte) {
		s.records = append(s.records, record{name: n, kind: k, class: class, ttl: recordSeconds, data: data})
	}
	const shared, ours = classIN, classIN | topBit
	add(serviceName, kindPTR, shared, []byte(s.instance))
	add(everyService, kindPTR, shared, []byte(serviceName))
	s.shared = 1<<len(s.records) - 1
	srv := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(port))
	add(s.instance, kindSRV, ours, append(srv, s.host...))
	add(s.instance, kindTXT, ours, append([]byte{byte(len(version))}, version...))
	kinds := []kind{}
	for _, a := range addrs[:min(len(addrs), maxOwn)] {
		k := kindAAAA
		if a.Is4() {
			k = kindA
		}
		kinds = append(kinds, k)
		add(s.host, k, ours, a.AsSlice())
	}
	// That there is nothing else under these names, or who asks for it asks again and again.
	add(s.instance, kindNSEC, ours, onlyKinds(s.instance, kindTXT, kindSRV))
	add(s.host, kindNSEC, ours, onlyKinds(s.host, kinds...))
	return s
}

// onlyKinds is the data of a record that says that n has records of these kinds and no others (RFC 6762 section 6.1).
func onlyKinds(n name, kinds ...kind) []byte {
	var bits [32]byte
	for _, k := range kinds {
		bits[k/8] |= 0x80 >> (k % 8)
	}
	used := bytes.TrimRight(bits[:], "\x00")
	return slices.Concat([]byte(n), []byte{0, byte(len(used))}, used)
}

// match is what a question asks of us.
func (s *self) match(q question) (all wanted) {
	if class := q.class &^ topBit; class != classIN && class != classANY {
		return 0
	}
	var denial wanted
	for i, r := range s.records {
		switch {
		case !q.name.is(r.name):
		case r.kind == kindNSEC:
			denial = 1 << i
		case q.kind == r.kind || q.kind == kindANY:
			all |= 1 << i
		}
	}
	if all == 0 {
		return denial
	}
	return all
}

// known is which of our records somebody has who says so, and will have for as long as it takes to ask again.
func (s *self) known(r *reader, said record) (which wanted) {
	if said.ttl < recordSeconds/2 || said.class&^topBit != classIN {
		return 0
	}
	for i, own := range s.records {
		if said.kind == own.kind && said.name.is(own.name) && own.saysThe(r, said) {
			which |= 1 << i
		}
	}
	return which
}

// clashes reports whether a record that was said is not ours though its name is (RFC 6762 section 9). A machine that was
// copied while it ran has our name and, as a rule, another address. The same name with an address that we have on another
// interface is us.
func (s *self) clashes(r *reader, said record) bool {
	sameName := false
	for _, own := range s.records {
		if own.class&topBit == 0 || own.kind == kindNSEC || said.kind != own.kind || !said.name.is(own.name) {
			continue
		}
		sameName = true
		if own.saysThe(r, said) {
			return false
		}
	}
	if said.kind == kindA || said.kind == kindAAAA {
		addr, ok := netip.AddrFromSlice(said.data)
		return ok && said.name.is(s.host) && !s.mine(addr)
	}
	return sameName
}

// saysThe reports whether our record's data is that of a record of the same kind in a packet, where names may be compressed.
func (own record) saysThe(r *reader, said record) bool {
	names := map[kind]int{kindPTR: 0, kindSRV: srvName}
	from, isNamed := names[own.kind]
	if !isNamed {
		return bytes.Equal(own.data, said.data)
	}
	if len(said.data) < from || !bytes.Equal(own.data[:from], said.data[:from]) {
		return false
	}
	n, err := r.nameIn(said, from)
	return err == nil && n.is(name(own.data[from:]))
}

// hello says everything, as an announcement and as every answer by multicast: who has asked for one record asks for another
// next, grandcat/zeroconf takes only what comes in one packet, and all others hear it too.
func (s *self) hello() []byte {
	w := newWriter(0, flagResponse|flagAuthoritative)
	for _, r := range s.records {
		if r.kind != kindNSEC {
			w.record(answers, r)
		}
	}
	for _, r := range s.records {
		if r.kind == kindNSEC {
			w.record(additionals, r)
		}
	}
	return w.b
}

// goodbye takes it back. That the service exists at all is not ours to take back.
func (s *self) goodbye() []byte {
	w := newWriter(0, flagResponse|flagAuthoritative)
	for _, r := range s.records {
		if r.kind != kindNSEC && !r.name.is(everyService) {
			r.ttl = 0
			w.record(answers, r)
		}
	}
	return w.b
}

// legacy answers somebody who is no mDNS software, and speaks to us as to any name server (RFC 6762 section 6.7): dig, say.
func (s *self) legacy(q query) []byte {
	w := newWriter(q.id, flagResponse|flagAuthoritative)
	for _, asked := range q.questions {
		asked.class &^= topBit
		w.question(asked)
	}
	for _, sec := range []section{answers, additionals} {
		for i, r := range s.records {
			if isAsked := q.asks&(1<<i) != 0; isAsked != (sec == answers) || !isAsked && r.kind == kindNSEC {
				continue
			}
			r.class, r.ttl = r.class&^topBit, legacySeconds
			w.record(sec, r)
		}
	}
	return w.b
}

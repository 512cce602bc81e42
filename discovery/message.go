package discovery

import (
	"fmt"
	"net/netip"
)

const (
	maxPacket = 9000 // bytes of a message (RFC 6762 section 17); a longer one is not read

	// What is looked at in one message. An agent's has a dozen records; a machine that offers many things, or knows many
	// answers already, says so in some hundreds.
	maxQuestions = 64
	maxRecords   = 512
	// And what is kept of it until the next one: agents, and addresses of whatever host.
	maxServers   = 32
	maxAddresses = 64
)

// message is what a packet means to us: a query or a response.
type message struct {
	query    query
	response response
}

// query is what others ask.
type query struct {
	id        uint16
	questions []question // as asked; for an asker that wants them back
	asks      wanted     // records that are asked for
	alone     wanted     // those of them that only questions for an answer by unicast ask for
	known     wanted     // records that the asker has already (RFC 6762 section 7.1)
	probes    bool       // somebody is about to take a name (section 8.1)
	more      bool       // what else the asker has follows (section 7.2)
}

// response is what others say; not checked for anything.
type response struct {
	instances []name    // of the service
	servers   []server  // of instances of the service
	addresses []address // of any host
	clash     bool      // somebody uses this agent's name
}

type server struct {
	instance, host name
	port           uint16
}

type address struct {
	host name
	addr netip.Addr
}

// parse reads a packet from a stranger, for an agent or, nil, for somebody who only listens. What it returns is bounded.
func parse(packet []byte, me *self) (m message, err error) {
	r := reader{msg: packet}
	h, err := r.header()
	if err != nil {
		return m, err
	}
	if h.flags&flagsOpRCode != 0 {
		return m, nil
	}
	if h.flags&flagResponse == 0 {
		m.query, err = parseQuery(&r, h, me)
		if err != nil {
			return message{}, fmt.Errorf("read a query: %w", err)
		}
		return m, nil
	}
	m.response, err = parseResponse(&r, h, me)
	if err != nil {
		return message{}, fmt.Errorf("read a response: %w", err)
	}
	return m, nil
}

func parseQuery(r *reader, h header, me *self) (q query, err error) {
	q.id, q.more = h.id, h.flags&flagTruncated != 0
	if me == nil || h.questions > maxQuestions {
		return q, nil
	}
	for range h.questions {
		asked, err := r.question()
		if err != nil {
			return q, err
		}
		match := me.match(asked)
		if match == 0 {
			continue
		}
		q.questions = append(q.questions, asked)
		if asked.class&topBit != 0 {
			q.alone |= match &^ q.asks
		} else {
			q.alone &^= match
		}
		q.asks |= match
		q.probes = q.probes || h.authorities > 0 && match&me.shared == 0
	}
	for range min(h.answers, maxRecords) {
		a, err := r.record()
		if err != nil {
			return q, err
		}
		q.known |= me.known(r, a)
	}
	return q, nil
}

// needs is the answer that a query gets: one to all, one to the asker alone, or none.
func (q query) needs() (all, alone bool) {
	open := q.asks &^ q.known
	return open&^q.alone != 0, open != 0 && open&^q.alone == 0
}

func parseResponse(r *reader, h header, me *self) (m response, err error) {
	for range h.questions { // there should be none (RFC 6762 section 6)
		if _, err := r.question(); err != nil {
			return m, err
		}
	}
	for range min(h.answers+h.authorities+h.additionals, maxRecords) {
		rec, err := r.record()
		if err != nil {
			return m, err
		}
		if rec.ttl == 0 || rec.class&^topBit != classIN {
			continue
		}
		if me != nil && me.clashes(r, rec) {
			m.clash = true
		}
		switch {
		case rec.kind == kindPTR && rec.name.is(serviceName):
			instance, err := r.nameIn(rec, 0)
			if err != nil {
				return m, err
			}
			if instance.isBeneath(serviceName) && len(m.instances) < maxServers {
				m.instances = append(m.instances, instance)
			}
		case rec.kind == kindSRV && rec.name.isBeneath(serviceName) && len(rec.data) > srvName:
			host, err := r.nameIn(rec, srvName)
			if err != nil {
				return m, err
			}
			if len(m.servers) < maxServers {
				m.servers = append(m.servers, server{rec.name, host, uint16(rec.data[4])<<8 | uint16(rec.data[5])})
			}
		case (rec.kind == kindA && len(rec.data) == 4 || rec.kind == kindAAAA && len(rec.data) == 16) && len(m.addresses) < maxAddresses:
			addr, _ := netip.AddrFromSlice(rec.data)
			m.addresses = append(m.addresses, address{rec.name, addr})
		}
	}
	return m, nil
}

// srvName is where in a server's record its name begins, after priority, weight and port.
const srvName = 6

// agents are those of whom a response says everything.
func (m response) agents() (found []netip.AddrPort) {
	for _, s := range m.servers {
		found = append(found, s.at(m.addresses)...)
	}
	return found
}

func (s server) at(addresses []address) (found []netip.AddrPort) {
	for _, a := range addresses {
		if a.host.is(s.host) {
			found = append(found, netip.AddrPortFrom(a.addr, s.port))
		}
	}
	return found
}

// ask is a query for these.
func ask(all ...question) []byte {
	w := newWriter(0, 0)
	for _, q := range all {
		w.question(q)
	}
	return w.b
}

// whoIsThere asks who offers the service.
func whoIsThere() []byte { return ask(question{serviceName, kindPTR, classIN}) }

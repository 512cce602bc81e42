package discovery

import (
	"encoding/binary"
	"errors"
)

// DNS messages on the wire (RFC 1035 section 4.1), as little of them as multicast DNS needs. x/net/dns/dnsmessage refuses
// a whole packet for one dot inside a label, and people's names for services have dots: "Depot, 2nd floor. Dr. Kühn's".

// name is a domain name as it is on the wire, labels with their lengths and the root's empty one, but without compression.
// A label may hold any byte.
type name string

const maxName = 255 // bytes (RFC 1035 section 2.3.4)

// nameOf makes a name of labels of 1 to 63 bytes each.
func nameOf(labels ...string) name {
	var b []byte
	for _, l := range labels {
		b = append(append(b, byte(len(l))), l...)
	}
	return name(append(b, 0))
}

// under is the name that this label makes beneath n.
func (n name) under(label string) name { return name([]byte{byte(len(label))}) + name(label) + n }

// is compares names as DNS does: without regard to the case of ASCII letters, and of no others (RFC 6762 section 16). A
// label's length is below 64, where letters begin, and so is compared as it stands.
func (n name) is(o name) bool {
	if len(n) != len(o) {
		return false
	}
	for i := range len(n) {
		if lower(n[i]) != lower(o[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// isBeneath reports whether n has more labels than parent and ends in it.
func (n name) isBeneath(parent name) bool {
	for len(n) > len(parent) && n[0] != 0 {
		if n = n[1+n[0]:]; n.is(parent) {
			return true
		}
	}
	return false
}

type kind uint16

const (
	kindA    kind = 1
	kindPTR  kind = 12
	kindTXT  kind = 16
	kindAAAA kind = 28
	kindSRV  kind = 33
	kindNSEC kind = 47 // says which kinds a name has (RFC 6762 section 6.1)
	kindANY  kind = 255

	classIN  = 1
	classANY = 255
	// topBit of a class marks, in an answer, a record as the sender's alone, so that it replaces what was heard before; in a
	// question it asks for an answer to the asker only (RFC 6762 sections 5.4 and 10.2).
	topBit = 1 << 15
)

type question struct {
	name  name
	kind  kind
	class uint16 // with topBit
}

type record struct {
	name  name
	kind  kind
	class uint16 // with topBit
	ttl   uint32 // seconds
	data  []byte // as in the packet, where names may be compressed
	at    int    // of data in the packet
}

// header is a message's beginning.
type header struct {
	id, flags uint16
	// how many there are: questions, answers, authorities, additional records
	questions, answers, authorities, additionals int
}

const (
	flagResponse      = 1 << 15
	flagAuthoritative = 1 << 10
	flagTruncated     = 1 << 9
	flagsOpRCode      = 0x780f // neither is 0 in a message to be ignored (RFC 6762 sections 18.3 and 18.11)

	headerBytes = 12
)

var errBroken = errors.New("no DNS message")

// reader goes through a stranger's packet.
type reader struct {
	msg []byte
	at  int
}

func (r *reader) header() (h header, err error) {
	if len(r.msg) < headerBytes {
		return h, errBroken
	}
	field := func(n int) uint16 { return binary.BigEndian.Uint16(r.msg[2*n:]) }
	r.at = headerBytes
	return header{field(0), field(1), int(field(2)), int(field(3)), int(field(4)), int(field(5))}, nil
}

func (r *reader) bytes(n int) ([]byte, error) {
	if len(r.msg)-r.at < n {
		return nil, errBroken
	}
	r.at += n
	return r.msg[r.at-n : r.at : r.at], nil
}

func (r *reader) question() (q question, err error) {
	if q.name, err = r.name(); err != nil {
		return q, err
	}
	b, err := r.bytes(4)
	if err != nil {
		return q, err
	}
	q.kind, q.class = kind(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint16(b[2:])
	return q, nil
}

func (r *reader) record() (rec record, err error) {
	if rec.name, err = r.name(); err != nil {
		return rec, err
	}
	b, err := r.bytes(10)
	if err != nil {
		return rec, err
	}
	rec.kind, rec.class = kind(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint16(b[2:])
	rec.ttl = binary.BigEndian.Uint32(b[4:])
	rec.at = r.at
	rec.data, err = r.bytes(int(binary.BigEndian.Uint16(b[8:])))
	return rec, err
}

// name reads a name. A pointer leads to what came before the name only, and each further one before that, so this ends.
func (r *reader) name() (name, error) {
	var b []byte
	next := -1 // where reading goes on after the first pointer
	for at, limit := r.at, r.at; ; {
		if at >= len(r.msg) {
			return "", errBroken
		}
		switch c := int(r.msg[at]); {
		case c == 0:
			if next < 0 {
				next = at + 1
			}
			r.at = next
			return name(append(b, 0)), nil
		case c < 64:
			if at+1+c > len(r.msg) || len(b)+1+c >= maxName {
				return "", errBroken
			}
			b = append(b, r.msg[at:at+1+c]...)
			at += 1 + c
		case c >= 0xc0 && at+1 < len(r.msg):
			if next < 0 {
				next = at + 2
			}
			at = (c&0x3f)<<8 | int(r.msg[at+1])
			if at >= limit {
				return "", errBroken
			}
			limit = at
		default:
			return "", errBroken
		}
	}
}

// nameIn reads the name that a record's data is from the given byte on.
func (r *reader) nameIn(rec record, from int) (name, error) {
	inner := reader{r.msg[:rec.at+len(rec.data)], rec.at + from}
	return inner.name()
}

// writer builds a message. What it is given is of our own making and fits.
type writer struct {
	b     []byte
	known map[name]int // where a name begins that others may point to
}

func newWriter(id, flags uint16) *writer {
	w := &writer{make([]byte, headerBytes, 512), map[name]int{}}
	binary.BigEndian.PutUint16(w.b, id)
	binary.BigEndian.PutUint16(w.b[2:], flags)
	return w
}

// section is one of a message's four, by the place of its count in the header.
type section int

const (
	questions   section = 4
	answers     section = 6
	authorities section = 8
	additionals section = 10
)

func (w *writer) count(s section) {
	binary.BigEndian.PutUint16(w.b[s:], binary.BigEndian.Uint16(w.b[s:])+1)
}

// name writes n, by a pointer from where its end was written before.
func (w *writer) name(n name) {
	for n[0] != 0 {
		if at, ok := w.known[n]; ok {
			w.b = binary.BigEndian.AppendUint16(w.b, uint16(0xc000|at))
			return
		}
		if len(w.b) < 0x4000 {
			w.known[n] = len(w.b)
		}
		w.b = append(w.b, n[:1+n[0]]...)
		n = n[1+n[0]:]
	}
	w.b = append(w.b, 0)
}

func (w *writer) question(q question) {
	w.count(questions)
	w.name(q.name)
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(q.kind))
	w.b = binary.BigEndian.AppendUint16(w.b, q.class)
}

func (w *writer) record(s section, r record) {
	w.count(s)
	w.name(r.name)
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(r.kind))
	w.b = binary.BigEndian.AppendUint16(w.b, r.class)
	w.b = binary.BigEndian.AppendUint32(w.b, r.ttl)
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(len(r.data)))
	w.b = append(w.b, r.data...)
}

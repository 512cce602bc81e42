package site

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// gate reads what comes for the membership before the membership does, and takes out what would break it: who sends a packet
// can say anything about anybody in it, and the membership believes all. So here the site's label and key are checked, and
// the membership is given what is left in the clear.
//
//   - An incarnation that nobody can have reached is dropped. The membership answers an accusation with the next one, and
//     the next after the last is 0: everybody would take the accused for dead for ever.
//   - That a member is dead, or suspect, is believed of others only if the member does not answer (accuse). It says so
//     itself when it leaves.
//   - What members say to each other is handed on with the address it came from.
type gate struct {
	seal
	me     string
	ownsIt func(name string, from netip.Addr) bool // a living member of that name has that address
	accuse func(c claim, kind byte, pass func())   // pass is called if it does not answer

	mu    sync.Mutex
	known map[string]*ladder
}

const (
	// freely is how high an incarnation may be at once. It rises by one when a member says something new of itself, and
	// when it is suspected: some a day, thousands in a bad month.
	freely = 1 << 20
	// risesPerSecond is how fast it may rise beyond that, after risesAtOnce: at this rate the last one is two years away.
	risesPerSecond = 64
	risesAtOnce    = 2048
	// lastClaim is beyond everything that is ever believed.
	lastClaim = 1 << 31
	// mostKnown bounds what strangers can make us remember.
	mostKnown = 4 * maxMembers
)

// ladder is how high a member's incarnation was seen.
type ladder struct {
	top   uint32
	spent float64 // of risesAtOnce
	at    time.Time
}

// climbs reports whether an incarnation may be believed, and that this one now is.
func (l *ladder) climbs(now time.Time, to uint32) bool {
	l.spent = max(0, l.spent-now.Sub(l.at).Seconds()*risesPerSecond)
	l.at = now
	switch {
	case to <= l.top:
	case to >= lastClaim:
		return false
	case to > freely:
		cost := float64(to - max(l.top, freely))
		if l.spent+cost > risesAtOnce {
			return false
		}
		l.spent += cost
	}
	l.top = max(l.top, to)
	return true
}

// believes reports whether a member can have reached an incarnation.
func (g *gate) believes(name string, incarnation uint32) bool {
	if len(name) == 0 || len(name) > maxID {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.known[name]
	if l == nil {
		if len(g.known) >= mostKnown {
			me := g.known[g.me]
			g.known = map[string]*ladder{}
			if me != nil {
				g.known[g.me] = me
			}
		}
		if g.known == nil {
			g.known = map[string]*ladder{}
		}
		l = &ladder{}
		g.known[name] = l
	}
	return l.climbs(time.Now(), incarnation)
}

// packet gives pass each message of a packet that the membership may read.
func (g *gate) packet(from netip.Addr, b []byte, pass func([]byte)) error {
	b, err := g.open(b)
	if err != nil {
		return err
	}
	return single(b, func(m []byte) {
		switch m[0] {
		case pingMsg, indirectPingMsg, ackRespMsg, nackRespMsg:
			pass(m)
		case userMsg:
			pass(append([]byte{userMsg}, sourced(from, m[1:])...))
		case aliveMsg:
			var a alive
			if unpack(m[1:], &a) == nil && speaks(a.Vsn) && g.believes(a.Node, a.Incarnation) {
				pass(m)
			}
		case suspectMsg, deadMsg:
			var c claim
			if unpack(m[1:], &c) == nil && g.believes(c.Node, c.Incarnation) {
				g.claimed(from, c, m[0], func() { pass(bytes.Clone(m)) })
			}
		}
	})
}

// claimed passes on what is said of a member if that is to be believed.
func (g *gate) claimed(from netip.Addr, c claim, kind byte, pass func()) {
	if c.Node == g.me || kind == deadMsg && c.From == c.Node && g.ownsIt(c.Node, from) {
		pass() // it is for this machine to object; the other one leaves
		return
	}
	g.accuse(c, kind, pass)
}

// speaks reports whether members with these versions of the membership's protocol and ours understand each other: all of
// a site would cease to tell each other anything for one that does not.
func speaks(v []uint8) bool {
	return len(v) == 6 && 1 <= v[0] && v[0] <= 2 && v[1] >= 2 && v[0] <= v[2] && v[2] <= v[1] && v[3] == 0 && v[4] == 0 && v[5] == 0
}

// sourced puts before a message of this site's where it came from.
func sourced(from netip.Addr, b []byte) []byte {
	at, _ := from.WithZone("").MarshalBinary() // it can't fail
	return slices.Concat([]byte{byte(len(at))}, at, b)
}

// source is what sourced put before a message, and that.
func source(b []byte) (from netip.Addr, rest []byte, err error) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return from, nil, errGossip
	}
	err = from.UnmarshalBinary(b[1 : 1+int(b[0])])
	return from, b[1+int(b[0]):], err
}

// stream is what the membership may read of a stream from that address.
func (g *gate) stream(from netip.Addr, r io.Reader, accepted bool, late func([]byte)) (io.Reader, error) {
	kind, rest, err := g.openStream(r, accepted)
	if err != nil {
		return nil, err
	}
	switch kind {
	case userMsg:
		var h userHeader
		body, err := g.rest(rest, &h, func() int { return h.UserMsgLen }, nil)
		if err != nil {
			return nil, err
		}
		body = sourced(from, body)
		return bytes.NewReader(append(pack(userMsg, userHeader{len(body)}), body...)), nil
	case pushPullMsg:
		return g.exchanged(from, rest, late)
	case pingMsg, ackRespMsg, errMsg:
		return io.MultiReader(bytes.NewReader([]byte{kind}), rest), nil
	}
	return nil, fmt.Errorf("%w: of kind %d", errGossip, kind)
}

// rest reads what follows a header, of which size tells the length.
func (g *gate) rest(r io.Reader, header any, size func() int, more func(*codec.Decoder) error) ([]byte, error) {
	whole := bufio.NewReader(r) // the decoder would read byte by byte
	d := codec.NewDecoder(whole, &codec.MsgpackHandle{})
	if err := d.Decode(header); err != nil {
		return nil, err
	}
	if more != nil {
		if err := more(d); err != nil {
			return nil, err
		}
	}
	n := size()
	if n < 0 || n > maxStreamBytes {
		return nil, errGossip
	}
	body := make([]byte, n)
	_, err := io.ReadFull(whole, body)
	return body, err
}

// exchanged reads all that another member knows. Whom it takes for dead or suspect is looked into later.
func (g *gate) exchanged(from netip.Addr, r io.Reader, late func([]byte)) (io.Reader, error) {
	var h exchange
	var b bytes.Buffer
	nodes := 0
	e := codec.NewEncoder(&b, &codec.MsgpackHandle{})
	state, err := g.rest(r, &h, func() int { return h.UserStateLen }, func(d *codec.Decoder) error {
		if h.Nodes < 0 || h.Nodes > mostKnown {
			return errGossip
		}
		for range h.Nodes {
			var n nodeState
			if err := d.Decode(&n); err != nil {
				return err
			}
			switch {
			case !speaks(n.Vsn) || !g.believes(n.Name, n.Incarnation):
			case n.State == stateAlive || n.Name == g.me:
				nodes++
				if err := e.Encode(&n); err != nil {
					return err
				}
			default:
				c := claim{Incarnation: n.Incarnation, Node: n.Name, From: g.me}
				g.claimed(from, c, suspectMsg, func() { late(pack(suspectMsg, &c)) })
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(state) > 0 {
		state = sourced(from, state)
	}
	head := pack(pushPullMsg, exchange{nodes, len(state), h.Join})
	return bytes.NewReader(slices.Concat(head, b.Bytes(), state)), nil
}

// gated is a stream as the membership may read it.
type gated struct {
	net.Conn
	once sync.Once
	open func() (io.Reader, error)
	r    io.Reader
	err  error
}

func (c *gated) Read(p []byte) (int, error) {
	c.once.Do(func() { c.r, c.err = c.open() })
	if c.err != nil {
		return 0, c.err
	}
	return c.r.Read(p)
}

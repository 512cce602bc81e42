package site

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport carries the membership's streams and packets, and answers what is said on its port that is not of the
// membership: questions to be dialled back, those in other dialects, and knocks.
//
// It stands in the place of the membership's own, which takes 64 KiB for each packet that it reads and has one more
// goroutine hand it on: most of what an agent at rest allocated, and a fifth of what it did.
type transport struct {
	sockets
	dialer   *dialer
	dialects *dialects
	knocked  func(nonce []byte)
	missed   func() // called when a probe is not answered
	members  whereabouts
	zoned    func(string) string // an address with its zone
	log      *slog.Logger
	gate     *gate

	unsorted callers
	turns    callers // whose streams the membership reads
	streams  chan net.Conn
	packets  chan *memberlist.Packet
	done     chan struct{}
	work     sync.WaitGroup
}

const (
	// streamTime is what the membership lets a stream take.
	streamTime = 2 * time.Second
	// sayTime is what somebody who connects may take for the first line.
	sayTime = 2 * time.Second
	// Those who connected and said nothing yet. A room of which all speak at once has a few for an instant.
	maxUnsorted          = 1024
	maxUnsortedOfOneHost = 128
	// Streams of the membership that are read at a time: each may make it take many megabytes for a moment, and a member's
	// own takes milliseconds. The rest wait their turn, for sayTime at most.
	maxStreams          = 32
	maxStreamsOfOneHost = 4
	turnEvery           = 5 * time.Millisecond
	// maxStreamBytes is more than the largest message and the largest list of members have.
	maxStreamBytes = 4 << 20
)

// newTransport opens the port; 0: any free one.
func newTransport(port int, g *gate, d *dialer, l *dialects, knocked func([]byte), missed func(), log *slog.Logger) (*transport, error) {
	s, err := openSockets(port)
	if err != nil {
		return nil, err
	}
	t := &transport{
		sockets: s, gate: g, members: newWhereabouts(), zoned: func(at string) string { return at }, dialer: d, dialects: l, knocked: knocked, missed: missed, log: log,
		unsorted: newCallers(nil, maxUnsorted, maxUnsortedOfOneHost),
		turns:    newCallers(nil, maxStreams, maxStreamsOfOneHost),
		streams:  make(chan net.Conn), packets: make(chan *memberlist.Packet), done: make(chan struct{}),
	}
	t.turns.sparesOwn = true
	t.work.Go(t.acceptStreams)
	t.work.Go(t.readPackets)
	return t, nil
}

// StreamCh and PacketCh give the membership what is its own.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// PacketCh is described at StreamCh.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// DialTimeout opens a stream: for a message or an exchange, which may take streamTime, or to try once more, in what is left
// of a probe's time, whether a member lives.
func (t *transport) DialTimeout(to string, within time.Duration) (net.Conn, error) {
	if within != streamTime {
		t.missed()
	}
	c, err := net.DialTimeout("tcp", t.zoned(to), within)
	if err != nil {
		return nil, err
	}
	return t.gated(c, io.LimitReader(c, maxStreamBytes), false), nil
}

// gated is a stream of which the membership reads what the gate lets through.
func (t *transport) gated(c net.Conn, r io.Reader, accepted bool) net.Conn {
	var from netip.Addr
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		from = tcp.AddrPort().Addr().Unmap()
	}
	return &gated{Conn: c, open: func() (io.Reader, error) {
		return t.gate.stream(from, r, accepted, func(m []byte) { t.hand(m, netip.AddrPortFrom(from, 0)) })
	}}
}

// hand gives the membership a message that came from there.
func (t *transport) hand(m []byte, from netip.AddrPort) {
	select {
	case t.packets <- &memberlist.Packet{Buf: m, From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now()}:
	case <-t.done:
	}
}

// tell sends a member a message of the membership as the membership would.
func (t *transport) tell(to netip.AddrPort, m []byte) {
	b, err := t.gate.close(m)
	if err == nil {
		_, err = t.WriteTo(b, to.String())
	}
	if err != nil {
		t.log.Debug("member can't be told what is said of it", "member", to, "error", err)
	}
}

// DialAddressTimeout is DialTimeout to a member, wherever it is now.
func (t *transport) DialAddressTimeout(to memberlist.Address, within time.Duration) (net.Conn, error) {
	return t.DialTimeout(t.members.of(to), within)
}

// WriteToAddress is WriteTo a member, wherever it is now.
func (t *transport) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, t.zoned(t.members.of(to)))
}

// Shutdown closes the ports and returns when nothing of the transport runs any more.
func (t *transport) Shutdown() error {
	close(t.done)
	err := t.sockets.close()
	t.work.Wait()
	return err
}

// breath is how long a port that gives an error is left alone: it may be for lack of descriptors, or because nobody
// listened where the last packet went, which Windows reports here.
const breath = 5 * time.Millisecond

// goesOn reports whether a port that gave an error is to be listened at again, and waits a moment.
func (t *transport) goesOn(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	select {
	case <-t.done:
		return false
	case <-time.After(breath):
		return true
	}
}

func (t *transport) acceptStreams() {
	for {
		c, err := t.tcp.Accept()
		if err == nil {
			t.work.Go(func() { t.sortStream(c) })
		} else if !t.goesOn(err) {
			return
		}
	}
}

func (t *transport) sortStream(c net.Conn) {
	var from netip.Addr
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		from = tcp.AddrPort().Addr().Unmap()
	}
	if !t.unsorted.begin(from) {
		c.Close()
		return
	}
	c.SetReadDeadline(time.Now().Add(sayTime))
	r := bufio.NewReaderSize(c, maxLine)
	first, err := r.Peek(1)
	ours := err == nil && first[0] == greeting[0]
	var line []byte
	if ours {
		line, err = r.ReadSlice('\n')
	}
	said := string(line)
	turn := err == nil && !ours && !isPacked(r) && t.awaitTurn(from)
	t.unsorted.end(from)
	switch {
	case err != nil || !ours && !turn: // dialled and hung up, as who tries the door does; or too many of one host
		c.Close()
	case said == greeting:
		if err := t.dialer.serve(c, r); err != nil {
			t.log.Debug("asker is not dialled back", "from", c.RemoteAddr().String(), "error", err)
		}
		c.Close()
	case ours:
		answered := make(chan struct{})
		t.work.Go(func() {
			select {
			case <-t.done: // an exchange may take long, and nobody waits for it
				c.Close()
			case <-answered:
			}
		})
		if err := t.dialects.serve(c, r, said); err != nil {
			t.log.Debug("asker gets no answer", "from", c.RemoteAddr().String(), "error", err)
		}
		c.Close()
		close(answered)
	default:
		c.SetReadDeadline(time.Time{})
		m := &memberStream{Conn: c, r: io.LimitReader(r, maxStreamBytes), end: sync.OnceFunc(func() { t.turns.end(from) })}
		select {
		case t.streams <- t.gated(m, m, true):
		case <-t.done:
			m.Close()
		}
	}
}

// isPacked reports whether a stream has to be unpacked: no member of a site without a key packs (Site.New), and little can
// become forty megabytes. What is encrypted is by a member.
func isPacked(r *bufio.Reader) bool {
	const label, compressed = 244, 9 // memberlist's hasLabelMsg, which the label's length follows, and compressMsg
	at := 0
	b, err := r.Peek(2)
	if err == nil && b[0] == label {
		at = 2 + int(b[1])
		b, err = r.Peek(at + 1)
	}
	return err == nil && b[at] == compressed
}

// awaitTurn waits until the membership may read another stream of that host; false: it came to nothing.
func (t *transport) awaitTurn(from netip.Addr) bool {
	for late := time.Now().Add(sayTime); !t.turns.begin(from); {
		select {
		case <-t.done:
			return false
		case <-time.After(turnEvery):
		}
		if time.Now().After(late) {
			return false
		}
	}
	return true
}

// begun is a connection whose beginning has been read already.
type begun struct {
	net.Conn
	r *bufio.Reader
}

func (b begun) Read(p []byte) (int, error) { return b.r.Read(p) }

// memberStream is a stream that the membership reads, in its bounds.
type memberStream struct {
	net.Conn
	r   io.Reader
	end func()
}

func (m *memberStream) Read(p []byte) (int, error) { return m.r.Read(p) }

func (m *memberStream) Close() error {
	m.end()
	return m.Conn.Close()
}

// readPackets reads what comes by UDP. What it hands on is the membership's to keep.
func (t *transport) readPackets() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			if !t.goesOn(err) {
				return
			}
			continue
		}
		if nonce, ok := bytes.CutPrefix(buf[:n], []byte(knocking)); ok {
			t.knocked(nonce)
			continue
		}
		if n == 0 {
			continue
		}
		if err := t.gate.packet(from.Addr().Unmap(), bytes.Clone(buf[:n]), func(m []byte) { t.hand(m, from) }); err != nil {
			t.log.Debug("packet is left out", "from", from, "error", err)
		}
	}
}

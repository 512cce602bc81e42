package site

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Whether a machine can be reached, only another one can tell. So the port for members answers one question of anybody
// who is admitted, member or not: can you dial me back? It comes over TCP, so that the address to dial is the one the
// asker speaks from and no other; nobody can have a third machine dialled. The answer also tells what an admin wants to
// know of a machine that stands alone: whether both have the same site and key, and how far apart their clocks are.

// question and answer are one line of JSON each, behind greeting.
type (
	dialQuestion struct {
		Peer   int    `json:"peer"`   // TCP, for neighbours
		Member int    `json:"member"` // TCP and UDP, for members; 0: not asked about
		Nonce  []byte `json:"nonce"`
	}
	dialAnswer struct {
		Seen   netip.Addr `json:"seen"`
		Opens  Doors      `json:"opens"`
		UnixMS int64      `json:"unix_ms"`
		Site   string     `json:"site"`
		Keyed  bool       `json:"keyed"`
		Proof  []byte     `json:"proof"` // of the site's name and key, for this nonce
	}
)

const (
	// greeting begins the question; the membership's own streams never begin with its first byte.
	greeting = "handout: dial me back 1\n"
	// knocking is what a datagram says that was sent to see whether datagrams come in; a nonce follows.
	knocking = "handout: knock 1 "

	nonceBytes = 16
	maxLine    = 1024
	maxName    = 64
	// dialBackTime is what a dial may take: on a LAN a second is long, and a firewall that drops never answers.
	dialBackTime = 1500 * time.Millisecond
	answerTime   = 2*dialBackTime + time.Second
	// A roomful that starts asks at once; more than this waits for another member or the next round.
	maxDialBacks          = 32
	maxDialBacksOfOneHost = 4
)

// Echo is what a member says of whoever asked to be dialled back.
type Echo struct {
	Seen     netip.Addr    // the address it sees the asker at
	Opens    Doors         // of the TCP doors it tried, those it came through
	Clock    time.Duration // how far its clock is ahead of this machine's
	Site     string        // the name of its site, as a stranger says it
	Keyed    bool          // its site has a key
	SameSite bool          // its site's name and key are this machine's
	nonce    []byte
}

// AskDialBack asks the member at an address, its port for members, to dial this machine back at its port for neighbours
// and, if that is not 0, for members. Name and key are those of this machine's site.
func AskDialBack(ctx context.Context, member netip.AddrPort, peerPort, memberPort int, name string, key []byte) (Echo, error) {
	var nonce [nonceBytes]byte
	rand.Read(nonce[:])
	return askDialBack(ctx, member, dialQuestion{peerPort, memberPort, nonce[:]}, name, key)
}

func askDialBack(ctx context.Context, member netip.AddrPort, q dialQuestion, name string, key []byte) (Echo, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	c, err := (&net.Dialer{Timeout: dialBackTime}).DialContext(ctx, "tcp", member.String())
	if err != nil {
		return Echo{}, fmt.Errorf("ask %s to dial back: %w", member, err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	line, err := json.Marshal(q)
	if err == nil {
		_, err = c.Write(append([]byte(greeting), append(line, '\n')...))
	}
	var e Echo
	if err == nil {
		e, err = readEcho(bufio.NewReaderSize(c, maxLine), proof(name, key, q.Nonce))
	}
	if err != nil {
		return Echo{}, fmt.Errorf("ask %s to dial back: %w", member, err)
	}
	e.nonce = q.Nonce
	return e, nil
}

// readEcho reads a stranger's answer; ours is the proof that a member of the same site gives.
func readEcho(r *bufio.Reader, ours []byte) (Echo, error) {
	var a dialAnswer
	if err := readLine(r, &a); err != nil {
		return Echo{}, err
	}
	return Echo{
		Seen: a.Seen, Opens: a.Opens & (PeerTCP | MemberTCP), Clock: time.Until(time.UnixMilli(a.UnixMS)),
		Site: a.Site[:min(len(a.Site), maxName)], Keyed: a.Keyed, SameSite: hmac.Equal(a.Proof, ours),
	}, nil
}

// proof shows that one has the key, or none as well, without telling it.
func proof(name string, key, nonce []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(append([]byte("handout site\x00"), nonce...))
	io.WriteString(h, named(name))
	return h.Sum(nil)
}

// readLine reads a stranger's line.
func readLine(r *bufio.Reader, into any) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}

var errNoSense = errors.New("not a question of ours")

// dialer answers those who ask to be dialled back.
type dialer struct {
	name string
	key  []byte
	callers
}

func newDialer(name string, key []byte, admit func(netip.Addr) bool) *dialer {
	return &dialer{name: name, key: key, callers: newCallers(admit, maxDialBacks, maxDialBacksOfOneHost)}
}

// serve answers one asker, whose greeting has been read. It takes dialBackTime at most, once the question
// is there.
func (d *dialer) serve(c net.Conn, r *bufio.Reader) error {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return errNoSense
	}
	from := tcp.AddrPort().Addr().Unmap()
	if !d.begin(from) {
		return fmt.Errorf("%s is not admitted, or asks too much", from)
	}
	defer d.end(from)
	c.SetDeadline(time.Now().Add(answerTime))
	q, err := readQuestion(r)
	if err != nil {
		return err
	}
	a := dialAnswer{
		Seen: from.WithZone(""), Opens: tryDoors(from, q), UnixMS: time.Now().UnixMilli(),
		Site: d.name, Keyed: d.key != nil, Proof: proof(d.name, d.key, q.Nonce),
	}
	line, err := json.Marshal(a)
	if err == nil {
		_, err = c.Write(append(line, '\n'))
	}
	return err
}

func readQuestion(r *bufio.Reader) (q dialQuestion, err error) {
	if err := readLine(r, &q); err != nil {
		return q, err
	}
	if len(q.Nonce) != nonceBytes || q.Peer < 1 || q.Peer > 65535 || q.Member < 0 || q.Member > 65535 {
		return q, errNoSense
	}
	return q, nil
}

// tryDoors dials an asker's doors and returns those that opened. Whether a datagram arrived, the asker sees itself.
func tryDoors(at netip.Addr, q dialQuestion) (opens Doors) {
	var g sync.WaitGroup
	var peer, member bool
	try := func(port int, open *bool) {
		if port == 0 {
			return
		}
		g.Go(func() {
			c, err := net.DialTimeout("tcp", netip.AddrPortFrom(at, uint16(port)).String(), dialBackTime)
			if *open = err == nil; *open {
				c.Close()
			}
		})
	}
	try(q.Peer, &peer)
	try(q.Member, &member)
	if q.Member != 0 {
		knock(netip.AddrPortFrom(at, uint16(q.Member)), q.Nonce)
	}
	g.Wait()
	if peer {
		opens |= PeerTCP
	}
	if member {
		opens |= MemberTCP
	}
	return opens
}

// knock sends a datagram from a port that the asker never sent to: what a firewall lets in as an answer proves nothing.
func knock(at netip.AddrPort, nonce []byte) {
	c, err := net.Dial("udp", at.String())
	if err != nil {
		return
	}
	defer c.Close()
	for range 3 { // one may be lost
		c.Write(append([]byte(knocking), nonce...))
	}
}

// Doors are ports of a machine that others come in by.
type Doors uint8

// The doors of a machine: for neighbours, and for members of the site.
const (
	PeerTCP Doors = 1 << iota
	MemberTCP
	MemberUDP

	allDoors = PeerTCP | MemberTCP | MemberUDP
)

// Ports names the doors' ports for people, "TCP 4747 and 4748, UDP 4748", given the one for neighbours; the one for
// members is the next. It is empty for no doors.
func (d Doors) Ports(peerPort int) string {
	peer, member := strconv.Itoa(peerPort), strconv.Itoa(peerPort+1)
	text := ""
	switch d & (PeerTCP | MemberTCP) {
	case PeerTCP:
		text = "TCP " + peer
	case MemberTCP:
		text = "TCP " + member
	case PeerTCP | MemberTCP:
		text = "TCP " + peer + " and " + member
	}
	if d&MemberUDP != 0 {
		if text != "" {
			text += ", "
		}
		text += "UDP " + member
	}
	return text
}

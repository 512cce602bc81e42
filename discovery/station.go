package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/time/rate"

	"handout/discovery/networks"
)

const (
	mdnsPort = 5353

	answerGap = time.Second            // between two answers on one link (RFC 6762 section 6)
	probeGap  = 250 * time.Millisecond // the same where somebody is about to take our name
	hopLimit  = 255                    // RFC 6762 section 11

	// moreTime is how long an asker that has more answers than a packet holds may take to say so (section 7.2).
	moreTime = 450 * time.Millisecond
	// recently is how long after a multicast all are taken to know what it said (section 5.4).
	recently = recordSeconds / 4 * time.Second
	// Answers by unicast: few ask for those, and whose address a packet bears has not always sent it.
	repliesPerSecond = 10
	replyBurst       = 30

	// greetLater is how much later a machine greets that has heard another before: it knows whom to meet, who tells the
	// others of it, and of those that start together all are listening by then.
	greetLater = 150 * time.Millisecond

	// A flood is read no faster than this; the kernel drops the rest. A room of 200 that is switched on together sends
	// some hundreds a second.
	packetsPerSecond = 1000
	packetBurst      = 2000
)

// station is where one set of interfaces is listened and spoken on. A nil station is deaf and mute.
type station struct {
	links  []*link
	failed bool // some link could not be opened
	cancel context.CancelFunc
	spoken sync.WaitGroup // the links' speakers
	read   sync.WaitGroup // the links' readers
}

// openStation opens what links it can: a machine without IPv6 speaks IPv4. It runs until close.
func openStation(ctx context.Context, chosen []networks.Card, d *discoverer) *station {
	ctx, cancel := context.WithCancel(ctx)
	s := &station{cancel: cancel}
	for i := range chosen {
		for _, group := range groupsOf(&chosen[i]) {
			l, err := openLink(&chosen[i], group)
			if err != nil {
				s.failed = true
				d.o.Log.Debug("join multicast DNS", "err", err)
				continue
			}
			l.cidrs, l.log, l.clashed = d.o.CIDRs, d.o.Log, d.clashed
			if d.o.Port != 0 {
				l.me = newSelf(d.label, d.o.Port, addrsOf(&chosen[i]), d.isMine)
			}
			s.links = append(s.links, l)
			s.spoken.Go(func() { l.speak(ctx) })
			s.spoken.Go(func() { l.complete(ctx) })
			s.read.Go(func() { l.read(ctx, d.heard) })
		}
	}
	return s
}

// deaf reports whether no link could be opened though some were wanted.
func (s *station) deaf() bool { return s != nil && s.failed && len(s.links) == 0 }

// ask sends the question on every link.
func (s *station) ask() {
	if s == nil {
		return
	}
	for _, l := range s.links {
		l.send(whoIsThere())
	}
}

// close takes the announcement back and returns when nothing of the station runs any more.
func (s *station) close() {
	if s == nil {
		return
	}
	s.cancel()
	s.spoken.Wait()
	for _, l := range s.links {
		l.conn.Close()
	}
	s.read.Wait()
}

// groupsOf returns the multicast groups that make sense on i: those of the address families it has addresses of.
func groupsOf(i *networks.Card) []netip.AddrPort {
	var has4, has6 bool
	for _, p := range i.Prefixes {
		has4 = has4 || p.Addr().Is4()
		has6 = has6 || p.Addr().Is6()
	}
	var groups []netip.AddrPort
	if has4 {
		groups = append(groups, netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, 251}), mdnsPort))
	}
	if has6 {
		group := netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0xfb}) // without a zone: the socket has its interface
		groups = append(groups, netip.AddrPortFrom(group, mdnsPort))
	}
	return groups
}

func addrsOf(i *networks.Card) []netip.Addr {
	addrs := make([]netip.Addr, len(i.Prefixes))
	for n, p := range i.Prefixes {
		addrs[n] = p.Addr()
	}
	return addrs
}

// link is one socket: one interface, one address family.
type link struct {
	conn  *net.UDPConn
	on    *networks.Card
	group netip.AddrPort
	cidrs []netip.Prefix
	log   *slog.Logger

	me      *self           // nil: we have nothing to announce
	clashed chan<- struct{} // holds one: another machine has our name
	speaker
	resolver resolver
	curious  chan struct{} // holds one: the resolver has questions
	company  atomic.Bool   // somebody was heard
}

func openLink(on *networks.Card, group netip.AddrPort) (_ *link, err error) {
	network := "udp4"
	if group.Addr().Is6() {
		network = "udp6"
	}
	// Given a multicast address Go binds the port on the wildcard address, to be shared with the system's own responder
	// and with other agents on this machine: all of them get what is sent to the group.
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(group))
	if err != nil {
		return nil, fmt.Errorf("listen for multicast DNS on %s: %w", on.Name, err)
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	to := &net.UDPAddr{IP: group.Addr().AsSlice()}
	ni := on.Interface
	if network == "udp4" {
		p := ipv4.NewPacketConn(conn)
		err = errors.Join(p.JoinGroup(&ni, to), p.SetMulticastInterface(&ni), p.SetMulticastLoopback(true), p.SetMulticastTTL(hopLimit))
	} else {
		p := ipv6.NewPacketConn(conn)
		err = errors.Join(p.JoinGroup(&ni, to), p.SetMulticastInterface(&ni), p.SetMulticastLoopback(true), p.SetMulticastHopLimit(hopLimit))
	}
	if err != nil {
		return nil, fmt.Errorf("join %s on %s: %w", group.Addr(), on.Name, err)
	}
	return &link{conn: conn, on: on, group: group, speaker: newSpeaker(), curious: make(chan struct{}, 1)}, nil
}

func (l *link) send(packet []byte) { l.sendTo(packet, l.group) }

func (l *link) sendTo(packet []byte, to netip.AddrPort) {
	if _, err := l.conn.WriteToUDPAddrPort(packet, to); err != nil && l.log != nil {
		l.log.Debug("send multicast DNS", "interface", l.on.Name, "to", to, "err", err)
	}
}

// read hears packets until the socket is closed.
func (l *link) read(ctx context.Context, heard chan<- sighting) {
	pace := rate.NewLimiter(packetsPerSecond, packetBurst)
	buf := make([]byte, maxPacket+1)
	for {
		if pace.Wait(ctx) != nil {
			return
		}
		n, from, err := l.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n > maxPacket {
			continue // Windows reports other people's ICMP messages and packets too long as errors of the socket
		}
		if !l.onLink(from) {
			continue
		}
		m, err := parse(buf[:n], l.me)
		if err != nil {
			continue // strangers' noise is not worth a line of log
		}
		if l.me != nil {
			l.answer(m.query, from)
		}
		if from.Port() != mdnsPort {
			continue
		}
		if m.response.clash {
			notify(l.clashed)
		}
		found, curious := l.resolver.take(m.response)
		if curious {
			notify(l.curious)
		}
		if len(found) > 0 {
			l.company.Store(true)
		}
		s := sighting{source: from.Addr().Unmap().WithZone("")}
		for _, a := range found {
			if a, ok := plausible(a, l.on, l.cidrs); ok && len(s.addrs) < maxPerSource {
				s.addrs = append(s.addrs, a)
			}
		}
		if len(s.addrs) == 0 {
			continue
		}
		select {
		case heard <- s:
		case <-ctx.Done():
			return
		}
	}
}

// notify leaves a note in a channel that holds one.
func notify(note chan<- struct{}) {
	select {
	case note <- struct{}{}:
	default: // there is one already
	}
}

// complete asks for what the resolver lacks: after a moment, since others may ask for it too.
func (l *link) complete(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.curious:
		}
		if !wait(ctx, 20*time.Millisecond+rand.N(100*time.Millisecond)) {
			return
		}
		if all := l.resolver.questions(); all != nil {
			l.send(ask(all...))
			if !wait(ctx, askGap) {
				return
			}
			notify(l.curious) // for those that came later, and what was lost
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// onLink reports whether a packet was sent on this link. It must not be answered or believed otherwise (RFC 6762 section
// 11), and the kernel hands a socket what came in through other interfaces too.
func (l *link) onLink(from netip.AddrPort) bool {
	a := from.Addr().Unmap()
	if a.Is6() && a.IsLinkLocalUnicast() {
		return a.Zone() == l.on.Name || a.Zone() == strconv.Itoa(l.on.Index) // net caches names, and may not know a new one
	}
	return l.on.IsNear(a)
}

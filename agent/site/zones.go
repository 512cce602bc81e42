package site

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"handout/agent/plan"
)

// A link-local address of IPv6 is of one machine on one link, and of another one, perhaps, on the next. So it goes with a
// zone, which is this machine's own name for the card that leads there (RFC 4007). The membership's addresses have none: here
// they get it. Where one card alone leads to such addresses, it is that. Where several do, the machine on each is asked who it is.

// zoneMark begins what a machine is called that has no name yet, as it is joined: its zone follows. No member's name has it.
const zoneMark = "%"

// joinText is an address as the membership takes it to join.
func joinText(at netip.AddrPort) string {
	if zone := at.Addr().Zone(); zone != "" {
		return zoneMark + zone + "/" + netip.AddrPortFrom(at.Addr().WithZone(""), at.Port()).String()
	}
	return at.String()
}

// withZone gives the membership's text of an address its zone.
func withZone(text, zone string) string {
	at, err := netip.ParseAddrPort(text)
	if err != nil || !at.Addr().Is6() {
		return text
	}
	return netip.AddrPortFrom(at.Addr().WithZone(zone), at.Port()).String()
}

// zoned is an address to which a member that nobody knows by name is to be answered.
func (s *Site) zoned(text string) string {
	if !strings.HasPrefix(text, "[fe") {
		return text
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil || !isZoneless(at.Addr()) {
		return text
	}
	if zones := s.o.Networks.Now().Zones(at.Addr()); len(zones) > 0 {
		return withZone(text, zones[0])
	}
	return text
}

func isZoneless(a netip.Addr) bool {
	return a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == ""
}

// inZone is where a member is that said to be at a link-local address. The caller holds mu.
func (s *Site) inZone(name string, at netip.Addr, port uint16) netip.Addr {
	if s.port == nil || !at.Is6() || !at.IsLinkLocalUnicast() {
		return at
	}
	zones := s.o.Networks.Now().Zones(at)
	if len(zones) < 2 {
		return at
	}
	w := &s.port.members
	w.mu.Lock()
	defer w.mu.Unlock()
	if sure := w.sure[name]; sure.WithZone("") == at.WithZone("") && slices.Contains(zones, sure.Zone()) {
		return sure
	}
	if !w.asking[name] && !s.closed && len(w.asking) < maxLocating {
		w.asking[name] = true
		s.work.Go(func() { s.locate(name, netip.AddrPortFrom(at.WithZone(""), port), zones) })
	}
	return at
}

const (
	// maxLocating bounds the members that are looked for at a time.
	maxLocating = 64
	locateTimes = 5
	locateAgain = 2 * time.Second
)

// locate finds out in which of the zones a member is.
func (s *Site) locate(name string, at netip.AddrPort, zones []string) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	w := &s.port.members
	var found netip.Addr
	for try := 0; try < locateTimes && !found.IsValid() && ctx.Err() == nil; try++ {
		if try > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(locateAgain):
			}
		}
		var mu sync.Mutex
		var g sync.WaitGroup
		for _, zone := range zones {
			to := netip.AddrPortFrom(at.Addr().WithZone(zone), at.Port())
			g.Go(func() {
				if said, err := s.whoIs(ctx, to); err == nil && said == name {
					mu.Lock()
					found = to.Addr()
					mu.Unlock()
				}
			})
		}
		g.Wait()
	}
	w.mu.Lock()
	delete(w.asking, name)
	if found.IsValid() {
		w.sure[name] = found
	}
	w.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.members[plan.MemberID(name)]; m != nil && found.IsValid() {
		s.enter(m.node)
	}
}

// whoAsks is the first line of the question who a member is.
const whoAsks = "handout: who is there 1"

// whoDialect answers it.
func (s *Site) whoDialect() Dialect {
	return Dialect{Greeting: whoAsks, Time: openTime, AtOnce: 32, OfOneHost: 8, Serve: func(c Caller) error {
		_, err := io.WriteString(c, string(s.id)+"\n")
		return err
	}}
}

func (s *Site) whoIs(ctx context.Context, at netip.AddrPort) (string, error) {
	c, err := Ask(ctx, at.String(), whoAsks, s.o.Name, s.o.Key)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(openTime))
	line, err := bufio.NewReader(io.LimitReader(c, maxLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSuffix(line, "\n"), nil
}

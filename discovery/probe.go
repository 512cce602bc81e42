package discovery

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"handout/discovery/networks"
)

// Heard is what multicast DNS came to on one interface and in one address family.
type Heard struct {
	Interface string
	Addr      netip.Addr       // of this machine there
	Err       error            // it could not be joined, or nothing could be sent
	Own       bool             // what this machine sent came in again, so nothing here keeps it out
	Others    int              // machines that were heard, whatever of
	Agents    []netip.AddrPort // that were announced by others
}

// maxOthers bounds the machines that are counted.
const maxOthers = 1000

// Probe asks on every card that Run would use who is there, and listens until ctx ends.
func Probe(ctx context.Context, at *networks.View, cidrs []netip.Prefix) []Heard {
	var found []*Heard
	var g sync.WaitGroup
	for _, on := range speaking(at) {
		for _, group := range groupsOf(&on) {
			h := &Heard{Interface: on.Name}
			for _, p := range on.Prefixes {
				if p.Addr().Is4() == group.Addr().Is4() && !h.Addr.IsValid() {
					h.Addr = p.Addr()
				}
			}
			found = append(found, h)
			g.Go(func() { h.listen(ctx, &on, group, cidrs, at) })
		}
	}
	g.Wait()
	heard := make([]Heard, len(found))
	for i, h := range found {
		heard[i] = *h
	}
	return heard
}

// repeatQuestion is for agents that answered a moment ago, and for what is lost.
const repeatQuestion = 1200 * time.Millisecond

func (h *Heard) listen(ctx context.Context, on *networks.Card, group netip.AddrPort, cidrs []netip.Prefix, at *networks.View) {
	l, err := openLink(on, group)
	if err != nil {
		h.Err = err
		return
	}
	defer l.conn.Close()
	defer context.AfterFunc(ctx, func() { l.conn.SetReadDeadline(time.Now()) })()
	inquire := func() error {
		// Every service is asked for so that machines without an agent speak too (RFC 6763 section 9).
		for _, name := range []name{serviceName, everyService} {
			if _, err := l.conn.WriteToUDPAddrPort(ask(question{name, kindPTR, classIN}), group); err != nil {
				return fmt.Errorf("send to %s on %s: %w", group.Addr(), on.Name, err)
			}
		}
		return nil
	}
	if h.Err = inquire(); h.Err != nil {
		return
	}
	again := time.AfterFunc(repeatQuestion, func() { inquire() })
	defer again.Stop()
	others, agents := map[netip.Addr]bool{}, map[netip.AddrPort]bool{}
	buf := make([]byte, maxPacket+1)
	for ctx.Err() == nil && len(others) < maxOthers {
		n, from, err := l.conn.ReadFromUDPAddrPort(buf)
		if err != nil || n > maxPacket || from.Port() != mdnsPort || !l.onLink(from) {
			continue
		}
		addr := from.Addr().Unmap().WithZone("")
		if at.IsMine(addr) {
			h.Own = true
			continue
		}
		if !others[addr] {
			others[addr] = true
			h.Others++
		}
		m, err := parse(buf[:n], nil)
		if err != nil {
			continue
		}
		found, _ := l.resolver.take(m.response)
		if open := l.resolver.questions(); open != nil {
			l.send(ask(open...))
		}
		for _, a := range found {
			if a, ok := plausible(a, on, cidrs); ok && !agents[a] && len(agents) < maxFound {
				agents[a] = true
				h.Agents = append(h.Agents, a)
			}
		}
	}
}

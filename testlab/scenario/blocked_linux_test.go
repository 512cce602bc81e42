package scenario

import (
	"errors"
	"sync"
	"testing"
	"time"

	"handout/testlab/cli"
	"handout/testlab/lab"
	"handout/testlab/room"
)

// A machine whose firewall lets nobody in says so by name, and so do the others; all finish, and the cap holds.
func TestLabInboundRefused(t *testing.T) {
	s := open(t, 4)
	const mdns = "udp dport 5353 accept"
	for _, h := range s.Lab.Hosts[2:] {
		if err := h.Firewall(mdns); errors.Is(err, lab.ErrNoFirewall) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	var all []*room.Fetch
	for i := range s.Lab.Hosts {
		all = append(all, s.fetch(i))
	}
	if !full { // over too soon for a verdict
		s.end(all...)
		return
	}
	var g sync.WaitGroup
	for i, f := range all {
		g.Go(func() {
			err := f.Until(s.ctx, "it knew who can't be reached", func(e cli.Event) bool {
				if i < 2 {
					return len(e.Unreachable) == 2
				}
				return e.Blocked == "TCP 4747 and 4748, UDP 4748"
			})
			if err != nil {
				t.Error(err)
				return
			}
			t.Logf("%s knew who can't be reached within %.1f s", f.Host.Name, time.Since(began).Seconds())
		})
	}
	g.Wait()
	if f := s.end(all...); f.MostConnections > 4 {
		t.Errorf("%d origin connections at once", f.MostConnections)
	}
}

// The machine that stays, and so would be steward, is the one that nobody can ask: another takes over.
func TestLabStewardBehindFirewall(t *testing.T) {
	s := open(t, 4)
	shut := s.Lab.Hosts[0]
	if err := shut.Firewall("udp dport 5353 accept"); errors.Is(err, lab.ErrNoFirewall) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	(&clinic{T: t, Lab: s.Lab, ctx: s.ctx, dir: t.TempDir()}).agent(shut)
	var all []*room.Fetch
	for i := range s.Lab.Hosts[1:] {
		all = append(all, s.fetch(i+1))
	}
	if full {
		for _, f := range all {
			err := f.Until(s.ctx, "another was steward", func(e cli.Event) bool {
				return len(e.Unreachable) == 1 && e.Unreachable[0] == shut.Addr.String() && e.Steward != shut.Addr.String()
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	if f := s.endOf(1, all...); f.MostConnections > 4 {
		t.Errorf("%d origin connections at once", f.MostConnections)
	}
}

// Multicast passes nowhere; one machine is known to all by its address, and comes last. They are one site all the same.
func TestLabNoMulticast(t *testing.T) {
	s := open(t, 4)
	if err := s.Lab.KeepMulticastFrom(s.Lab.Hosts...); err != nil {
		t.Fatal(err)
	}
	known := len(s.Lab.Hosts) - 1
	s.oneSite(func(i int) *room.Fetch {
		if i == known {
			time.Sleep(time.Second)
			return s.fetch(i)
		}
		return s.fetch(i, "--seed", s.Lab.Hosts[known].Addr.String())
	})
}

// Two networks with a router between them: the name service tells of one machine, in the other network.
func TestLabTwoNetworksAndNameService(t *testing.T) {
	s := openLab(t, lab.Options{Hosts: 4, Far: 2})
	depot := s.Lab.Hosts[0].Addr.String()
	err := s.Lab.Origin.ServeNames(s.ctx, "--srv-host=_handout._tcp.lab.example,depot.lab.example,4747", "--host-record=depot.lab.example,"+depot)
	if errors.Is(err, lab.ErrNoNameServer) {
		t.Skip(err)
	}
	for _, h := range s.Lab.Hosts {
		err = errors.Join(err, h.AskNames(s.Lab.Origin.Addr, "lab.example"))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.oneSite(func(i int) *room.Fetch { return s.fetch(i) })
}

// The same with a seed that the machines of the one network were told.
func TestLabTwoNetworksAndSeed(t *testing.T) {
	s := openLab(t, lab.Options{Hosts: 4, Far: 2})
	s.oneSite(func(i int) *room.Fetch {
		if i < 2 {
			return s.fetch(i)
		}
		return s.fetch(i, "--seed", s.Lab.Hosts[0].Addr.String())
	})
}

// oneSite has all hosts fetch, and find each other; what they take from the origin is what one site takes.
func (s *story) oneSite(fetch func(int) *room.Fetch) {
	s.Helper()
	var all []*room.Fetch
	for i := range s.Lab.Hosts {
		all = append(all, fetch(i))
	}
	for _, f := range all {
		if err := f.Until(s.ctx, "it knew all of the site", func(e cli.Event) bool { return e.Members == len(all) }); err != nil {
			s.Error(err)
		}
	}
	f := s.end(all...)
	if f.MostConnections > 4 {
		s.Errorf("%d origin connections at once", f.MostConnections)
	}
	if f.Copies() > 1.5 {
		s.Errorf("the origin carried %.2f copies", f.Copies())
	}
}

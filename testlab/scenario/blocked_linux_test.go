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

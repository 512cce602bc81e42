package scenario

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"handout/testlab/lab"
	"handout/testlab/room"
)

// From a server that does no ranges one machine of a room of eight reads each large file, once, and hands it on.
func TestLabNoRanges(t *testing.T) {
	s := openLab(t, lab.Options{Hosts: 8}, "max_ranges 0;")
	var all []*room.Fetch
	for i := range s.Lab.Hosts {
		all = append(all, s.fetch(i))
	}
	f := s.end(all...)
	if f.Copies() > 1.05 {
		t.Errorf("a room of 8 read the origin %.3f times", f.Copies())
	}
	if f.MostConnections > 8 { // one each until they have met
		t.Errorf("%d connections at once", f.MostConnections)
	}
}

// The server that people start when they have none: python3 -m http.server knows no ranges and speaks HTTP/1.0.
func TestLabPythonsServer(t *testing.T) {
	s := open(t, 8)
	addr := netip.AddrPortFrom(s.Lab.Origin.Addr, 8000)
	python := exec.Command("python3", "-m", "http.server", fmt.Sprint(addr.Port()), "--bind", addr.Addr().String(), "--directory", filepath.Dir(s.Tree))
	if _, err := s.Lab.Origin.Start(python); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := s.Lab.Origin.Dial(s.ctx, "tcp", addr.String())
		if err == nil {
			c.Close()
			break
		}
		if s.ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	var all []*room.Fetch
	for i := range s.Lab.Hosts {
		all = append(all, s.fetch(i, "--origin", fmt.Sprintf("http://%s/%s", addr, filepath.Base(s.Tree))))
	}
	f := s.end(all...)
	// It logs no bytes. On the wire headers take up to a twentieth.
	if f.CopiesOnWire() > 1.12 || f.Copies() > 0.01 {
		t.Errorf("python sent %.3f copies, headers included, and nginx, which was second, %.3f", f.CopiesOnWire(), f.Copies())
	}
}

// The reader is killed in the middle: another begins at the front, at once, and what the room has is not lost.
func TestLabNoRangesReaderKilled(t *testing.T) {
	s := openLab(t, lab.Options{Hosts: 8}, "max_ranges 0;")
	var all []*room.Fetch
	for i := range s.Lab.Hosts {
		all = append(all, s.fetch(i))
	}
	s.until(all[0], 0.25)
	reader := 0
	for i, f := range all {
		if f.Last().FromOrigin > all[reader].Last().FromOrigin {
			reader = i
		}
	}
	had := s.share(all[reader].Last().FromOrigin)
	all[reader].Process.Kill()
	all[reader].Process.Wait()
	killed := time.Since(s.Began())
	again := s.fetch(reader)
	all[reader] = again
	f := s.end(all...)
	t.Logf("host %d had read %.2f F when it was killed after %.1f s", reader, had, killed.Seconds())
	// What the killed one had read is read again, and up to a second's reading more, which is what it had not said yet.
	if f.Copies() > 1.1+had+killed.Seconds()/f.Bound.Seconds() {
		t.Errorf("%.3f copies, of which %.2f were for the killed one", f.Copies(), had)
	}
}

package wine_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"handout/testlab/cli"
	"handout/testlab/lab"
	"handout/testlab/nginx"
)

// TestFetchTogether: a Windows machine and two of Linux, none of which was told of the others, fetch at once. They find each other
// by mDNS and give to each other in both directions; the web server carries little more than one copy.
func TestFetchTogether(t *testing.T) {
	s := open(t, 3)
	s.check(copyFile(s.pkg.Trust, s.win.Path(`C:\lab.pub`)))
	manifest := s.server.URL("package.torrent")
	before, err := s.server.Requests()
	s.check(err)

	machines := []machine{s.linux[0], s.linux[1], s.win}
	dests := []string{filepath.Join(s.dir, "h1"), filepath.Join(s.dir, "h2"), s.win.Path(`C:\lab\tree`)}
	last := make([]cli.Event, len(machines))
	var all sync.WaitGroup
	for i, m := range machines {
		dest, trust := dests[i], s.pkg.Trust
		if m == machine(s.win) {
			s.check(os.Mkdir(filepath.Dir(dest), 0o755))
			dest, trust = `C:\lab\tree`, `C:\lab.pub`
		}
		cmd := s.on(m, "fetch", manifest, "--trust", trust, "--dest", dest, "--json", "--linger", "auto:60s")
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := os.Create(filepath.Join(s.dir, "events"+string(rune('0'+i))))
		s.check(err)
		defer out.Close()
		cmd.Stdout = out
		var p *lab.Process
		p, err = m.Start(cmd)
		s.check(err)
		all.Go(func() {
			err := p.Wait()
			out.Seek(0, 0)
			bad := cli.ReadEvents(out, func(e cli.Event) { last[i] = e })
			if err != nil || bad != nil || last[i].Kind != "done" {
				t.Errorf("machine %d: %v, %v, last said %+v, standard error: %s", i, err, bad, last[i], &said)
			}
		})
	}
	all.Wait()
	for i, e := range last {
		s.same(dests[i])
		if e.FromPeers == 0 || e.ToPeers == 0 {
			t.Errorf("machine %d had %d bytes from neighbours and gave them %d", i, e.FromPeers, e.ToPeers)
		}
		t.Logf("machine %d: %.1f s, %.1f MB from the origin, %.1f from neighbours, %.1f to them", i, e.Seconds,
			float64(e.FromOrigin)/1e6, float64(e.FromPeers)/1e6, float64(e.ToPeers)/1e6)
	}
	if last[2].FromOrigin == 0 {
		t.Error("Windows read nothing from the origin")
	}
	time.Sleep(200 * time.Millisecond) // nginx's log
	requests, err := s.server.Requests()
	s.check(err)
	if carried := float64(nginx.Carried(requests[len(before):])) / treeBytes; carried > 1.5 {
		t.Errorf("the origin carried %.2f copies", carried)
	} else {
		t.Logf("the origin carried %.2f copies", carried)
	}
	// And Windows' own opinion.
	if said, err := s.handout(s.win, "verify", `C:\lab\tree`, manifest, "--trust", `C:\lab.pub`); err != nil {
		t.Errorf("verify: %v: %s", err, said)
	}
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}

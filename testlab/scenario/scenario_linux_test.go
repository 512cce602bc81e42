package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"handout/testlab/cli"
	"handout/testlab/lab"
	"handout/testlab/nginx"
	"handout/testlab/payload"
	"handout/testlab/room"
)

// full is the form whose figures mean something.
var full = os.Getenv("HANDOUT_LAB") != ""

var (
	scratch string
	// One build for all the tests of a run, and none where every test is skipped.
	program = sync.OnceValues(func() (cli.Program, error) { return cli.Build(context.Background(), scratch) })
)

func TestMain(m *testing.M) {
	lab.Enter()
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp(payload.Scratch(1<<30), "handout-lab-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		return m.Run()
	}())
}

// story is one room under test.
type story struct {
	*testing.T
	*room.Room
	ctx context.Context
}

// open makes a room of n with equal links. It skips where a lab can't be had.
func open(t *testing.T, n int) *story { return openLab(t, lab.Options{Hosts: n}) }

// openLab is open for a lab that is special in more than its links, and a server with more directives.
func openLab(t *testing.T, o lab.Options, nginxDirectives ...string) *story {
	t.Helper()
	rate, size, limit := 40*lab.Mbit, int64(16<<20), 2*time.Minute
	if full {
		rate, size, limit = 25*lab.Mbit, 64<<20, 5*time.Minute
	} else {
		t.Parallel()
	}
	if !nginx.Installed() {
		t.Skip("needs nginx: make deps")
	}
	if soak {
		limit += 75 * time.Minute
	}
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(scratch, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, fmt.Errorf("the story took more than %v", limit))
	if o.Rate == 0 {
		o.Rate, o.OriginRate = rate, rate
	}
	r, err := room.Open(ctx, room.Options{
		Lab:     o,
		Program: bin,
		Size:    size,
		Dir:     dir,
		Nginx:   nginxDirectives,
	})
	if errors.Is(err, lab.ErrUnavailable) {
		cancel()
		t.Skip(err)
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); cancel(); os.RemoveAll(dir) })
	t.Logf("%d hosts, links of %v that give %.2f Mbit/s to a plain download, %.1f MiB", o.Hosts, o.Rate, r.Goodput*8/1e6, float64(r.Bytes)/(1<<20))
	if err := r.Begin(); err != nil {
		t.Fatal(err)
	}
	return &story{t, r, ctx}
}

// fetch starts a fetch on host i that stays as long as others need it.
func (s *story) fetch(i int, flags ...string) *room.Fetch {
	s.Helper()
	f, err := s.Fetch(s.ctx, i, append([]string{"--linger", "auto:5m"}, flags...)...)
	if err != nil {
		s.Fatal(err)
	}
	return f
}

func (s *story) until(f *room.Fetch, share float64) {
	s.Helper()
	err := f.Until(s.ctx, fmt.Sprintf("%.0f %% were there", share*100), func(e cli.Event) bool {
		return e.Total > 0 && float64(e.Done) >= share*float64(e.Total)
	})
	if err != nil {
		s.Fatal(err)
	}
}

// end waits for all to end well, compares every tree and prints the figures.
func (s *story) end(fetches ...*room.Fetch) room.Figures {
	s.Helper()
	return s.endOf(0, fetches...)
}

// endOf is end where hosts before the first had no fetch.
func (s *story) endOf(first int, fetches ...*room.Fetch) room.Figures {
	s.Helper()
	var done []time.Time
	for _, f := range fetches {
		last, err := f.Wait(s.ctx)
		if err != nil {
			s.Error(err)
			continue
		}
		at, _ := f.PublishedAt()
		done = append(done, at)
		s.Logf("%s: %.2f s = %.3f F/u, %.3f F from the origin, %.3f F from neighbours, %.3f F to neighbours", f.Host.Name, last.Seconds,
			last.Seconds*s.Goodput/float64(s.Bytes), s.share(last.FromOrigin), s.share(last.FromPeers), s.share(last.ToPeers))
	}
	for i := first; i < len(s.Lab.Hosts); i++ {
		if err := s.Verify(i); err != nil {
			s.Error(err)
		}
	}
	figures, err := s.Figures(done...)
	if err != nil {
		s.Fatal(err)
	}
	s.Log(figures)
	return figures
}

// share is bytes as a part of the package.
func (s *story) share(bytes int64) float64 { return float64(bytes) / float64(s.Bytes) }

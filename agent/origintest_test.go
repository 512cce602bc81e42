package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"handout/agent/api"
	"handout/sources"
)

// atOnce notes how many requests were under way together, each of which stands for a connection.
type atOnce struct {
	http.Handler
	mu        sync.Mutex
	now, most int
}

func (h *atOnce) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.count(1)
	defer h.count(-1)
	h.Handler.ServeHTTP(w, r)
}

func (h *atOnce) count(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now += n
	h.most = max(h.most, h.now)
}

// A test of an origin opens no connection that the site has not left.
func TestOriginTestKeepsToTheSite(t *testing.T) {
	h := &atOnce{Handler: http.FileServer(http.Dir(tree(t)))}
	test := api.OriginTest{Origin: server(t, h), File: "big.bin", Bytes: 3<<20 + 17, Milliseconds: 50}
	config := Config{Site: "test of an origin", SiteConnections: 2}
	reads := run(t, config)
	config.Seeds = []string{fmt.Sprintf("127.0.0.1:%d", reads.PeerPort())}
	tests := run(t, config)
	for end := time.Now().Add(time.Minute); len(tests.site.Members()) == 0 || len(reads.site.Members()) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the two don't meet")
		}
	}
	holder := borrowed{agent: reads, first: 8, lost: func(error) {}}
	until, done := context.WithCancel(t.Context())
	defer done()
	for holder.upTo(until, 2) < 2 {
	}
	if f, err := tests.TestOrigin(t.Context(), test); !errors.Is(err, errNoLease) || f.Error == "" || f.Advice == "" || h.most != 0 {
		t.Errorf("all connections are out, and still: %+v, %v, %d requests", f, err, h.most)
	}
	reads.site.Release(holder.held[1], 0)
	f, err := tests.TestOrigin(t.Context(), test)
	if err != nil || !slices.Equal(f.Connections, []int{1}) || len(f.Rates) != 1 || f.Rates[0] <= 0 || !f.Left || h.most != 1 {
		t.Errorf("one connection is left: %+v, %v, %d at once", f, err, h.most)
	}
	reads.site.Release(holder.held[0], 0)
	f, err = tests.TestOrigin(t.Context(), test)
	if err != nil || !slices.Equal(f.Connections, []int{1, 2}) || f.Left || h.most > 2 {
		t.Errorf("both are left: %+v, %v, %d at once", f, err, h.most)
	}
	if n := tests.site.Status().Mine; n != 0 {
		t.Errorf("%d leases are kept after the test", n)
	}
}

func TestWhatCannotBeTested(t *testing.T) {
	a := run(t, Config{NoPeers: true})
	here := api.OriginTest{Origin: tree(t), File: "big.bin", Bytes: 3<<20 + 17, Milliseconds: 1}
	for _, change := range []func(*api.OriginTest){
		func(t *api.OriginTest) { t.Milliseconds = 0 },
		func(t *api.OriginTest) { t.Milliseconds = 1 << 40 },
		func(t *api.OriginTest) { t.Bytes = -1 },
		func(t *api.OriginTest) { t.Origin = "ftp://h/p" },
		func(t *api.OriginTest) { t.Origin = "smb://u:hunter2@h/p" },
	} {
		wrong := here
		change(&wrong)
		if _, err := a.TestOrigin(t.Context(), wrong); !errors.Is(err, api.ErrBadTest) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	a.testing.Lock()
	if _, err := a.TestOrigin(t.Context(), here); !errors.Is(err, api.ErrBusy) {
		t.Error(err)
	}
	a.testing.Unlock()
	if f, err := a.TestOrigin(t.Context(), here); err != nil || !f.Readable || len(f.Rates) != 3 {
		t.Errorf("%+v, %v", f, err)
	}
	here.Origin = filepath.Join(here.Origin, "absent")
	if f, err := a.TestOrigin(t.Context(), here); err == nil || f.Error == "" || f.Readable {
		t.Errorf("%+v, %v", f, err)
	}
}

// A share that refuses us needs another account, or another right; a Windows service is the computer there.
func TestAdviceOnARefusal(t *testing.T) {
	for _, c := range []struct {
		as       string
		bySystem bool
		says     string
	}{
		{"", true, `DOMAIN\Domain Computers`},
		{"guest", false, "--credentials"},
		{"games", false, "Let this user read"},
	} {
		f := api.OriginFindings{Reachable: true, As: c.as}
		if judgeOrigin(&f, sources.ErrDenied, c.bySystem); !strings.Contains(f.Advice, c.says) || f.Error == "" {
			t.Errorf("%+v: %q", c, f.Advice)
		}
	}
}

// A server without ranges is read all the same, and said to be one.
func TestOriginWithoutRangesIsSaidToBeOne(t *testing.T) {
	content := make([]byte, 3<<20)
	url := server(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content)
	}))
	f, err := run(t, Config{NoPeers: true}).TestOrigin(t.Context(), api.OriginTest{Origin: url, Bytes: int64(len(content)), Milliseconds: 50})
	if err != nil || !f.NoRanges || len(f.Rates) != len(originStreams) || !strings.Contains(f.Advice, "ranges") {
		t.Errorf("%+v, %v", f, err)
	}
}

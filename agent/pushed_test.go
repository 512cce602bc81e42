package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"handout/agent/api"
	"handout/agent/orders"
	"handout/agent/site"
	"handout/manifest"
)

// admin is somebody with a key for packages and one for orders.
type admin struct {
	publish, push manifest.PrivateKey
	site          string
	serial        uint64
}

func newAdmin(t *testing.T) *admin {
	t.Helper()
	publish, _, err := manifest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	push, _, err := manifest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return &admin{publish, push, strings.ReplaceAll(t.Name(), "/", "-"), 100}
}

// machine is the config of one that obeys the admin.
func (d *admin) machine(t *testing.T, seeds ...*Agent) Config {
	t.Helper()
	state := t.TempDir()
	c := Config{
		Site: d.site, Domains: []string{}, StateDir: state,
		Installed: true, Cache: Cache{Dir: t.TempDir()},
		Pushes: Pushes{Rules: orders.Rules{Push: []manifest.PublicKey{d.push.Public()}, Publish: []manifest.PublicKey{d.publish.Public()}}},
		Log:    slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, s := range seeds {
		c.Seeds = append(c.Seeds, seedOf(s)...)
	}
	return c
}

// pack is a signed package, of which an HTTP server that counts has the files.
func (d *admin) pack(t *testing.T, version string, n int) (raw []byte, o orders.Order, served *counting) {
	t.Helper()
	return d.packNamed(t, "apps", version, n)
}

func (d *admin) packNamed(t *testing.T, name, version string, n int) (raw []byte, o orders.Order, served *counting) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "apps")
	content := strings.Repeat("version "+version+" is here\n", n/10)[:n-len(name)] + name
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
	served = &counting{Handler: http.FileServer(http.Dir(dir))}
	raw, err := manifest.Build(t.Context(), dir, manifest.BuildOptions{Origins: []string{server(t, served)}, Name: name, Version: version})
	if err == nil {
		raw, err = manifest.Sign(raw, d.publish)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Open(raw, anybody)
	if err != nil {
		t.Fatal(err)
	}
	return raw, orders.Order{Kind: orders.Push, Name: m.Name, Version: m.Version, Manifest: sha256.Sum256(raw), Size: int64(len(raw)), InfoHash: m.InfoHash}, served
}

// sign gives an order the next serial.
func (d *admin) sign(t *testing.T, o orders.Order) []byte {
	t.Helper()
	d.serial++
	o.Site, o.Serial, o.Issued, o.Expires = d.site, d.serial, time.Now(), time.Now().Add(time.Hour)
	text, err := o.Sign(d.push)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func memberPort(a *Agent) string { return fmt.Sprintf("127.0.0.1:%d", a.PeerPort()+1) }

// give hands an order to one machine, as a desk does.
func (d *admin) give(t *testing.T, a *Agent, text, raw []byte) error {
	t.Helper()
	for {
		c, err := site.Ask(t.Context(), memberPort(a), orders.Greeting, d.site, a.c.SiteKey)
		if errors.Is(err, site.ErrBusy) {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return orders.NewAsker(c).GiveOrder(text, raw)
	}
}

// begin has an agent run until it is told to stop, so that another can follow it with the same folders.
func begin(t *testing.T, config Config) (*Agent, func()) {
	t.Helper()
	config.Journal = OpenJournal(config.StateDir, config.Log)
	if err := os.MkdirAll(config.StateDir, 0o755); err != nil {
		t.Fatal(err)
	}
	a, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	return a, func() {
		t.Helper()
		stop()
		if err := errors.Join(<-ended, config.Journal.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 30 s: " + what)
		}
	}
}

func versionAt(dest string) string {
	b, _ := os.ReadFile(filepath.Join(dest, "file"))
	text, _ := strings.CutPrefix(string(b), "version ")
	version, _, _ := strings.Cut(text, " ")
	return version
}

func (a *Agent) events(kind Kind) (all []string) {
	list, _ := a.journal.After(0)
	for _, e := range list {
		if e.Kind == string(kind) {
			all = append(all, e.Text)
		}
	}
	return all
}

func refusedFor(a *Agent, why orders.Reason) func() bool {
	return func() bool {
		return slices.ContainsFunc(a.events(OrderRefused), func(s string) bool { return strings.Contains(s, "("+string(why)+")") })
	}
}

// A push reaches every machine of a site, those that come later too; a newer one replaces it; a withdrawal ends it; and all
// of it outlives a restart.
func TestPushReachesASite(t *testing.T) {
	d := newAdmin(t)
	first := run(t, d.machine(t))
	all := []*Agent{first}
	for range 3 {
		all = append(all, run(t, d.machine(t, first)))
	}
	raw, o, served := d.pack(t, "1", 600_000)
	if err := d.give(t, all[1], d.sign(t, o), raw); err != nil {
		t.Fatal(err)
	}
	at := func(a *Agent) string { return filepath.Join(a.c.Cache.Dir, "apps") }
	have := func(version string) func() bool {
		return func() bool {
			return !slices.ContainsFunc(all, func(a *Agent) bool { return versionAt(at(a)) != version })
		}
	}
	soon(t, "all have version 1", have("1"))
	late := d.machine(t, all[2])
	ctx, stop := context.WithCancel(t.Context())
	a, err := New(late)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	soon(t, "the late one has it", func() bool { return versionAt(filepath.Join(late.Cache.Dir, "apps")) == "1" })
	soon(t, "status says so", func() bool {
		s := a.Status()
		return len(s.Packages) == 1 && s.Packages[0].State == api.Here && s.Packages[0].Pushed != nil && s.Packages[0].Pushed.Serial == 101
	})
	t.Logf("the origin gave %.2f copies to 5 machines", float64(served.bytes.Load())/600_000)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	raw2, o2, _ := d.pack(t, "2", 600_000)
	if err := d.give(t, all[3], d.sign(t, o2), raw2); err != nil {
		t.Fatal(err)
	}
	soon(t, "all have version 2", have("2"))
	if err := d.give(t, all[0], d.sign(t, orders.Order{Kind: orders.Withdraw, Name: o.Name}), nil); err != nil {
		t.Fatal(err)
	}
	soon(t, "all have heard of the withdrawal", func() bool {
		return !slices.ContainsFunc(all, func(a *Agent) bool { return len(a.events(OrderEnded)) == 0 })
	})
	if versionAt(at(all[2])) != "2" || len(all[2].orders.placed.names()) > 0 || all[2].Status().Packages[0].Pushed != nil {
		t.Error("a withdrawn package stays in the cache until room is needed, and nothing else")
	}

	// The machine that was off meanwhile still has version 1 and its order: it learns what it missed from whoever it meets.
	back := run(t, late)
	soon(t, "it has heard of the withdrawal", func() bool { return len(back.events(OrderEnded)) > 0 })
}

// Whoever has learnt an order tells it on: gossip from one machine alone reaches a handful.
func TestLearnerTellsOthers(t *testing.T) {
	d := newAdmin(t)
	first := run(t, d.machine(t))
	learner := run(t, d.machine(t, first))
	heard := make(chan site.Told, 1000)
	listener, err := site.New(site.Options{Name: d.site, Networks: first.nets, Connections: 1, Heard: func(told site.Told) {
		select {
		case heard <- told:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	loopback := netip.MustParseAddr("127.0.0.1")
	listener.Join([]netip.AddrPort{netip.AddrPortFrom(loopback, uint16(first.PeerPort()+1)), netip.AddrPortFrom(loopback, uint16(learner.PeerPort()+1))})
	soon(t, "all have met", func() bool {
		return len(learner.site.Members()) == 2 && len(first.site.Members()) == 2 && len(listener.Members()) == 2
	})
	raw, o, _ := d.pack(t, "1", 1000)
	if err := d.give(t, first, d.sign(t, o), raw); err != nil {
		t.Fatal(err)
	}
	want := first.orders.book.Digest()
	limit := time.After(10 * time.Second) // the membership's own exchanges, which carry it too, are half a minute apart
	for {
		select {
		case told := <-heard:
			if told.Digest == want && int(told.Member.Port()) == learner.PeerPort()+1 {
				return
			}
		case <-limit:
			t.Fatal("the machine that learnt the order told nobody")
		}
	}
}

// Without a trusted push key nobody can make a machine fetch anything, and with one only as far as its config goes.
func TestOrdersThatAreNotObeyed(t *testing.T) {
	d := newAdmin(t)
	config := d.machine(t)
	root := t.TempDir()
	config.Pushes.Roots = map[string]string{"apps": root}
	a := run(t, config)
	raw, o, served := d.pack(t, "1", 1000)
	in := func(root, path string) orders.Order {
		o := o
		o.Root, o.Path = root, path
		return o
	}
	want := func(what string, err error, why orders.Reason) {
		t.Helper()
		r, ok := errors.AsType[*orders.Refusal](err)
		if !ok || r.Reason != why {
			t.Errorf("%s: %v, want %s", what, err, why)
		}
		if !refusedFor(a, why)() {
			t.Errorf("%s: no word of it in the journal: %q", what, a.events(OrderRefused))
		}
	}
	want("another root", d.give(t, a, d.sign(t, in("etc", "x")), raw), orders.NoRoot)
	other := o
	other.Version = "7"
	want("another package than the manifest's", d.give(t, a, d.sign(t, other), raw), orders.BadGoods)
	stranger := newAdmin(t)
	want("another key", d.give(t, a, stranger.sign(t, o), raw), orders.Untrusted)
	// Whoever may push can't make packages: this one is signed by the push key.
	d2 := *d
	d2.publish = d.push
	forged, fo, _ := d2.pack(t, "3", 1000)
	want("a package that no publisher signed", d.give(t, a, d.sign(t, fo), forged), orders.BadGoods)

	deaf := d.machine(t)
	deaf.Pushes.Rules.Push = nil
	a = run(t, deaf)
	want("no trusted push key", d.give(t, a, d.sign(t, o), raw), orders.Deaf)
	if n := served.bytes.Load(); n > 0 {
		t.Errorf("%d bytes were fetched for orders that were refused", n)
	}
	if list, _ := os.ReadDir(filepath.Join(deaf.StateDir, "orders")); len(list) > 0 {
		t.Errorf("the machine that obeys nobody keeps %d files", len(list))
	}
}

// In a root a pushed package stands where the order says, replaces only what the agent put there, and stays when it is
// withdrawn. A link in the way leads nowhere.
func TestPushIntoARoot(t *testing.T) {
	d := newAdmin(t)
	config := d.machine(t)
	root, outside := t.TempDir(), t.TempDir()
	config.Pushes.Roots = map[string]string{"apps": root}
	a := run(t, config)
	push := func(version, path string) {
		t.Helper()
		raw, o, _ := d.pack(t, version, 1000)
		o.Root, o.Path = "apps", path
		if err := d.give(t, a, d.sign(t, o), raw); err != nil {
			t.Fatal(err)
		}
	}
	push("1", "lab/tools")
	at := filepath.Join(root, "lab", "tools")
	soon(t, "version 1 stands", func() bool { return versionAt(at) == "1" })
	push("2", "lab/tools")
	soon(t, "version 2 stands", func() bool { return versionAt(at) == "2" })
	push("3", "other")
	soon(t, "version 3 stands elsewhere", func() bool { return versionAt(filepath.Join(root, "other")) == "3" })
	if err := os.Mkdir(filepath.Join(root, "theirs"), 0o755); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(root, "theirs", "file"), []byte("mine"), 0o644)
	push("4", "theirs")
	soon(t, "what somebody else put there is left alone", func() bool {
		return slices.ContainsFunc(a.Status().Packages, func(p api.Package) bool {
			return strings.Contains(p.Error, "exists") || strings.Contains(p.Error, "of no package")
		})
	})
	if b, _ := os.ReadFile(filepath.Join(root, "theirs", "file")); string(b) != "mine" {
		t.Errorf("it holds %.20q", b)
	}
	if err := os.Symlink(outside, filepath.Join(root, "link")); err != nil {
		t.Skip("no symlinks here")
	}
	push("5", "link/tools")
	soon(t, "a link is not followed", refusedFor(a, orders.NoRoot))
	if list, _ := os.ReadDir(outside); len(list) > 0 {
		t.Errorf("outside the root there is %v", list)
	}
	if err := d.give(t, a, d.sign(t, orders.Order{Kind: orders.Withdraw, Name: "apps"}), nil); err != nil {
		t.Fatal(err)
	}
	soon(t, "it is withdrawn", func() bool { return len(a.events(OrderEnded)) > 0 })
	if versionAt(filepath.Join(root, "other")) != "3" {
		t.Error("a withdrawal took files away")
	}
}

// With a site key only those who have it hear of orders or give any.
func TestOrdersOfAKeyedSite(t *testing.T) {
	d := newAdmin(t)
	config := d.machine(t)
	config.SiteKey = []byte(strings.Repeat("k", 32))
	a := run(t, config)
	for _, key := range [][]byte{nil, []byte(strings.Repeat("x", 32))} {
		if _, err := site.Ask(t.Context(), memberPort(a), orders.Greeting, d.site, key); !errors.Is(err, site.ErrSiteKey) {
			t.Errorf("key %.3q: %v", key, err)
		}
	}
	second := d.machine(t, a)
	second.SiteKey = config.SiteKey
	b := run(t, second)
	raw, o, _ := d.pack(t, "1", 1000)
	if err := d.give(t, a, d.sign(t, o), raw); err != nil {
		t.Fatal(err)
	}
	soon(t, "the other has it", func() bool { return versionAt(filepath.Join(b.c.Cache.Dir, "apps")) == "1" })
}

func TestOriginsAllowed(t *testing.T) {
	list := []string{"http://files.example/pub", `\\nas\images`, "/srv/pkgs"}
	for o, want := range map[string]bool{
		"http://files.example/pub":                     true,
		"HTTP://Files.Example:80/pub/win11":            true,
		"http://files.example/public":                  false,
		"http://files.example/pub/../secret":           false,
		"http://files.example/pub/%2e%2e/x":            false,
		"http://files.example/pub/..%2fx":              false,
		"http://files.example/pub/..%5cx":              false,
		"http://files.example:8080/pub":                false,
		"https://files.example/pub":                    false,
		"http://files.example@evil.example/pub":        false,
		"http://evil.example/http://files.example/pub": false,
		"smb://nas/Images/win11":                       true,
		`\\nas\images\x`:                               true,
		`\\nas\images\..\c$`:                           false,
		"smb://nas/imagesx":                            false,
		"/srv/pkgs/a":                                  true,
		"/srv/pkgs/../x":                               false,
		"/srv/pkgsx":                                   false,
		"../srv/pkgs":                                  false,
		"file:///srv/pkgs":                             false,
		"":                                             false,
	} {
		if got := allows(list, o); got != want {
			t.Errorf("%q: %v", o, got)
		}
	}
}

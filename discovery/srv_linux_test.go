package discovery

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// nameServer runs dnsmasq on the host's loopback with these options, and returns a resolver that asks it.
func (h *host) nameServer(options ...string) *net.Resolver {
	h.l.t.Helper()
	program, err := exec.LookPath("dnsmasq")
	if err != nil {
		h.l.t.Skip("needs dnsmasq: make deps")
	}
	cmd := exec.Command(program, append([]string{"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file",
		"--user=root", "--port=53", "--listen-address=127.0.0.1", "--bind-interfaces", "--log-facility=-"}, options...)...)
	said := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = said, said
	h.l.must(h.inside(cmd.Start))
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	h.l.t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	dial := func(ctx context.Context, network, _ string) (c net.Conn, err error) {
		err = h.inside(func() error {
			c, err = new(net.Dialer).DialContext(ctx, network, "127.0.0.1:53")
			return err
		})
		return c, err
	}
	for {
		if c, err := dial(h.l.t.Context(), "tcp", ""); err == nil {
			c.Close()
			return &net.Resolver{PreferGo: true, Dial: dial}
		}
		select {
		case <-ended:
			h.l.t.Fatalf("dnsmasq ended at once: %s", said)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// One record carries a campus where multicast doesn't pass.
func TestNameServiceNamesAgents(t *testing.T) {
	l := newLab(t)
	h := l.newHost()
	options := []string{
		"--srv-host=_handout._tcp.lab.example,depot.lab.example,4747", "--host-record=depot.lab.example,10.9.0.1,fd00::9",
		"--srv-host=_handout._tcp.lab.example,spare.lab.example,5000", "--host-record=spare.lab.example,10.9.0.2",
		"--srv-host=_handout._tcp.lab.example,gone.lab.example,4747",
		"--srv-host=_handout._tcp.none.example",
		"--local=/example/",
	}
	for i := range 100 {
		options = append(options, fmt.Sprintf("--srv-host=_handout._tcp.crowd.example,h%d.crowd.example,4747", i),
			fmt.Sprintf("--host-record=h%d.crowd.example,10.8.0.%d", i, i+1))
	}
	r := h.nameServer(options...)
	lookup := func(domain string) []string {
		t.Helper()
		addrs, err := LookupDomain(t.Context(), r, domain)
		if err != nil {
			t.Errorf("%s: %v", domain, err)
		}
		var all []string
		for _, a := range addrs {
			all = append(all, a.String())
		}
		slices.Sort(all)
		return all
	}
	want := []string{"10.9.0.1:4747", "10.9.0.2:5000", "[fd00::9]:4747"}
	for _, domain := range []string{"lab.example", "Lab.Example."} {
		if got := lookup(domain); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", domain, got, want)
		}
	}
	for _, domain := range []string{"none.example", "absent.example"} {
		if got := lookup(domain); len(got) != 0 {
			t.Errorf("%s: %q", domain, got)
		}
	}
	if got := lookup("crowd.example"); len(got) != maxTargets {
		t.Errorf("of a hundred records %d are followed, want %d", len(got), maxTargets)
	}
	for name, domains := range map[string][]string{"by its domain": {"absent.example", "lab.example"}, "not asked": {}} {
		a := h.run(Options{Port: 4747, Domains: domains, Resolver: r})
		if len(domains) > 0 {
			a.finds(6*soon, want...)
			continue
		}
		a.stop()
		if len(a.all()) > 0 {
			t.Errorf("%s: found %v", name, a.all())
		}
	}
}

// A name service that does not answer must not hold up the rest, and is no answer.
func TestNameServiceMute(t *testing.T) {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		a, b := net.Pipe()
		context.AfterFunc(ctx, func() { b.Close() })
		return a, nil
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if addrs, err := LookupDomain(ctx, r, "lab.example"); err == nil {
		t.Errorf("found %v", addrs)
	}
}

func TestSearchList(t *testing.T) {
	for text, want := range map[string]string{
		"nameserver 10.0.0.1\n":                                      "[]",
		"domain a.example\nsearch lab.example campus.example\n":      "[lab.example campus.example]",
		"search lab.example\n# search b.example\ndomain a.example\n": "[a.example]",
	} {
		if got, err := searchList(strings.NewReader(text)); fmt.Sprint(got) != want || err != nil {
			t.Errorf("%q: %v, %v; want %s", text, got, err, want)
		}
	}
}

// A search list may hold anything a network's DHCP server says.
func TestUsableDomains(t *testing.T) {
	got := usableDomains([]string{"Lab.Example.", "lab.example", ".", "local", " ", strings.Repeat("a.", 200) + "x",
		"b", "c", "d", "e", "f", "g", "h", "i", "j"})
	if want := "[lab.example b c d e f g h]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

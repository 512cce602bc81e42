package site

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"handout/agent/plan"
)

// door is a port for neighbours that opens.
func door(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// closedDoor is a port that nobody listens on.
func closedDoor(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// The commonest reason for a flood: nobody can come in. The machine itself says so, and all others name it.
func TestBlockedMachineIsNamedByAll(t *testing.T) {
	open, shut := newSite(t, Options{PeerPort: door(t)}), newSite(t, Options{PeerPort: closedDoor(t)})
	third := newSite(t, Options{PeerPort: door(t)})
	shut.Join([]netip.AddrPort{open.at()})
	third.Join([]netip.AddrPort{open.at()})
	eventually(t, 30*time.Second, "each knows whether it can be reached", func() bool {
		return open.Reach() == Reach{Tried: true} && third.Reach() == Reach{Tried: true} && shut.Reach() == Reach{true, PeerTCP}
	})
	for _, s := range []*Site{open, third} {
		eventually(t, 30*time.Second, "the others name it", func() bool {
			return fmt.Sprint(s.Status().Unreachable) == "[127.0.0.1]"
		})
	}
	if n := len(shut.Status().Unreachable); n != 0 {
		t.Errorf("it calls %d others unreachable", n)
	}
	for _, m := range open.All() {
		if isShut := m.Peer.Port() == uint16(shut.o.PeerPort); isShut != (m.Shut == PeerTCP) {
			t.Errorf("%v: shut %v", m.Peer, m.Shut)
		}
	}
}

func TestDialBackTellsWhyAMachineStandsAlone(t *testing.T) {
	key, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	peer := door(t)
	for _, c := range []struct {
		what string
		of   Options
		name string
		key  []byte
		same bool
	}{
		{"same site, open", Options{}, "", nil, true},
		{"same key", Options{Key: key, Name: "lab"}, "lab", key, true},
		{"another key", Options{Key: key, Name: "lab"}, "lab", other, false},
		{"no key here", Options{Key: key, Name: "lab"}, "lab", nil, false},
		{"no key there", Options{Name: "lab"}, "lab", key, false},
		{"another name", Options{Key: key, Name: "lab"}, "room", key, false},
	} {
		s := newSite(t, c.of)
		e, err := AskDialBack(t.Context(), s.at(), peer, 0, c.name, c.key)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		if e.SameSite != c.same || e.Keyed != (c.of.Key != nil) || e.Site != named(c.of.Name) {
			t.Errorf("%s: %+v", c.what, e)
		}
		if e.Opens != PeerTCP || e.Seen.String() != "127.0.0.1" || e.Clock.Abs() > 10*time.Second {
			t.Errorf("%s: %+v", c.what, e)
		}
	}
}

// Whoever asks may have its own address dialled, a few times at once, and nobody else's.
func TestDialBackIsNoScanner(t *testing.T) {
	s := newSite(t, Options{})
	silent := func() net.Conn {
		c, err := net.Dial("tcp", s.at().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprint(c, greeting) // and no question: a dial back under way
		return c
	}
	for range maxDialBacksOfOneHost {
		silent()
	}
	eventually(t, 30*time.Second, "the askers are served", func() bool {
		return dialsUnderWay(s) == maxDialBacksOfOneHost
	})
	if _, err := AskDialBack(t.Context(), s.at(), door(t), 0, "", nil); err == nil {
		t.Error("one host has more dials under way than it may")
	}
	d := newDialer("", nil, netip.MustParsePrefix("10.0.0.0/8").Contains)
	if d.begin(netip.MustParseAddr("192.0.2.1")) {
		t.Error("a stranger to the site's networks is dialled")
	}
	for i := range maxDialBacks + 10 {
		if ok := d.begin(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})); ok != (i < maxDialBacks) {
			t.Fatalf("asker %d: served %v", i, ok)
		}
	}
}

func dialsUnderWay(s *Site) int {
	d := s.port.dialer
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all
}

// Where no agent runs, a porch stands at the doors for as long as somebody looks.
func TestPorchIsComeInBy(t *testing.T) {
	member := newSite(t, Options{})
	var p *Porch
	port := 0
	for err := errors.New("not tried"); err != nil; p, err = OpenPorch(port) {
		if port = closedDoor(t); port == 65535 {
			port--
		}
	}
	defer p.Close()
	if _, err := OpenPorch(port); err == nil {
		t.Error("a second porch stands at the same doors")
	}
	e, err := AskDialBack(t.Context(), member.at(), port, port+1, "", nil)
	if err != nil || e.Opens != PeerTCP|MemberTCP || !p.Knocked(e) {
		t.Errorf("%+v, %v", e, err)
	}
	if p.Knocked(Echo{nonce: make([]byte, nonceBytes)}) {
		t.Error("a knock that never was")
	}
}

// A port that says nothing, or nonsense without end, holds nobody up.
func TestDialBackAskedOfAStranger(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for _, err := c.Write(bytes.Repeat([]byte("x"), 4096)); err == nil; _, err = c.Write([]byte("x")) {
				}
			}()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if e, err := AskDialBack(ctx, netip.MustParseAddrPort(l.Addr().String()), 1, 2, "", nil); err == nil || ctx.Err() != nil {
		t.Errorf("%+v, %v", e, err)
	}
}

// A steward behind a firewall would be deaf to whoever asks.
func TestMachineThatCannotBeAskedIsSteward(t *testing.T) {
	alive := map[plan.MemberID]bool{"a": true, "b": true, "c": true, "d": true}
	ranks := map[plan.MemberID]int{"a": 0, "b": 1, "c": 0, "d": unfit}
	rank := func(m plan.MemberID) int { return ranks[m] }
	r := roll{Founder: "b", Order: []plan.MemberID{"b"}}
	step := func(what, want string) {
		t.Helper()
		r.keep(alive, rank)
		if got := fmt.Sprint(r.Order); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	step("those that stay come first, those that can't be asked last", "[a c b d]")
	ranks["a"] = unfit
	step("a firewall goes up", "[c b a d]")
	ranks["a"] = 0
	step("and down: it has lost its place", "[c b a d]")
	ranks["d"] = 1
	delete(alive, "c")
	step("the dead are struck off", "[b a d]")
	ranks["b"], ranks["d"], ranks["a"] = unfit, unfit, unfit
	step("all are alike", "[b a d]")
}

func TestDoorsAreNamed(t *testing.T) {
	for d, want := range map[Doors]string{
		0: "", PeerTCP: "TCP 4747", MemberTCP: "TCP 4748", MemberUDP: "UDP 4748", PeerTCP | MemberUDP: "TCP 4747, UDP 4748",
		allDoors: "TCP 4747 and 4748, UDP 4748",
	} {
		if got := d.Ports(4747); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
	if r := Remedy(4747); !strings.Contains(r, "4747") || !strings.Contains(r, "4748") {
		t.Errorf("remedy %q", r)
	}
}

// What strangers say on the port for members, and what members answer.
func FuzzDialBack(f *testing.F) {
	f.Add([]byte(`{"peer":4747,"member":4748,"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}` + "\n"))
	f.Add([]byte(`{"seen":"10.0.0.1","opens":7,"unix_ms":1,"site":"lab","keyed":true,"proof":"AA=="}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := readQuestion(bufio.NewReaderSize(bytes.NewReader(b), maxLine)); err == nil {
			if q.Peer < 1 || q.Peer > 65535 || q.Member < 0 || q.Member > 65535 || len(q.Nonce) != nonceBytes {
				t.Errorf("question %+v", q)
			}
		}
		if e, err := readEcho(bufio.NewReaderSize(bytes.NewReader(b), maxLine), []byte("ours")); err == nil {
			if len(e.Site) > maxName || e.Opens&MemberUDP != 0 || e.SameSite && !bytes.Contains(b, []byte("b3Vycw")) {
				t.Errorf("echo %+v", e)
			}
		}
	})
}

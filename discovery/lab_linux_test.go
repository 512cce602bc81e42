package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// lab is a set of machines, each a network namespace of its own, and the switches between them. All of it is gone when
// the test ends: the namespaces have no names and live as long as their handles.
type lab struct {
	t     *testing.T
	ports []port
}

// port is one end of a cable.
type port struct {
	on   *netlink.Handle
	name string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	return &lab{t: t}
}

// namespace makes an empty network namespace.
func (l *lab) namespace() netns.NsHandle {
	l.t.Helper()
	type result struct {
		ns  netns.NsHandle
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.New()
		made <- result{ns, err}
	}()
	r := <-made
	if errors.Is(r.err, syscall.EPERM) {
		l.t.Skip("needs root to make network namespaces: run it as root, or as `unshare --map-root-user --net go test ./discovery`")
	}
	l.must(r.err)
	l.t.Cleanup(func() { r.ns.Close() })
	return r.ns
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// links gives access to the interfaces of a namespace.
func (l *lab) links(ns netns.NsHandle) *netlink.Handle {
	l.t.Helper()
	h, err := netlink.NewHandleAt(ns)
	l.must(err)
	l.t.Cleanup(h.Close)
	return h
}

// lan is one Ethernet.
type lan struct {
	ns   netns.NsHandle
	wire *netlink.Handle
}

func (l *lab) newLAN() lan {
	l.t.Helper()
	ns := l.namespace()
	h := l.links(ns)
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	off := false
	br.MulticastSnooping = &off // as on a plain switch
	l.must(h.LinkAdd(br))
	l.must(h.LinkSetUp(br))
	return lan{ns, h}
}

// host is one machine.
type host struct {
	l     *lab
	ns    netns.NsHandle
	links *netlink.Handle
}

func (l *lab) newHost() *host {
	l.t.Helper()
	ns := l.namespace()
	h := &host{l, ns, l.links(ns)}
	lo, err := h.links.LinkByName("lo")
	l.must(err)
	l.must(h.links.LinkSetUp(lo))
	return h
}

// plug connects the host to a LAN by an interface of that name with these addresses.
func (h *host) plug(to lan, name string, addrs ...string) *host {
	h.l.t.Helper()
	atSwitch := port{to.wire, fmt.Sprintf("port%d", len(h.l.ports))}
	h.l.ports = append(h.l.ports, atSwitch, port{h.links, name})
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: atSwitch.name}, PeerName: name, PeerNamespace: netlink.NsFd(h.ns)}
	h.l.must(to.wire.LinkAdd(veth))
	br, err := to.wire.LinkByName("br0")
	h.l.must(err)
	h.l.must(to.wire.LinkSetMaster(veth, br))
	h.l.must(to.wire.LinkSetUp(veth))
	nic, err := h.links.LinkByName(name)
	h.l.must(err)
	h.l.must(h.links.LinkSetUp(nic))
	for _, a := range addrs {
		h.addr(name, a)
	}
	return h
}

// settle waits until every cable carries packets: the kernel takes up to a second to notice one.
func (l *lab) settle() {
	l.t.Helper()
	for _, p := range l.ports {
		for end := time.Now().Add(soon); ; time.Sleep(5 * time.Millisecond) {
			nic, err := p.on.LinkByName(p.name)
			l.must(err)
			if nic.Attrs().OperState == netlink.OperUp {
				break
			}
			if time.Now().After(end) {
				l.t.Fatalf("%s is %v", p.name, nic.Attrs().OperState)
			}
		}
	}
}

func (h *host) addr(name, prefix string) {
	h.l.t.Helper()
	nic, err := h.links.LinkByName(name)
	h.l.must(err)
	a, err := netlink.ParseAddr(prefix)
	h.l.must(err)
	a.Flags = syscall.IFA_F_NODAD // usable at once
	h.l.must(h.links.AddrAdd(nic, a))
}

func (h *host) unaddr(name, prefix string) {
	h.l.t.Helper()
	nic, err := h.links.LinkByName(name)
	h.l.must(err)
	a, err := netlink.ParseAddr(prefix)
	h.l.must(err)
	h.l.must(h.links.AddrDel(nic, a))
}

func (h *host) gateway(name, addr string) {
	h.l.t.Helper()
	nic, err := h.links.LinkByName(name)
	h.l.must(err)
	h.l.must(h.links.RouteAdd(&netlink.Route{LinkIndex: nic.Attrs().Index, Gw: net.ParseIP(addr)}))
}

// inside runs f on a thread of the machine. What f opens stays there, whoever uses it afterwards.
func (h *host) inside(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := netns.Set(h.ns)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// noIPv6 switches IPv6 off, as some sites do.
func (h *host) noIPv6() *host {
	h.l.t.Helper()
	h.l.must(h.inside(func() error {
		return os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
	}))
	return h
}

// agent is a discovery under test and what it found.
type agent struct {
	t     *testing.T
	start time.Time
	stop  func()

	mu    sync.Mutex
	found map[netip.AddrPort]time.Duration // since the start, the first time
	calls int
}

// quick is the usual schedule but for the polling of interfaces.
func quick() schedule {
	s := usual()
	s.poll = 100 * time.Millisecond
	return s
}

// run starts discovery on h; it ends with the test at the latest.
func (h *host) run(o Options) *agent {
	ctx, cancel := context.WithCancel(context.Background())
	a := &agent{t: h.l.t, start: time.Now(), found: make(map[netip.AddrPort]time.Duration)}
	done := make(chan error)
	go func() {
		done <- h.inside(func() error { return run(ctx, o, quick(), a.saw) })
	}()
	a.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			a.t.Error(err)
		}
	})
	h.l.t.Cleanup(a.stop)
	return a
}

func (a *agent) saw(at netip.AddrPort, _ bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	if _, ok := a.found[at]; !ok {
		a.found[at] = time.Since(a.start)
	}
}

func (a *agent) all() map[netip.AddrPort]time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := make(map[netip.AddrPort]time.Duration)
	for k, v := range a.found {
		m[k] = v
	}
	return m
}

// finds waits until the agent has found all these addresses, and returns how long after its start that was.
func (a *agent) finds(within time.Duration, want ...string) (took time.Duration) {
	a.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		missing, got := "", a.all()
		for _, w := range want {
			at, ok := got[netip.MustParseAddrPort(w)]
			if !ok {
				missing += " " + w
			}
			took = max(took, at)
		}
		if missing == "" {
			return took
		}
		if time.Now().After(end) {
			a.t.Fatalf("after %v not found:%s; found %v", within, missing, got)
		}
	}
}

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ErrClosed is answered by a machine that was shut down.
var ErrClosed = errors.New("machine is shut down")

// Machine is a place where processes run: a host of a lab, or this machine itself (Local). One thread stands in its
// network namespace for as long as the machine lives; whatever must happen there happens on that thread.
// Its methods may be called from any goroutine.
type Machine struct {
	Name string
	Addr netip.Addr

	calls chan func()
	gone  chan struct{} // closed when the thread leaves

	mu        sync.Mutex
	processes []*Process
	closed    bool
}

// Local is a machine that is no namespace: its processes run in this process's own network, at 127.0.0.1.
func Local() *Machine {
	m := newMachine("local", netip.MustParseAddr("127.0.0.1"))
	onOwnThread(m.serve)
	return m
}

// boot makes a machine in a new network namespace, loopback up. The handle serves to plug links in; the caller closes it.
func boot(name string, addr netip.Addr) (*Machine, netns.NsHandle, error) {
	m := newMachine(name, addr)
	onOwnThread(m.serve)
	var ns netns.NsHandle
	err := m.Do(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWUTS); err != nil {
			return fmt.Errorf("new host name space: %w", err)
		}
		if err = unix.Sethostname([]byte(name)); err != nil {
			return fmt.Errorf("set host name: %w", err)
		}
		if ns, err = netns.New(); err != nil {
			return fmt.Errorf("new network namespace: %w", err)
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		m.Close()
		return nil, netns.None(), fmt.Errorf("boot %s: %w", name, err)
	}
	return m, ns, nil
}

func newMachine(name string, addr netip.Addr) *Machine {
	return &Machine{Name: name, Addr: addr, calls: make(chan func()), gone: make(chan struct{})}
}

// serve is what the machine's thread does.
func (m *Machine) serve() {
	defer close(m.gone)
	for f := range m.calls {
		f()
	}
}

// onOwnThread runs f on a thread that nothing else uses and that ends with f, taking with it a namespace only it is in
// and, by their death signal, the processes started from it. It does not wait for f.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread() // never unlocked where f runs: that is what ends the thread
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		// A process's first thread can't end before the process does: hold it until f has found another.
		found := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(found)
			f()
		}()
		<-found
		runtime.UnlockOSThread()
	}()
}

// Do runs f on the machine's thread, in its namespace. Sockets made in f belong to the machine for good; goroutines
// started in f do not. f must not block for long and must not call Do.
func (m *Machine) Do(f func() error) error {
	answer := make(chan error, 1)
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return fmt.Errorf("%s: %w", m.Name, ErrClosed)
	}
	// Sent under the lock, so that Close cannot close the channel meanwhile.
	m.calls <- func() { answer <- f() }
	m.mu.Unlock()
	return <-answer
}

// Dial opens a connection from this machine. The address must be numeric.
func (m *Machine) Dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = m.Do(func() error {
		c, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// Listen opens a listener on this machine. The address must be numeric.
func (m *Machine) Listen(network, addr string) (l net.Listener, err error) {
	err = m.Do(func() error {
		l, err = net.Listen(network, addr)
		return err
	})
	return l, err
}

// Close kills every process started here that still runs, waits for each, and gives the namespace up.
func (m *Machine) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	close(m.calls)
	processes := m.processes
	m.mu.Unlock()
	for _, p := range processes {
		p.Kill()
		p.Wait()
	}
	<-m.gone
	return nil
}

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoNameServer is answered where this machine has no dnsmasq.
var ErrNoNameServer = errors.New("needs dnsmasq: make deps")

// ServeNames runs a name server on this machine that knows what these options of dnsmasq say, "--host-record=depot.lab.example,10.78.1.1"
// for example, and returns once it answers.
func (m *Machine) ServeNames(ctx context.Context, options ...string) error {
	program, err := exec.LookPath("dnsmasq")
	if err != nil {
		return ErrNoNameServer
	}
	p, err := m.Start(exec.Command(program, append([]string{"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
		"--pid-file", "--user=root", "--listen-address=" + m.Addr.String(), "--bind-interfaces", "--log-facility=-"}, options...)...))
	if err != nil {
		return err
	}
	for {
		c, err := m.Dial(ctx, "tcp", netip.AddrPortFrom(m.Addr, 53).String())
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.Done():
			return fmt.Errorf("dnsmasq ended at once: %w", p.Wait())
		case <-ctx.Done():
			return fmt.Errorf("wait for dnsmasq: %w", context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// AskNames has the processes that are started on this machine from now on ask a name server, and look names up in a domain.
func (m *Machine) AskNames(server netip.Addr, domain string) error {
	f, err := os.CreateTemp("", "resolv-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // the mount keeps what was in it
	if _, err := fmt.Fprintf(f, "nameserver %s\nsearch %s\n", server, domain); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return m.Do(func() error {
		// The thread, and what is started from it, gets mounts of its own.
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("new mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("keep mounts apart: %w", err)
		}
		if err := unix.Mount(f.Name(), "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("put resolv.conf in place: %w", err)
		}
		return nil
	})
}

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Enter()
	os.Exit(m.Run())
}

// A figure is worth what the link it was taken on is worth.
func TestLinkIsAsSlowAsItSaysBothWays(t *testing.T) {
	t.Parallel()
	l := ForTest(t, Options{Hosts: 1, Rate: 25 * Mbit, OriginRate: 25 * Mbit})
	h := l.Hosts[0]
	for _, way := range []struct {
		name     string
		from, to *Machine
	}{{"down", l.Origin, h}, {"up", h, l.Origin}} {
		const size = 6 << 20
		before, err := way.from.Counters()
		if err != nil {
			t.Fatal(err)
		}
		// A busy machine may not fill the link at once; nothing may overfill it.
		var mbit float64
		tries := 0
		for ; tries < 4 && mbit < 22.5; tries++ {
			took := pump(t, way.from, way.to, size).Seconds()
			mbit = float64(size) * 8 / took / 1e6
			t.Logf("%s: %.2f Mbit/s of payload", way.name, mbit)
			if mbit > 24.6 {
				t.Errorf("%s: %.2f Mbit/s of payload over 25 Mbit/s", way.name, mbit)
			}
			// Both ends of the link had saved up a bucket.
			if lasting, most := float64(size-2*burstBytes)/took, (25 * Mbit).Payload(); lasting > most {
				t.Errorf("%s: %.0f bytes per second last, which is more than %.0f", way.name, lasting, most)
			}
		}
		if mbit < 22.5 {
			t.Errorf("%s: 25 Mbit/s never gave more than 22.5", way.name)
		}
		after, err := way.from.Counters()
		if err != nil {
			t.Fatal(err)
		}
		if sent := after.SentBytes - before.SentBytes; sent < int64(tries)*size || sent > int64(tries)*size*11/10 {
			t.Errorf("%s: counter grew by %d for %d times %d bytes", way.name, sent, tries, size)
		}
	}
}

// A room with a slow machine in it has one, not sixteen.
func TestOneHostMayBeSlower(t *testing.T) {
	t.Parallel()
	l := ForTest(t, Options{Hosts: 2, HostRates: map[int]BitRate{1: 4 * Mbit}})
	const size = 1 << 20
	if took := pump(t, l.Origin, l.Hosts[1], size); took < 1500*time.Millisecond {
		t.Errorf("1 MiB over 4 Mbit/s came in %v", took)
	}
	if err := l.Hosts[0].Do(func() error { return unshaped(device) }); err != nil {
		t.Errorf("the other host: %v", err)
	}
}

func unshaped(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	disciplines, err := netlink.QdiscList(link)
	for _, q := range disciplines {
		if q.Type() == "tbf" {
			err = fmt.Errorf("%s is shaped: %v", name, q)
		}
	}
	return err
}

// pump moves size bytes over one connection and says how long that took.
func pump(t *testing.T, from, to *Machine, size int64) time.Duration {
	t.Helper()
	ln, err := to.Listen("tcp", netip.AddrPortFrom(to.Addr, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	out, err := from.Dial(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	start := time.Now()
	go func() { io.Copy(out, io.LimitReader(zeros{}, size)); out.Close() }()
	if n, err := io.Copy(io.Discard, in); err != nil || n != size {
		t.Fatalf("%d of %d bytes arrived: %v", n, size, err)
	}
	return time.Since(start)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestHostsSeeEachOtherAndNobodyElse(t *testing.T) {
	t.Parallel()
	l := ForTest(t, Options{Hosts: 2})
	a, b := l.Hosts[0], l.Hosts[1]
	ln, err := b.Listen("tcp", netip.AddrPortFrom(b.Addr, 4747).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	conn, err := a.Dial(ctx, "tcp", ln.Addr().String())
	if err != nil {
		t.Fatalf("one host to the other: %v", err)
	}
	defer conn.Close()
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if from, err := b.Remotes(4747); err != nil || len(from) != 1 || from[0] != a.Addr {
		t.Errorf("connections seen from %v (%v), there is one from %v", from, err, a.Addr)
	}
	if from, err := a.Remotes(4747); err != nil || len(from) != 0 {
		t.Errorf("connections seen from %v on the host that has none (%v)", from, err)
	}
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	if c, err := a.Dial(ctx, "tcp", outside.Addr().String()); err == nil {
		c.Close()
		t.Error("a host reached a listener outside of the lab")
	}
}

// Neighbours are found by multicast: a lab that swallowed it would test nothing.
func TestMulticastPasses(t *testing.T) {
	t.Parallel()
	l := ForTest(t, Options{Hosts: 2})
	a, b := l.Hosts[0], l.Hosts[1]
	group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}
	var ear, mouth net.PacketConn
	err := b.Do(func() (err error) {
		if ear, err = net.ListenPacket("udp4", "0.0.0.0:5353"); err != nil {
			return err
		}
		eth, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		return ipv4.NewPacketConn(ear).JoinGroup(eth, group)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ear.Close()
	err = a.Do(func() (err error) {
		mouth, err = net.ListenPacket("udp4", "0.0.0.0:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer mouth.Close()
	if _, err := mouth.WriteTo([]byte("who is near?"), group); err != nil {
		t.Fatal(err)
	}
	ear.SetReadDeadline(time.Now().Add(2 * time.Second))
	heard := make([]byte, 100)
	n, from, err := ear.ReadFrom(heard)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(heard[:n]); got != "who is near?" || !strings.HasPrefix(from.String(), a.Addr.String()+":") {
		t.Errorf("heard %q from %s", got, from)
	}
}

func TestEachMachineHasItsOwnName(t *testing.T) {
	t.Parallel()
	l := ForTest(t, Options{Hosts: 1})
	for _, m := range []*Machine{l.Origin, l.Hosts[0]} {
		var out strings.Builder
		cmd := exec.Command("uname", "-n")
		cmd.Stdout = &out
		if _, err := m.Run(cmd); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(out.String()); got != m.Name {
			t.Errorf("host name %q on %s", got, m.Name)
		}
	}
}

// A lab that leaves processes or interfaces behind spoils the next run, and the machine it ran on.
func TestNothingIsLeftBehind(t *testing.T) {
	l := ForTest(t, Options{Hosts: 3, Rate: 25 * Mbit})
	before := interfaces(t)
	var spaces []string
	var processes []*Process
	for _, m := range append([]*Machine{l.Origin, l.router}, l.Hosts...) {
		m.Do(func() error {
			spaces = append(spaces, namespace(fmt.Sprintf("/proc/%d/task/%d", os.Getpid(), unix.Gettid())))
			return nil
		})
		p, err := m.Start(exec.Command("sleep", "1000"))
		if err != nil {
			t.Fatal(err)
		}
		processes = append(processes, p)
	}
	l.Close()
	for _, p := range processes {
		if err := p.Cmd.Process.Signal(unix.Signal(0)); err == nil {
			t.Errorf("process %d still runs", p.Cmd.Process.Pid)
		}
	}
	// Only what is held by a task could survive: nothing was given a name, no handle was kept.
	for deadline := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) {
		task := taskIn(t, spaces)
		if task == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still in a namespace of the lab", task)
		}
	}
	if after := interfaces(t); after != before {
		t.Errorf("interfaces were %s, are %s", before, after)
	}
	if _, err := l.Hosts[0].Start(exec.Command("true")); !errors.Is(err, ErrClosed) {
		t.Errorf("start on a closed machine: %v", err)
	}
}

// taskIn finds a task in one of the given namespaces.
func taskIn(t *testing.T, spaces []string) string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("list tasks: %v", err)
	}
	for _, task := range tasks {
		if ns := namespace(task); ns != "" && slices.Contains(spaces, ns) {
			return task
		}
	}
	return ""
}

// namespace is the identity of a task's network; empty if the task is gone or not ours to look at.
func namespace(task string) string {
	link, err := os.Readlink(task + "/ns/net")
	if err != nil {
		return ""
	}
	return link
}

func interfaces(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

func TestKilledProcessIsReportedAsSuch(t *testing.T) {
	t.Parallel()
	m := Local()
	defer m.Close()
	p, err := m.Start(exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if err := p.Wait(); err == nil || p.ExitCode() != -1 {
		t.Errorf("killed, yet %v, exit code %d", err, p.ExitCode())
	}
}

// A run that is killed outright can clean nothing up; the kernel must.
func TestHarnessKilledTakesAllWithIt(t *testing.T) {
	const victim = "HANDOUT_LAB_VICTIM"
	if os.Getenv(victim) != "" {
		l := ForTest(t, Options{Hosts: 1})
		p, err := l.Hosts[0].Start(exec.Command("sleep", "1000"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("victim %d\n", p.Cmd.Process.Pid)
		select {}
	}
	m := Local()
	defer m.Close()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), victim+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "victim %d\n", &pid); err != nil {
		t.Skip("the victim could make no lab: see the other tests' reason")
	}
	p.Kill()
	p.Wait()
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlived the harness that was killed", pid)
		}
	}
}

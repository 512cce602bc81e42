package discovery

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grandcat/zeroconf"
)

// What other software for multicast DNS makes of an agent, and an agent of it: Avahi, which most Linux systems have,
// python3-zeroconf, which Home Assistant made common, and grandcat/zeroconf, which most programs in Go use. Each speaks
// for itself here, on a LAN of namespaces.

// patience is for programs in Python on a busy machine.
const patience = 20 * time.Second

// program is one that runs on a machine of the lab, and what it has said so far.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	name string

	mu    sync.Mutex
	lines []string
}

// start runs a program on the machine until the test ends.
func (h *host) start(env []string, name string, args ...string) *program {
	h.l.t.Helper()
	p := &program{t: h.l.t, cmd: exec.Command(name, args...), name: filepath.Base(name)}
	p.cmd.Env = append(append(os.Environ(), "PYTHONUNBUFFERED=1"), env...)
	r, w, err := os.Pipe()
	h.l.must(err)
	p.cmd.Stdout, p.cmd.Stderr = w, w
	h.l.must(h.inside(p.cmd.Start))
	w.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			p.mu.Unlock()
		}
	}()
	h.l.t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		<-read
		if h.l.t.Failed() {
			h.l.t.Logf("%s said:\n%s", p.name, p.said())
		}
	})
	return p
}

func (p *program) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// says waits for a line that matches, and returns what its groups stand for.
func (p *program) says(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if found := re.FindStringSubmatch(p.said()); found != nil {
			return found
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s said nothing like %s in %v", p.name, pattern, patience)
		}
	}
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s: make deps", p)
		}
	}
}

// avahi is a machine with Avahi's daemon: the environment in which its tools find it.
type avahi struct {
	*host
	env []string
}

func (h *host) avahi(name string) avahi {
	t := h.l.t
	t.Helper()
	needs(t, "avahi-daemon", "avahi-browse", "avahi-publish", "dbus-daemon")
	dir := t.TempDir()
	bus := "unix:path=" + filepath.Join(dir, "bus")
	write := func(file, text string) string {
		file = filepath.Join(dir, file)
		h.l.must(os.WriteFile(file, []byte(text), 0o644))
		return file
	}
	busConf := write("bus.conf", `<busconfig><type>system</type><listen>`+bus+`</listen><auth>EXTERNAL</auth><allow_anonymous/>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>`)
	conf := write("avahi.conf", "[server]\nhost-name="+name+"\nuse-ipv4=yes\nuse-ipv6=yes\n[wide-area]\nenable-wide-area=no\n"+
		"[publish]\npublish-workstation=no\npublish-hinfo=no\n")
	env := []string{"DBUS_SYSTEM_BUS_ADDRESS=" + bus}
	h.start(nil, "dbus-daemon", "--nofork", "--nopidfile", "--config-file="+busConf)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("unix", filepath.Join(dir, "bus")); err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("dbus-daemon does not listen")
		}
	}
	// Its process file has one place on a machine; here each has a folder of its own there.
	h.start(env, "unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mkdir -p /run/avahi-daemon; mount -t tmpfs tmpfs /run/avahi-daemon; exec "$@"`, "sh",
		"avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits", "--no-proc-title", "-f", conf).says("Server startup complete")
	return avahi{h, env}
}

func (a avahi) tool(name string, args ...string) *program { return a.start(a.env, name, args...) }

// python is a machine with python3-zeroconf.
func (h *host) python(script string, args ...string) *program {
	h.l.t.Helper()
	const python = "/usr/bin/python3" // the system's: another may stand before it in PATH
	if exec.Command(python, "-c", "import zeroconf").Run() != nil {
		h.l.t.Skip("needs python3-zeroconf: make deps")
	}
	return h.start(nil, python, append([]string{"-c", script}, args...)...)
}

const pythonBrowses = `
import sys, time
from zeroconf import Zeroconf, ServiceBrowser, IPVersion
class L:
    def add_service(self, z, t, n):
        i = z.get_service_info(t, n, 10000)
        print("added", n, i and i.port, i and sorted(i.parsed_addresses()), i and i.properties, i and i.server)
    def remove_service(self, z, t, n): print("removed", n)
    def update_service(self, z, t, n): pass
z = Zeroconf(ip_version=IPVersion.All)
ServiceBrowser(z, "_handout._tcp.local.", L())
time.sleep(600)
`

const pythonRegisters = `
import sys, time, socket
from zeroconf import Zeroconf, ServiceInfo, IPVersion
z = Zeroconf(ip_version=IPVersion.All)
z.register_service(ServiceInfo("_handout._tcp.local.", sys.argv[1] + "._handout._tcp.local.", port=int(sys.argv[3]),
    addresses=[socket.inet_pton(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET, sys.argv[2])], server="snake.local."))
print("registered")
time.sleep(600)
`

// label is what the agent calls itself.
const label = `([0-9a-f]{16})`

// An agent is seen with its name, port, address and text, and it is seen to go.
func TestOthersSeeAnAgent(t *testing.T) {
	for _, c := range []struct {
		what string
		room func(*testing.T) (host, stranger *host)
		addr string
	}{
		{"IPv4", pair("10.0.0.1/24", "10.0.0.2/24"), `10\.0\.0\.1`},
		{"IPv6", pair("fd00::1/64", "fd00::2/64"), `fd00::1`},
	} {
		t.Run("avahi/"+c.what, func(t *testing.T) {
			t.Parallel()
			h, stranger := c.room(t)
			browse := stranger.avahi("stranger").tool("avahi-browse", "--parsable", "--resolve", serviceType)
			agent := h.run(Options{Port: 4747})
			name := browse.says(`^=;eth0;IPv[46];` + label + `;_handout\._tcp;local;` + label + `\.local;` + c.addr + `;4747;"v=1"$`)
			if name[1] != name[2] {
				t.Errorf("the agent is called %s and its host %s", name[1], name[2])
			}
			agent.stop()
			browse.says(`^-;eth0;IPv[46];` + name[1] + `;`)
		})
		t.Run("python/"+c.what, func(t *testing.T) {
			t.Parallel()
			h, stranger := c.room(t)
			agent := h.run(Options{Port: 4747})
			time.Sleep(1500 * time.Millisecond) // its greetings are over
			browse := stranger.python(pythonBrowses)
			name := browse.says(`^added ` + label + `\._handout\._tcp\.local\. 4747 \['` + c.addr + `'\] {b'v': b'1'} ` + label + `\.local\.$`)
			agent.stop()
			browse.says(`^removed ` + name[1] + `\._handout\._tcp\.local\.$`)
		})
		t.Run("grandcat/"+c.what, func(t *testing.T) {
			t.Parallel()
			h, stranger := c.room(t)
			h.run(Options{Port: 4747})
			entries := make(chan *zeroconf.ServiceEntry, 10)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			h.l.must(stranger.inside(func() error {
				r, err := zeroconf.NewResolver()
				if err != nil {
					return err
				}
				return r.Browse(ctx, serviceType, "local.", entries)
			}))
			e := <-entries
			if e == nil {
				t.Fatal("nothing was found")
			}
			var at []string
			for _, ip := range slices.Concat(e.AddrIPv4, e.AddrIPv6) {
				at = append(at, ip.String())
			}
			if e.Port != 4747 || !slices.Equal(e.Text, []string{"v=1"}) || !regexp.MustCompile("^"+c.addr+"$").MatchString(strings.Join(at, " ")) ||
				!regexp.MustCompile("^"+label+"$").MatchString(e.Instance) || e.HostName != e.Instance+".local." {
				t.Errorf("found %+v at %v", e, at)
			}
			cancel()
			for range entries { // it closes it in the end
			}
		})
	}
}

// pair returns two machines on one LAN.
func pair(a, b string) func(*testing.T) (*host, *host) {
	return func(t *testing.T) (*host, *host) {
		l := newLab(t)
		room := l.newLAN()
		one, two := l.newHost().plug(room, "eth0", a), l.newHost().plug(room, "eth0", b)
		l.settle()
		return one, two
	}
}

// What others announce for the service is found, whatever they call it: an admin's depot, say.
func TestAgentFindsOthers(t *testing.T) {
	for _, late := range []bool{false, true} { // the service comes before the agent, or after it
		order := map[bool]string{false: "before", true: "after"}[late]
		run := func(name string, register func(*host)) {
			t.Run(name+"/"+order, func(t *testing.T) {
				t.Parallel()
				h, stranger := pair("10.0.0.1/24", "10.0.0.2/24")(t)
				var agent *agent
				if late {
					agent = h.run(Options{Port: 4747, Alone: func() bool { return false }})
					time.Sleep(500 * time.Millisecond) // its only question for minutes is asked
				}
				register(stranger)
				if !late {
					time.Sleep(2 * time.Second) // its first announcements are over
					agent = h.run(Options{Port: 4747})
				}
				agent.finds(patience, "10.0.0.2:4800")
			})
		}
		run("avahi-publish", func(h *host) {
			h.avahi("depot").tool("avahi-publish", "-s", "Depot, 2nd floor. Dr. Kühn's", serviceType, "4800", "x=y").says("Established")
		})
		run("python", func(h *host) {
			h.python(pythonRegisters, "Depot v1.2", "10.0.0.2", "4800").says("registered")
		})
		run("grandcat", func(h *host) {
			h.l.must(h.inside(func() error {
				s, err := zeroconf.Register("depot", serviceType, "local.", 4800, []string{"x=y"}, nil)
				if err == nil {
					h.l.t.Cleanup(s.Shutdown)
				}
				return err
			}))
		})
	}
}

// Agents are there for who asks what services there are, and by name.
func TestOthersAskOtherThings(t *testing.T) {
	h, stranger := pair("10.0.0.1/24", "10.0.0.2/24")(t)
	a := stranger.avahi("stranger")
	h.run(Options{Port: 4747})
	name := a.tool("avahi-browse", "--parsable", serviceType).says(`^\+;eth0;IPv4;` + label + `;`)[1]
	a.tool("avahi-browse", "--parsable", "--all").says(`^\+;eth0;IPv4;` + name + `;_handout\._tcp;`)
	a.tool("avahi-resolve", "-4", "-n", strings.ToUpper(name)+".local").says(`10\.0\.0\.1$`)
}

const serviceType = "_handout._tcp"

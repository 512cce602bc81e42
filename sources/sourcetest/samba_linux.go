package sourcetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// ErrNoSamba: the program is not installed, or this is not root, as which alone it can serve.
var ErrNoSamba = errors.New("needs root and Samba: make deps")

// Samba is a real smbd that serves folders on the loopback with a configuration and a state of its own: nothing of the
// system's Samba is read or written. It serves tests, the lab and benchmarks alike. Fill in the fields, Start it, Stop it;
// after that it can be started again, at the same address.
type Samba struct {
	Shares   map[string]string // the folders, by name of the share
	Dir      string            // for configuration, state and logs; must exist and be this server's alone
	Address  string            // host:port to listen on; "": 127.0.0.1 and a free port; set by Start
	Program  string            // "": smbd
	Global   string            // more lines for the section global
	Share    string            // more lines for every share
	User     string            // a user of this system who may log on with Password; "": guests only
	Password string
	Member   *KDC // whose tickets it takes, for cifs/ and its host; nil: nobody's. For a KDC that has started

	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{} // closed when the process has ended
	log   bytes.Buffer
}

var smbConf = template.Must(template.New("smb.conf").Parse(`
[global]
server role = standalone server
workgroup = LAB
netbios name = HANDOUTLAB
interfaces = {{.Interface}}
bind interfaces only = yes
smb ports = {{.Port}}
disable netbios = yes
lock directory = {{.Dir}}/lock
state directory = {{.Dir}}/state
cache directory = {{.Dir}}/cache
private dir = {{.Dir}}/private
pid directory = {{.Dir}}/pid
ncalrpc dir = {{.Dir}}/ncalrpc
log file = {{.Dir}}/log
max log size = 0
map to guest = Bad User
guest account = root
{{- if .Member}}
realm = {{.Member.Realm}}
kerberos method = dedicated keytab
dedicated keytab file = FILE:{{.Dir}}/keytab
{{- end}}
load printers = no
printing = bsd
printcap name = /dev/null
disable spoolss = yes
{{.Global}}
{{range $name, $path := .Shares}}
[{{$name}}]
path = {{$path}}
read only = yes
guest ok = yes
{{$.Share}}
{{end}}
`))

// Start starts the server and returns when it accepts connections.
func (s *Samba) Start() error {
	if s.Program == "" {
		s.Program = "smbd"
	}
	program, err := exec.LookPath(s.Program)
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/smbd")
	}
	if err != nil || os.Geteuid() != 0 {
		return ErrNoSamba
	}
	if s.Address == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.Address = l.Addr().String()
		l.Close()
	}
	conf, err := s.configure()
	if err != nil {
		return err
	}
	// With each logon it looks up its own host's name, which takes long minutes where no DNS answers. This name needs none.
	s.cmd = exec.Command("sh", "-c", `hostname localhost && exec "$@"`, "sh", program, "-F", "-s", conf, "-l", s.Dir)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUTS}
	if s.Member != nil {
		s.cmd.Env = append(os.Environ(), "KRB5_CONFIG="+s.Member.Config())
	}
	s.log.Reset()
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	// It ends with its standard input, and so with this process.
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.done = make(chan struct{})
	go func() {
		s.cmd.Wait()
		close(s.done)
	}()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if c, err := net.Dial("tcp", s.Address); err == nil {
			c.Close()
			return nil
		}
		select {
		case <-s.done:
			said, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
			return fmt.Errorf("smbd ended: %s%s", &s.log, said)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.Stop()
			return fmt.Errorf("smbd does not listen on %s", s.Address)
		}
	}
}

// configure writes smb.conf and makes the user known; it returns the file.
func (s *Samba) configure() (string, error) {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return "", err
	}
	face, err := interfaceOf(host)
	if err != nil {
		return "", err
	}
	for _, d := range []string{"lock", "state", "cache", "private", "pid", "ncalrpc"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, d), 0o755); err != nil {
			return "", err
		}
	}
	var conf bytes.Buffer
	if err := smbConf.Execute(&conf, struct {
		*Samba
		Interface, Port string
	}{s, face, port}); err != nil {
		return "", err
	}
	file := filepath.Join(s.Dir, "smb.conf")
	if err := os.WriteFile(file, conf.Bytes(), 0o600); err != nil {
		return "", err
	}
	if s.Member != nil {
		if err := s.Member.Keytab(filepath.Join(s.Dir, "keytab"), "cifs/"+host); err != nil {
			return "", err
		}
	}
	if s.User == "" {
		return file, nil
	}
	cmd := exec.Command("pdbedit", "-s", file, "-a", "-t", "-u", s.User)
	cmd.Stdin = strings.NewReader(s.Password + "\n" + s.Password + "\n")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make user %s: %w: %s", s.User, err, said)
	}
	return file, nil
}

// interfaceOf names the interface that has an address: smbd takes no address on its word.
func interfaceOf(host string) (string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			return "", err
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.String() == host {
				return i.Name, nil
			}
		}
	}
	return "", fmt.Errorf("no interface has the address %s", host)
}

// Port is the port it listens on; known after Start.
func (s *Samba) Port() int {
	_, port, _ := net.SplitHostPort(s.Address)
	n, _ := strconv.Atoi(port)
	return n
}

// URL is the address of a path below a share. share/path is not escaped.
func (s *Samba) URL(path string) string { return "smb://" + s.Address + "/" + path }

// Signal sends sig to the server and to each process that serves a connection: smbd makes a group of them.
func (s *Samba) Signal(sig syscall.Signal) error { return syscall.Kill(-s.cmd.Process.Pid, sig) }

// Reload makes the server read what Shares, Global and Share say now.
func (s *Samba) Reload() error {
	if _, err := s.configure(); err != nil {
		return err
	}
	return s.Signal(syscall.SIGHUP)
}

// CloseShare ends what connections have open on a share, as an admin would.
func (s *Samba) CloseShare(name string) error {
	said, err := exec.Command("smbcontrol", "-s", filepath.Join(s.Dir, "smb.conf"), "smbd", "close-share", name).CombinedOutput()
	if err != nil {
		return fmt.Errorf("smbcontrol: %w: %s", err, said)
	}
	return nil
}

// CPU is the user and system time of its processes, in clock ticks of a hundredth of a second.
func (s *Samba) CPU() (total time.Duration) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		text, _ := os.ReadFile(f)
		_, rest, _ := strings.Cut(string(text), ") ") // the name stands in brackets and may hold anything
		fields := strings.Fields(rest)
		if len(fields) > 14 && fields[2] == strconv.Itoa(s.cmd.Process.Pid) {
			for _, v := range fields[11:15] { // its own and that of children that have ended
				n, _ := strconv.Atoi(v)
				total += time.Duration(n) * 10 * time.Millisecond
			}
		}
	}
	return total
}

// Stop ends the server and all that serve connections, at once, and returns when it has ended.
func (s *Samba) Stop() {
	if s.cmd == nil {
		return
	}
	s.Signal(syscall.SIGKILL)
	s.stdin.Close()
	<-s.done
	s.cmd = nil
}

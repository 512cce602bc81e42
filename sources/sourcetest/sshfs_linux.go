package sourcetest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoSSHFS: a program is not installed, or this is not root, or there is no FUSE.
var ErrNoSSHFS = errors.New("needs root, /dev/fuse, sshfs and openssh-server: make deps")

// SSHFS is a real sshfs mount of a folder of this machine, by a real sshd on the loopback with a configuration and keys of
// its own: nothing of the system's is read or written. It serves tests and benchmarks alike as a slow destination. Fill in
// the fields, Start it, Stop it.
type SSHFS struct {
	Export  string        // the folder that is mounted; must exist
	Dir     string        // for configuration, keys and the mount point; must exist and be this mount's alone
	OneWay  time.Duration // how much later a byte arrives at the other end
	Rate    int64         // bytes per second that the way to the server carries; 0: any
	Options string        // more options for sshfs, with commas

	Mount string // the mount point; set by Start

	sshd    *exec.Cmd
	sshfs   *exec.Cmd
	address string       // where sshfs finds sshd
	delay   *Delay       // nil where bytes arrive at once: see Start
	log     bytes.Buffer // of sshd
}

// Start starts the server and mounts the folder.
func (s *SSHFS) Start() error {
	for _, program := range []string{"sshfs", "ssh-keygen", "fusermount3", "/usr/sbin/sshd"} {
		if _, err := exec.LookPath(program); err != nil {
			return ErrNoSSHFS
		}
	}
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		return ErrNoSSHFS
	}
	err := s.serve()
	// A Delay is part of this process, and whoever of it waits for a page of a mapped file on the mount keeps the garbage
	// collector waiting, and with it the Delay, for ever. So there is none without need.
	if err == nil && (s.OneWay > 0 || s.Rate > 0) {
		s.delay = &Delay{Server: s.address, OneWay: s.OneWay, UpBytesPerSec: s.Rate}
		err = s.delay.Start()
		s.address = s.delay.Address
	}
	if err == nil {
		s.Mount = filepath.Join(s.Dir, "mount")
		if err = os.MkdirAll(s.Mount, 0o755); err == nil {
			err = s.Remount()
		}
	}
	if err != nil {
		s.Stop()
	}
	return err
}

// serve starts sshd and notes where it listens.
func (s *SSHFS) serve() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.address = l.Addr().String()
	l.Close()
	host, port, _ := net.SplitHostPort(s.address)
	for _, key := range []string{"host", "client"} {
		said, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(s.Dir, key)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ssh-keygen: %w: %s", err, said)
		}
	}
	conf := filepath.Join(s.Dir, "sshd.conf")
	text := fmt.Sprintf(`
Port %s
ListenAddress %s
HostKey %[3]s/host
AuthorizedKeysFile %[3]s/client.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
Subsystem sftp /usr/lib/openssh/sftp-server
`, port, host, s.Dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	// sshd insists on this folder; where its service was never started nobody has made it yet.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return err
	}
	s.sshd = exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", conf)
	s.sshd.Stdout, s.sshd.Stderr = &s.log, &s.log
	s.sshd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.sshd.Start(); err != nil {
		return err
	}
	return waitUntil(func() bool {
		c, err := net.Dial("tcp", s.address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, "sshd does not listen: "+conf)
}

// Remount mounts the folder, again after Kill.
func (s *SSHFS) Remount() error {
	s.Unmount()
	me, err := user.Current()
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return err
	}
	options := []string{"IdentityFile=" + filepath.Join(s.Dir, "client"), "IdentitiesOnly=yes", "BatchMode=yes",
		"StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"}
	if s.Options != "" {
		options = append(options, s.Options)
	}
	var said bytes.Buffer
	s.sshfs = exec.Command("sshfs", "-f", "-F", "/dev/null", "-p", port, "-o", strings.Join(options, ","),
		me.Username+"@"+host+":"+s.Export, s.Mount)
	s.sshfs.Stdout, s.sshfs.Stderr = &said, &said
	if err := s.sshfs.Start(); err != nil {
		return err
	}
	err = waitUntil(func() bool {
		var st unix.Statfs_t
		return unix.Statfs(s.Mount, &st) == nil && uint32(st.Type) == unix.FUSE_SUPER_MAGIC
	}, "sshfs does not mount")
	if err != nil {
		s.Kill()
		err = fmt.Errorf("%w: %s", err, &said)
	}
	return err
}

func waitUntil(ready func() bool, complaint string) error {
	for deadline := time.Now().Add(30 * time.Second); !ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New(complaint)
		}
	}
	return nil
}

// Kill kills sshfs as a crash would: the mount stays, and answers nothing any more.
func (s *SSHFS) Kill() {
	if s.sshfs != nil {
		s.sshfs.Process.Kill()
		s.sshfs.Wait()
		s.sshfs = nil
	}
}

// Unmount takes the mount away: its mount point is an empty folder then.
func (s *SSHFS) Unmount() {
	s.Kill()
	unix.Unmount(s.Mount, unix.MNT_DETACH)
}

// Stop unmounts the folder and ends the server.
func (s *SSHFS) Stop() {
	if s.Mount != "" {
		s.Unmount()
	}
	if s.delay != nil && s.delay.listener != nil {
		s.delay.Close()
	}
	if s.sshd != nil && s.sshd.Process != nil {
		s.sshd.Process.Kill()
		s.sshd.Wait()
	}
}

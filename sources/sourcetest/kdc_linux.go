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
	"strings"
	"text/template"
	"time"
)

// ErrNoKDC: the program is not installed.
var ErrNoKDC = errors.New("needs a KDC: make deps")

// KDC is a real krb5kdc that serves a realm of its own on the loopback, with a database and a configuration of its own:
// nothing of the system's Kerberos is read or written. Fill in the fields, Start it, Stop it; after that it can be
// started again, at the same address and with the same principals.
type KDC struct {
	Dir     string // for database, configuration and logs; must exist and be this server's alone
	Realm   string // "": HANDOUT.TEST
	Address string // host:port to listen on; "": 127.0.0.1 and a free port; set by Start

	cmd   *exec.Cmd
	stdin io.Closer
	log   bytes.Buffer
}

// A ticket says nothing of groups here: a Samba that is no domain's member takes none that does.
var kdcConf = template.Must(template.New("kdc.conf").Parse(`
[kdcdefaults]
kdc_listen = {{.Address}}
kdc_tcp_listen = {{.Address}}
[realms]
{{.Realm}} = {
  database_name = {{.Dir}}/principal
  key_stash_file = {{.Dir}}/stash
  acl_file = {{.Dir}}/acl
  default_principal_flags = +preauth
  disable_pac = true
}
[logging]
kdc = FILE:{{.Dir}}/log
`))

var krb5Conf = template.Must(template.New("krb5.conf").Parse(`
[libdefaults]
default_realm = {{.Realm}}
dns_lookup_kdc = false
[realms]
{{.Realm}} = {
  kdc = {{.Address}}
}
`))

// Config is the krb5.conf of machines in the realm.
func (k *KDC) Config() string { return filepath.Join(k.Dir, "krb5.conf") }

// Log is where it tells each request and what came of it.
func (k *KDC) Log() string { return filepath.Join(k.Dir, "log") }

// Start starts the server and returns when it answers.
func (k *KDC) Start() error {
	program, err := exec.LookPath("krb5kdc")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/krb5kdc")
	}
	if err != nil {
		return ErrNoKDC
	}
	if k.Realm == "" {
		k.Realm = "HANDOUT.TEST"
	}
	if k.Address == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		k.Address = l.Addr().String()
		l.Close()
	}
	for name, text := range map[string]*template.Template{k.Config(): krb5Conf, filepath.Join(k.Dir, "kdc.conf"): kdcConf} {
		var b bytes.Buffer
		if err := errors.Join(text.Execute(&b, k), os.WriteFile(name, b.Bytes(), 0o644)); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(k.Dir, "principal")); err != nil {
		if err := k.run("kdb5_util", "create", "-s", "-P", "master", "-r", k.Realm); err != nil {
			return err
		}
	}
	// It ends with its standard input, and so with this process.
	k.cmd = k.command("sh", "-c", `"$@" & read end; kill $!; wait $!`, "sh", program, "-n", "-r", k.Realm)
	k.log.Reset()
	k.cmd.Stdout, k.cmd.Stderr = &k.log, &k.log
	if k.stdin, err = k.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := k.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if c, err := net.Dial("tcp", k.Address); err == nil {
			c.Close()
			return nil
		}
		if time.Now().After(deadline) {
			k.Stop()
			return fmt.Errorf("krb5kdc does not listen on %s: %s", k.Address, &k.log)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Stop ends the server.
func (k *KDC) Stop() {
	if k.cmd == nil {
		return
	}
	k.stdin.Close()
	k.cmd.Wait()
	k.cmd = nil
}

// Admin has kadmin do what it is told, such as addprinc -randkey NAME.
func (k *KDC) Admin(words ...string) error {
	return k.run("kadmin.local", append([]string{"-r", k.Realm}, words...)...)
}

// Keytab gives a principal new keys and writes them to file, so that older ones are good for nothing. It is made where
// there is none.
func (k *KDC) Keytab(file, principal string) error {
	if err := k.Admin("addprinc", "-randkey", principal); err != nil && !strings.Contains(err.Error(), "already exists") {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return k.Admin("ktadd", "-k", file, principal)
}

// Kinit fetches a ticket by which others can be had, good for lifetime, into a credential cache.
func (k *KDC) Kinit(cache, keytab, principal string, lifetime time.Duration) error {
	return k.run("kinit", "-c", cache, "-k", "-t", keytab, "-l", fmt.Sprintf("%ds", int(lifetime.Seconds())), principal)
}

func (k *KDC) command(program string, args ...string) *exec.Cmd {
	if path, err := exec.LookPath(program); err == nil {
		program = path
	} else {
		program = filepath.Join("/usr/sbin", program)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "KRB5_CONFIG="+k.Config(), "KRB5_KDC_PROFILE="+filepath.Join(k.Dir, "kdc.conf"))
	return cmd
}

func (k *KDC) run(program string, args ...string) error {
	if said, err := k.command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(append([]string{program}, args...), " "), err, said)
	}
	return nil
}

package sourcetest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/template"
	"time"
)

// ErrNoNginx: the program is not installed.
var ErrNoNginx = errors.New("needs nginx: make deps")

// Nginx is a real nginx that serves a folder on the loopback (or on Address) with a configuration of its own: nothing of
// the system's nginx is read or written, and no privilege is needed. It serves tests, the lab and benchmarks alike, so
// nothing here wants a *testing.T. Fill in the fields, Start it, Stop it.
type Nginx struct {
	Root     string // the folder to serve
	Dir      string // for configuration, logs and temporary files; must exist and be this server's alone
	Address  string // host:port to listen on; "": 127.0.0.1 and a free port
	Workers  int    // worker processes; 0: 1
	CertFile string // with KeyFile: serve HTTPS, HTTP/2 included
	KeyFile  string
	Server   string // more directives for the server block
	HTTP     string // and for the block around it

	URL string // where Root is served, without a trailing slash; set by Start

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

var nginxConf = template.Must(template.New("nginx.conf").Parse(`
{{if .AsRoot}}user root;{{end}}
daemon off;
worker_processes {{.Workers}};
pid "{{.Dir}}/nginx.pid";
error_log "{{.Dir}}/error.log";
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path "{{.Dir}}/body";
	proxy_temp_path "{{.Dir}}/proxy";
	fastcgi_temp_path "{{.Dir}}/fastcgi";
	uwsgi_temp_path "{{.Dir}}/uwsgi";
	scgi_temp_path "{{.Dir}}/scgi";
	sendfile on;
	tcp_nopush on;
	keepalive_requests 100000;
	{{.HTTP}}
	server {
		listen {{.Address}}{{if .CertFile}} ssl http2{{end}};
		{{if .CertFile}}ssl_certificate "{{.CertFile}}"; ssl_certificate_key "{{.KeyFile}}";{{end}}
		root "{{.Root}}";
		autoindex off;
		{{.Server}}
	}
}
`))

// Start starts the server and returns when it accepts connections.
func (n *Nginx) Start() error {
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return ErrNoNginx
		}
	}
	if n.Address == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		n.Address = l.Addr().String()
		l.Close()
	}
	n.Workers = max(n.Workers, 1)
	var conf bytes.Buffer
	if err := nginxConf.Execute(&conf, struct {
		*Nginx
		AsRoot bool // workers would drop to a user who can't read a private Root
	}{n, os.Geteuid() == 0}); err != nil {
		return err
	}
	file := filepath.Join(n.Dir, "nginx.conf")
	if err := os.WriteFile(file, conf.Bytes(), 0o600); err != nil {
		return err
	}
	var stderr bytes.Buffer
	n.cmd = exec.Command(program, "-p", n.Dir, "-c", file, "-e", filepath.Join(n.Dir, "error.log"))
	n.cmd.Stderr = &stderr
	if err := n.cmd.Start(); err != nil {
		return err
	}
	n.done = make(chan struct{})
	go func() {
		n.cmd.Wait()
		close(n.done)
	}()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if c, err := net.Dial("tcp", n.Address); err == nil {
			c.Close()
			break
		}
		select {
		case <-n.done:
			return fmt.Errorf("nginx ended: %s", stderr.String())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			n.Stop()
			return fmt.Errorf("nginx does not listen on %s", n.Address)
		}
	}
	scheme := "http"
	if n.CertFile != "" {
		scheme = "https"
	}
	n.URL = scheme + "://" + n.Address
	return nil
}

// CPU is the user and system time of all its processes; known after Stop.
func (n *Nginx) CPU() time.Duration {
	if s := n.cmd.ProcessState; s != nil {
		return s.UserTime() + s.SystemTime()
	}
	return 0
}

// Stop ends the server and returns when it has ended.
func (n *Nginx) Stop() {
	if n.cmd.Process.Signal(syscall.SIGTERM) != nil {
		n.cmd.Process.Kill()
	}
	select {
	case <-n.done:
	case <-time.After(5 * time.Second):
		n.cmd.Process.Kill()
		<-n.done
	}
}

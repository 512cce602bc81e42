package nginx

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"handout/testlab/lab"
)

// Server is one nginx process.
type Server struct {
	Process *lab.Process
	Addr    netip.AddrPort

	log string
}

// Installed reports whether there is an nginx to run.
func Installed() bool {
	_, err := exec.LookPath("nginx")
	return err == nil
}

// A single process, so that killing it kills all of it. It stays the user it is: in a user namespace there is only root
// to be. One worker with sendfile is what nginx's own advice amounts to for one disk and one link.
const config = `
user root root;
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 4096; }
http {
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	default_type application/octet-stream;
	sendfile on;
	keepalive_requests 1000000;
	log_format lab '$remote_addr $connection $msec $request_time $status $body_bytes_sent $request_uri $http_range';
	access_log %[1]s/access.log lab;
	server {
		listen %[2]s;
		root "%[3]s";
		autoindex on;
		%[4]s
	}
}
`

// Start serves root on m, on a port that is free, and returns once connections are accepted. What nginx writes goes to dir, which must
// exist and keep nothing else. Directives are more of them, each with its semicolon. The server ends with its machine, or by Process.Kill.
func Start(ctx context.Context, m *lab.Machine, root, dir string, directives ...string) (*Server, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	free, err := m.Listen("tcp", netip.AddrPortFrom(m.Addr, 0).String())
	if err != nil {
		return nil, err
	}
	free.Close()
	s := &Server{Addr: netip.MustParseAddrPort(free.Addr().String()), log: filepath.Join(dir, "access.log")}
	conf := filepath.Join(dir, "nginx.conf")
	listen, at := s.Addr.String(), s.Addr
	if s.Addr.Addr() == netip.IPv6Unspecified() { // all addresses
		listen += " ipv6only=off"
		at = netip.AddrPortFrom(netip.IPv6Loopback(), at.Port())
	}
	if err := os.WriteFile(conf, fmt.Appendf(nil, config, dir, listen, root, strings.Join(directives, " ")), 0o644); err != nil {
		return nil, err
	}
	errorLog := filepath.Join(dir, "error.log")
	s.Process, err = m.Start(exec.Command("nginx", "-p", dir, "-c", conf, "-e", errorLog))
	if err != nil {
		return nil, err
	}
	for {
		conn, err := m.Dial(ctx, "tcp", at.String())
		if err == nil {
			return s, conn.Close()
		}
		select {
		case <-s.Process.Done():
			said, _ := os.ReadFile(errorLog)
			return nil, fmt.Errorf("nginx ended at once: %v: %s", s.Process.Wait(), said)
		case <-ctx.Done():
			s.Process.Kill()
			return nil, fmt.Errorf("wait for nginx at %s: %w", s.Addr, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// URL is the address of a path below the served root.
func (s *Server) URL(path string) string { return "http://" + s.Addr.String() + "/" + path }

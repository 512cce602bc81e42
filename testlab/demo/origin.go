package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// origin is a web server that counts what it carries and is no faster than originBytesPerSec in all.
type origin struct {
	url     string
	carried atomic.Int64 // payload bytes
	tree    *os.Root
	server  *http.Server
	limit   *rate.Limiter
}

// serve serves tree on loopback until Close.
func serve(tree string) (*origin, error) {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		root.Close()
		return nil, err
	}
	o := &origin{url: "http://" + l.Addr().String() + "/go", tree: root, limit: rate.NewLimiter(originBytesPerSec, 256<<10)}
	o.server = &http.Server{Handler: http.StripPrefix("/go/", o)}
	go o.server.Serve(l)
	return o, nil
}

// Close ends all connections.
func (o *origin) Close() {
	o.server.Close()
	o.tree.Close()
}

// ServeHTTP does what http.FileServer does, but for its redirects away from index.html.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, err := o.tree.Open(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(&metered{w, o, r.Context()}, r, "", info.ModTime(), f)
}

// metered passes a response on at the origin's pace and counts its body.
type metered struct {
	http.ResponseWriter
	o   *origin
	ctx context.Context
}

func (m *metered) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), m.o.limit.Burst())]
		if err := m.o.limit.WaitN(m.ctx, len(part)); err != nil {
			return written, err
		}
		n, err := m.ResponseWriter.Write(part)
		written += n
		m.o.carried.Add(int64(n))
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/cloudsoda/go-smb2"
)

// readRaw reads a part of a file with nothing but the library: one session, several readers, for the best it has.
func readRaw(ctx context.Context, address, name string, off, n int64) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	d := smb2.Dialer{Initiator: &smb2.NTLMInitiator{User: account.User, Password: account.Password}}
	session, err := d.DialConn(ctx, conn, address)
	if err != nil {
		return err
	}
	pkg, err := session.Mount("pkg")
	if err != nil {
		return err
	}
	f, err := pkg.WithContext(ctx).Open(name)
	if err != nil {
		return err
	}
	const readers, chunk = 4, 1 << 20
	var g sync.WaitGroup
	var next atomic.Int64
	errs := make(chan error, readers)
	for range readers {
		g.Go(func() {
			buf := make([]byte, chunk)
			for at := next.Add(chunk) - chunk; at < n; at = next.Add(chunk) - chunk {
				if k, err := f.ReadAt(buf, off+at); err != nil || k != chunk {
					errs <- fmt.Errorf("read %s at %d: %d bytes, %w", name, off+at, k, err)
					return
				}
			}
		})
	}
	g.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	return f.Close()
}

// hostPort takes an address apart that is known to be one.
func hostPort(address string) (host, port string) {
	host, port, _ = net.SplitHostPort(address)
	return host, port
}

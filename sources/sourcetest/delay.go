package sourcetest

import (
	"cmp"
	"errors"
	"net"
	"sync"
	"time"
)

// Delay is a proxy that stands for a longer or narrower way to a server: bytes arrive later than they were sent, and no
// faster than a link would carry them. (A kernel often has no netem.) Fill in the fields, Start it, Close it.
type Delay struct {
	Server        string        // host:port
	Listen        string        // host:port; "": the loopback, any port
	OneWay        time.Duration // how much later a byte arrives; a round trip takes twice that
	BytesPerSec   int64         // of the link from the server, which all connections share; 0: any
	UpBytesPerSec int64         // of the link to the server, likewise

	Address string // host:port where it listens; set by Start

	listener net.Listener
	link     pace // from the server
	uplink   pace // to it

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	most  int // connections to the server at a time
	all   int // connections so far
}

// Start listens.
func (d *Delay) Start() error {
	l, err := net.Listen("tcp", cmp.Or(d.Listen, "127.0.0.1:0"))
	if err != nil {
		return err
	}
	d.listener, d.Address, d.conns = l, l.Addr().String(), map[net.Conn]struct{}{}
	d.link.bytesPerSec, d.uplink.bytesPerSec = d.BytesPerSec, d.UpBytesPerSec
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go d.carry(c)
			}
		}
	}()
	return nil
}

// Connections are how many there were at once at most, and how many in all.
func (d *Delay) Connections() (most, all int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.most, d.all
}

// Reset breaks every connection, as a router that restarted would, and takes new ones.
func (d *Delay) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// Close ends the listening and every connection.
func (d *Delay) Close() {
	d.listener.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		c.Close()
	}
}

func (d *Delay) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", d.Server)
	if err != nil {
		return
	}
	defer server.Close()
	d.mu.Lock()
	d.conns[client], d.conns[server] = struct{}{}, struct{}{}
	d.all++
	d.most = max(d.most, len(d.conns)/2)
	d.mu.Unlock()
	var g sync.WaitGroup
	g.Go(func() { d.pipe(server, client, &d.uplink) })
	d.pipe(client, server, &d.link)
	g.Wait()
	d.mu.Lock()
	delete(d.conns, client)
	delete(d.conns, server)
	d.mu.Unlock()
}

// pace is when the next byte may leave a link.
type pace struct {
	bytesPerSec int64

	mu   sync.Mutex
	free time.Time
}

// send is when n bytes that are ready now have left.
func (p *pace) send(n int) time.Time {
	now := time.Now()
	if p == nil || p.bytesPerSec == 0 {
		return now
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(int64(n) * int64(time.Second) / p.bytesPerSec))
	return p.free
}

// inFlight bounds what is on the way of one connection, in parcels of 64 KiB at most.
const inFlight = 256

// pipe carries bytes one way until either end is closed, and then closes both.
func (d *Delay) pipe(to, from net.Conn, link *pace) {
	type parcel struct {
		data []byte
		due  time.Time
	}
	way := make(chan parcel, inFlight)
	var g sync.WaitGroup
	g.Go(func() {
		defer to.Close()
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.data); err != nil {
				break
			}
		}
		from.Close()
		for range way {
		}
	})
	for {
		buf := make([]byte, 64<<10)
		n, err := from.Read(buf)
		if n > 0 {
			way <- parcel{buf[:n], link.send(n).Add(d.OneWay)}
		}
		if err != nil {
			break
		}
	}
	close(way)
	g.Wait()
}

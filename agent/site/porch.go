package site

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Porch stands at a machine's doors while no agent does, so that members who dial back find them open.
type Porch struct {
	listeners []net.Listener
	datagrams net.PacketConn
	news      chan struct{} // holds one: a datagram came
	work      sync.WaitGroup

	mu     sync.Mutex
	knocks map[string]bool
}

// maxKnocks bounds what strangers can make a porch remember.
const maxKnocks = 256

// OpenPorch opens the port for neighbours, and the next one for members. The caller closes it. Where the ports are in use,
// an agent runs here and answers itself.
func OpenPorch(peerPort int) (_ *Porch, err error) {
	p := &Porch{knocks: map[string]bool{}, news: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	for _, port := range []int{peerPort, peerPort + 1} {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return nil, err
		}
		p.listeners = append(p.listeners, l)
		p.work.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		})
	}
	if p.datagrams, err = net.ListenPacket("udp", fmt.Sprintf(":%d", peerPort+1)); err != nil {
		return nil, err
	}
	p.work.Go(func() {
		buf := make([]byte, maxLine)
		for {
			n, _, err := p.datagrams.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if nonce, ok := strings.CutPrefix(string(buf[:n]), knocking); ok && err == nil {
				p.mu.Lock()
				if len(p.knocks) < maxKnocks {
					p.knocks[nonce] = true
				}
				p.mu.Unlock()
				select {
				case p.news <- struct{}{}:
				default:
				}
			}
		}
	})
	return p, nil
}

// Knocked reports whether the datagram came that belongs to an answer. It waits a moment for it; one call at a time.
func (p *Porch) Knocked(e Echo) bool {
	late := time.After(knockTime)
	for {
		p.mu.Lock()
		came := p.knocks[string(e.nonce)]
		p.mu.Unlock()
		if came {
			return true
		}
		select {
		case <-p.news:
		case <-late:
			return false
		}
	}
}

// Close closes the doors.
func (p *Porch) Close() {
	for _, l := range p.listeners {
		l.Close()
	}
	if p.datagrams != nil {
		p.datagrams.Close()
	}
	p.work.Wait()
}

package site

import (
	"bufio"
	"bytes"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport is the membership's own, but for what is said on its port that is not of the membership: questions to be
// dialled back, and knocks.
type transport struct {
	*memberlist.NetTransport
	dialer  *dialer
	knocked func(nonce []byte)
	log     *slog.Logger

	streams chan net.Conn
	packets chan *memberlist.Packet
	done    chan struct{}
	work    sync.WaitGroup
}

// sayTime is what somebody who connects may take for the first byte.
const sayTime = 2 * time.Second

func newTransport(inner *memberlist.NetTransport, d *dialer, knocked func([]byte), log *slog.Logger) *transport {
	t := &transport{
		NetTransport: inner, dialer: d, knocked: knocked, log: log,
		streams: make(chan net.Conn), packets: make(chan *memberlist.Packet), done: make(chan struct{}),
	}
	t.work.Go(t.sortStreams)
	t.work.Go(t.sortPackets)
	return t
}

// StreamCh and PacketCh give the membership what is its own.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// PacketCh is described at StreamCh.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// Shutdown closes the ports and returns when nothing of the transport runs any more.
func (t *transport) Shutdown() error {
	err := t.NetTransport.Shutdown() // its listeners end while the sorters still take what they have
	close(t.done)
	t.work.Wait()
	return err
}

func (t *transport) sortStreams() {
	for {
		select {
		case c := <-t.NetTransport.StreamCh():
			t.work.Go(func() { t.sortStream(c) })
		case <-t.done:
			return
		}
	}
}

func (t *transport) sortStream(c net.Conn) {
	c.SetReadDeadline(time.Now().Add(sayTime))
	r := bufio.NewReaderSize(c, maxLine)
	first, err := r.Peek(1)
	switch {
	case err != nil: // dialled and hung up: whoever tried the door
		c.Close()
	case first[0] == greeting[0]:
		if err := t.dialer.serve(c, r); err != nil {
			t.log.Debug("asker is not dialled back", "from", c.RemoteAddr().String(), "error", err)
		}
		c.Close()
	default:
		c.SetReadDeadline(time.Time{})
		select {
		case t.streams <- begun{c, r}:
		case <-t.done:
			c.Close()
		}
	}
}

// begun is a connection whose beginning has been read already.
type begun struct {
	net.Conn
	r *bufio.Reader
}

func (b begun) Read(p []byte) (int, error) { return b.r.Read(p) }

func (t *transport) sortPackets() {
	for {
		select {
		case p := <-t.NetTransport.PacketCh():
			if nonce, ok := bytes.CutPrefix(p.Buf, []byte(knocking)); ok {
				t.knocked(nonce)
				continue
			}
			select {
			case t.packets <- p:
			case <-t.done:
			}
		case <-t.done:
			return
		}
	}
}

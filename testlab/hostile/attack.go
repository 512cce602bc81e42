package hostile

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Argument makes a program the attacker: its first argument, followed by those of Be.
const Argument = "-attack"

// Target is an agent, by its documented doors.
type Target struct {
	Addr     netip.Addr
	Port     uint16   // for neighbours; the next one is for members
	InfoHash [20]byte // of a package that it gives
	Site     string   // its name
}

// Arguments are what an attacker is started with.
func (t Target) Arguments() []string {
	return []string{Argument, t.Addr.String(), strconv.Itoa(int(t.Port)), hex.EncodeToString(t.InfoHash[:]), t.Site}
}

// Be attacks the target of these arguments (those after Argument) until the process is interrupted.
func Be(args []string) error {
	if len(args) != 4 {
		return errors.New("wants an address, a port, an info-hash and a site")
	}
	addr, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil {
		return err
	}
	t := Target{Addr: addr, Port: uint16(port), Site: args[3]}
	if n, err := hex.Decode(t.InfoHash[:], []byte(args[2])); err != nil || n != len(t.InfoHash) {
		return fmt.Errorf("%q is no info-hash", args[2])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t.attack(ctx)
	return nil
}

const (
	// callers go to each TCP door at once, and come again as soon as they are turned away: a program on a student's laptop.
	callers = 200
	// stay is how long one of them holds a connection open.
	stay = 3 * time.Second
	// every is the pause between two packets to each UDP door.
	every = 2 * time.Millisecond
)

// attack goes to all doors until ctx ends.
func (t Target) attack(ctx context.Context) {
	var g sync.WaitGroup
	for _, door := range []struct {
		port uint16
		say  [][]byte
	}{
		{t.Port, t.wire()},
		{t.Port + 1, t.streams()},
	} {
		for i := range callers {
			g.Go(func() {
				for n := i; ctx.Err() == nil; n++ {
					t.call(ctx, door.port, door.say[n%len(door.say)], n%4 == 0)
				}
			})
		}
	}
	g.Go(func() { t.throw(ctx, netip.AddrPortFrom(t.Addr, t.Port+1), t.packets()) })
	g.Go(func() { t.throw(ctx, netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, 251}), 5353), multicasts()) })
	g.Go(func() { t.throw(ctx, netip.AddrPortFrom(t.Addr, 5353), multicasts()) })
	g.Wait()
}

// call opens a connection, says something, at once or byte by byte, and stays as long as it may.
func (t Target) call(ctx context.Context, port uint16, say []byte, slowly bool) {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(t.Addr, port).String())
	if err != nil {
		rest(ctx, 100*time.Millisecond)
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	c.SetDeadline(time.Now().Add(stay))
	go io.Copy(io.Discard, c) // ends with the connection
	if slowly {
		for _, b := range say {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			rest(ctx, 300*time.Millisecond)
		}
	}
	if _, err := c.Write(say); err != nil {
		rest(ctx, 20*time.Millisecond)
		return
	}
	rest(ctx, stay)
}

// throw sends packets, one after the other, round and round.
func (t Target) throw(ctx context.Context, to netip.AddrPort, packets [][]byte) {
	c, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return
	}
	defer c.Close()
	for n := 0; ctx.Err() == nil; n++ {
		c.WriteToUDPAddrPort(packets[n%len(packets)], to) // what is not sent is no loss
		rest(ctx, every)
	}
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

package swarm

import (
	"context"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"handout/agent/plan"
)

// A connection that brings what one of eight neighbours brings at 25 Mbit/s gets a small buffer, and still brings it all; one
// on which nothing holds the bytes up is left to the system. A neighbour's begins small, and grows where the rate asks for it.
func TestReceiveBufferFollowsTheRate(t *testing.T) {
	for _, tt := range []struct {
		name           string
		fit            func(net.Conn) net.Conn
		bytesPerSecond float64
		seconds        float64
		least, most    int // SO_RCVBUF, of which Linux says twice what it was told
	}{
		{"25 Mbit/s among eight", Fit, 25e6 / 8 / 8, 2, 16 << 10, 48 << 10},
		{"1 Gbit/s", Fit, 1e9 / 8, 1.6, 64 << 10, 1 << 30},
		{"unshaped", Fit, 0, 1.6, 64 << 10, 1 << 30},
		{"a neighbour, before its rate is known", fitSmall, 25e6 / 8 / 8, 0.2, plan.StartReceive, 2 * plan.StartReceive},
		{"one of eight neighbours at 25 Mbit/s", fitSmall, 25e6 / 8 / 8, 2, 16 << 10, 48 << 10},
		{"a neighbour at 1 Gbit/s", fitSmall, 1e9 / 8, 1.6, 4 * plan.StartReceive, 1 << 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			ctx, stop := context.WithTimeout(t.Context(), time.Duration(tt.seconds*float64(time.Second)))
			defer stop()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				limit := rate.NewLimiter(rate.Inf, 0)
				if tt.bytesPerSecond > 0 {
					limit = rate.NewLimiter(rate.Limit(tt.bytesPerSecond), max(16<<10, int(tt.bytesPerSecond/100)))
				}
				for b := make([]byte, 16<<10); limit.WaitN(ctx, len(b)) == nil && ctx.Err() == nil; {
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			}()
			ethernet := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
				raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1448) })
				return err
			}}
			c, err := ethernet.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			began := time.Now()
			n, err := io.Copy(io.Discard, onlyReader{tt.fit(c)})
			if err != nil {
				t.Fatal(err)
			}
			got := float64(n) / time.Since(began).Seconds()
			t.Logf("%.1f MB/s", got/1e6)
			if tt.bytesPerSecond > 0 && tt.bytesPerSecond < 1e6 && tt.seconds > 1 && got < 0.9*tt.bytesPerSecond {
				t.Errorf("%.0f bytes per second came, want %.0f", got, tt.bytesPerSecond)
			}
			if size := option(t, c, unix.SOL_SOCKET, unix.SO_RCVBUF); size < tt.least || size > tt.most {
				t.Errorf("a buffer of %d bytes; want %d to %d", size, tt.least, tt.most)
			}
		})
	}
}

// A connection to the origin begins with a small window, whatever a switch has saved up for the link, and it is left to the
// system where the rate asks for it.
func TestWindowOpens(t *testing.T) {
	for _, tt := range []struct {
		name        string
		every       time.Duration // 16 KiB come so often, the first four at once
		least, most uint32        // what the sender may have on its way
	}{
		{"one of four at 10 Mbit/s", 52 * time.Millisecond, plan.StartReceive, firstWindow},
		{"one of four at 25 Mbit/s", 20 * time.Millisecond, plan.StartReceive, 2 * firstWindow},
		{"1 Gbit/s", 130 * time.Microsecond, 2 * firstWindow, anyWindow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dialled, accepted := twoEnds(t)
			c := Fit(dialled)
			go func() {
				limit := rate.NewLimiter(rate.Every(tt.every), 1)
				for b := make([]byte, firstWindow); ; b = b[:16<<10] {
					if _, err := accepted.Write(b); err != nil || limit.Wait(t.Context()) != nil {
						return
					}
				}
			}()
			widest := uint32(0)
			for b, began := make([]byte, 64<<10), time.Now(); time.Since(began) < fitAfter*9/10; {
				if _, err := c.Read(b); err != nil {
					t.Fatal(err)
				}
				widest = max(widest, infoOf(t, accepted).Snd_wnd)
			}
			if widest < tt.least || widest > tt.most {
				t.Errorf("a window of %d bytes; want %d to %d", widest, tt.least, tt.most)
			}
		})
	}
}

// infoOf is what the system knows of a connection.
func infoOf(t *testing.T, c net.Conn) (info *unix.TCPInfo) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// option is what the system says of a connection.
func option(t *testing.T, c net.Conn, level, name int) (value int) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) })
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// What one neighbour alone may have on its way is not bounded by the buffer that it began with.
func TestWindowFollowsTheBuffer(t *testing.T) {
	a, b := twoEnds(t)
	f := fitSmall(a)
	go func() {
		for chunk := make([]byte, 64<<10); ; {
			if _, err := b.Write(chunk); err != nil {
				return
			}
		}
	}()
	began := time.Now()
	for chunk := make([]byte, 256<<10); time.Since(began) < fitEvery*2; {
		if _, err := f.Read(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if window := infoOf(t, a).Rcv_ssthresh; window < 4*plan.StartReceive {
		t.Errorf("%d bytes may be on their way at full speed", window)
	}
}

// A neighbour's connection backs off as others do, whatever the system prefers.
func TestBacksOff(t *testing.T) {
	a, _ := twoEnds(t)
	raw, err := a.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	name := func() (name string) {
		raw.Control(func(fd uintptr) { name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION) })
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, tt := range []struct{ was, want string }{{"bbr", "cubic reno"}, {"reno", "reno"}} {
		raw.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, tt.was) })
		if err != nil {
			t.Logf("%s is not to be had here: %v", tt.was, err)
			continue
		}
		if fitSmall(a); !strings.Contains(tt.want, name()) {
			t.Errorf("of %s it became %s, want %s", tt.was, name(), tt.want)
		}
	}
}

// twoEnds are those of a connection.
func twoEnds(t *testing.T) (dialled, accepted net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if dialled, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close() })
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	return dialled, accepted
}

type onlyReader struct{ io.Reader }

package smborigin

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"handout/manifest/amount"
)

const (
	// chunk is how many bytes one request asks for: all the protocol allows would only make the answers lumpy.
	chunk = 256 << 10
	// smallChunk is it on a slow connection: an answer is of use when all of it is here, and neighbours wait for it. A room
	// of 8 is as fast as from HTTP with it, and 2 to 7 % slower without.
	smallChunk = 64 << 10
	// slow is what is slow, in bytes per second.
	slow = 8 << 20
	// ahead is how many requests for one file are under way together, beyond what the way there and back holds: 2 MiB
	// bridge the pauses of both machines.
	ahead = 8
	// farthest bounds both together: 4 MiB are 30 ms at 1 Gbit/s on one connection, and half the credits a server gives.
	farthest = 16
)

// ReadRange implements sources.Origin. A connection that had worked and breaks is made anew, once or twice.
func (o *Origin) ReadRange(ctx context.Context, path string, off int64, p []byte) error {
	closes := o.closeCount()
	for attempt := 1; ; attempt++ {
		err := o.read(ctx, closes, path, off, p)
		if err == nil {
			return nil
		}
		if attempt == maxAttempts || !isBroken(err) {
			return o.readError(path, off, err)
		}
	}
}

func (o *Origin) read(ctx context.Context, closes int, path string, off int64, p []byte) error {
	l, err := o.connected(ctx, closes)
	if err != nil {
		return err
	}
	part := off > 0
	f, err := o.open(ctx, l, path, part)
	if err != nil {
		return err
	}
	defer l.handles.put(f, part)
	if err := l.readAll(ctx, f, off, p); err != nil {
		return err
	}
	return f.look()
}

// readAll fills p, by several requests at once where it is long.
func (l *link) readAll(ctx context.Context, f *handle, off int64, p []byte) error {
	if len(p) <= chunk {
		return l.readAt(ctx, f, off, p)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(ahead)
	for len(p) > 0 {
		n := min(len(p), chunk)
		at, into := off, p[:n]
		g.Go(func() error { return l.readAt(ctx, f, at, into) })
		p, off = p[n:], off+int64(n)
	}
	return g.Wait()
}

// ReadFile reads all of the one file that the origin is, if it has no more than limit bytes; else limit+1 of them. Its first
// bytes, head of them where there are as many, are shown to look before the rest is read: an error of look ends the reading
// and is returned as it is.
func (o *Origin) ReadFile(ctx context.Context, limit int64, head int, look func(head []byte) error) ([]byte, error) {
	l, err := o.connected(ctx, o.closeCount())
	if err != nil {
		return nil, o.readError("", 0, err)
	}
	f, err := o.open(ctx, l, "", true)
	if err != nil {
		return nil, o.readError("", 0, err)
	}
	defer l.handles.put(f, false)
	if err := f.look(); err != nil {
		return nil, o.readError("", 0, err)
	}
	first := min(f.size, int64(head))
	p := make([]byte, first)
	if err := l.readAll(ctx, f, 0, p); err != nil {
		return nil, o.readError("", 0, err)
	}
	if err := look(p); err != nil {
		return nil, err
	}
	p = append(p, make([]byte, max(min(f.size, limit+1)-first, 0))...)
	if err := l.readAll(ctx, f, first, p[first:]); err != nil {
		return nil, o.readError("", first, err)
	}
	return p, nil
}

// readAt fills p.
func (l *link) readAt(ctx context.Context, f *handle, off int64, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	var n int
	err := l.do(ctx, func() (err error) {
		for n < len(p) {
			k, err := f.file.ReadAt(p[n:], off+int64(n))
			n += k
			if err != nil {
				return err
			}
			if k == 0 {
				return io.EOF
			}
		}
		return nil
	})
	if err != nil && n > 0 {
		return fmt.Errorf("after %s: %w", amount.Bytes(int64(n)), err)
	}
	return err
}

// Stream implements sources.Streamer.
func (o *Origin) Stream(ctx context.Context, path string, off, n int64) (io.ReadCloser, error) {
	l, err := o.connected(ctx, o.closeCount())
	if err != nil {
		return nil, o.readError(path, off, err)
	}
	f, err := o.open(ctx, l, path, true)
	if err != nil {
		return nil, o.readError(path, off, err)
	}
	s := &stream{o: o, ctx: ctx, link: l, file: f, begin: off, left: n, next: off, end: off + n}
	s.ask()
	return s, nil
}

// stream reads a stretch in chunks, several ahead of its reader.
type stream struct {
	o    *Origin
	ctx  context.Context
	link *link
	file *handle

	begin     int64     // where it began
	left      int64     // bytes its reader has still to get
	flows     time.Time // since when bytes come; zero: none did yet
	before    int64     // bytes that had come by then
	next, end int64     // what is to be asked for yet

	asked []*part // in order
	read  int     // bytes of asked[0] that were handed over
	err   error
	over  bool
}

// part is a chunk that was asked for.
type part struct {
	buf  *[chunk]byte
	n    int
	done chan struct{} // closed when buf has its n bytes, or err is set
	err  error
	at   time.Time // when that was
}

var buffers = sync.Pool{New: func() any { return new([chunk]byte) }}

// ask keeps as much under way as may be.
func (s *stream) ask() {
	size, depth := int64(smallChunk), ahead
	if s.link.fast.Load() {
		size, depth = chunk, s.depth()
	}
	for len(s.asked) < depth && s.next < s.end {
		p := &part{buf: buffers.Get().(*[chunk]byte), n: int(min(size, s.end-s.next)), done: make(chan struct{})}
		at := s.next
		s.next += int64(p.n)
		s.asked = append(s.asked, p)
		go func() {
			defer close(p.done)
			p.err = s.link.readAt(context.Background(), s.file, at, p.buf[:p.n])
			p.at = time.Now()
		}()
	}
}

// Read implements io.Reader.
func (s *stream) Read(b []byte) (int, error) {
	switch {
	case s.left == 0:
		s.Close()
		return 0, io.EOF
	case s.err != nil:
		return 0, s.err
	}
	p := s.asked[0]
	select {
	case <-p.done:
	case <-s.ctx.Done():
		return 0, s.fail(context.Cause(s.ctx))
	}
	if p.err != nil {
		return 0, s.fail(p.err)
	}
	if err := s.file.look(); err != nil {
		return 0, s.fail(err)
	}
	n := copy(b, p.buf[s.read:p.n])
	s.read += n
	s.left -= int64(n)
	if s.read == p.n {
		s.asked, s.read = s.asked[1:], 0
		buffers.Put(p.buf)
		s.judge(p.at)
		s.ask()
	}
	return n, nil
}

// got is how many bytes were handed over.
func (s *stream) got() int64 { return s.end - s.begin - s.left }

// rate is how fast bytes come, since the first did, in bytes per second. What went before them, on the way there and
// behind what others had asked for, says nothing about it.
func (s *stream) rate() float64 {
	if s.flows.IsZero() {
		return 0
	}
	return float64(s.got()-s.before) / max(time.Since(s.flows), time.Millisecond).Seconds()
}

// judge finds out whether the connection is fast, after a part was handed over that had arrived at that time. It takes more
// to be called fast than may have lain ready together where this machine was busy.
func (s *stream) judge(arrived time.Time) {
	if s.flows.IsZero() {
		s.flows, s.before = arrived, s.got()
		return
	}
	fast := s.rate() > slow
	if s.got() > 2*ahead*smallChunk || !fast && s.got() > ahead*smallChunk {
		s.link.fast.Store(fast)
	}
}

// depth is how many requests are to be under way on a fast connection.
func (s *stream) depth() int {
	onTheWay := s.rate() * time.Duration(s.link.roundTrip.Load()).Seconds() / chunk
	return min(ahead+int(onTheWay), farthest)
}

func (s *stream) fail(err error) error {
	s.err = s.o.readError(s.file.path, s.begin, err)
	return s.err
}

// Close lets the requests under way come to their end without the reader.
func (s *stream) Close() error {
	if s.over {
		return nil
	}
	s.over = true
	if s.err == nil {
		s.err = s.fail(io.ErrClosedPipe)
	}
	asked := s.asked
	s.asked = nil
	finish := func() {
		for _, p := range asked {
			<-p.done
			buffers.Put(p.buf)
		}
		s.link.handles.put(s.file, true)
	}
	if len(asked) == 0 {
		finish()
	} else {
		go finish()
	}
	return nil
}

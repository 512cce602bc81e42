package sources

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"handout/manifest"
)

// ReadRun reads the n pieces of m from first on and calls piece with each, in order and from the caller's goroutine,
// while it reads on. data is the piece's bytes, not verified, and valid until piece returns.
//
// A stretch of a file that goes past a piece's end is one request for all of the run (Streamer); small files are read
// several at a time, across the borders of pieces too. At most three pieces are in memory.
//
// An error of piece ends the run and is returned as it is. An error of a read ends it too, once every piece before the
// failed one was handed over; what to do about the rest is for the caller to decide.
func ReadRun(ctx context.Context, o Origin, m *manifest.Manifest, first manifest.PieceIndex, n int,
	piece func(i manifest.PieceIndex, data []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{
		o: o, m: m, first: first, end: first + manifest.PieceIndex(n),
		small: make(chan struct{}, inFlight),
		free:  make(chan *slab, maxSlabs),
		full:  make(chan *slab, maxSlabs),
	}
	for range slabsFor(m.PieceLength) {
		s := slabs.Get().(*slab)
		defer slabs.Put(s)
		r.free <- s
	}
	go r.feed(ctx)
	var err error
	done := 0
	for s := range r.full {
		s.parts.Wait()
		if err == nil {
			if err = s.err; err == nil {
				err = piece(s.index, s.data)
			}
			if err != nil {
				r.failed.Store(true)
				cancel()
			}
			done++
		}
		r.free <- s
	}
	if err == nil && done < n {
		err = context.Cause(ctx)
	}
	return err
}

// maxSlabs is how many pieces a run holds at once: one that is handed over, one that fills, one read ahead.
const maxSlabs = 3

// slabsFor does without reading ahead across pieces where they are large.
func slabsFor(pieceLength int64) int {
	if pieceLength > 4<<20 {
		return maxSlabs - 1
	}
	return maxSlabs
}

// slabs keeps the memory of pieces from one run to the next.
var slabs = sync.Pool{New: func() any { return new(slab) }}

// slab is one piece being filled.
type slab struct {
	index manifest.PieceIndex
	data  []byte
	parts sync.WaitGroup // small reads under way into data

	mu  sync.Mutex
	err error // the first of a read; may be read without mu once parts are done
}

// take makes the slab ready for piece i of n bytes.
func (s *slab) take(i manifest.PieceIndex, n int64) {
	if int64(cap(s.data)) < n {
		s.data = make([]byte, n)
	}
	s.index, s.data, s.err = i, s.data[:n], nil
}

// run is one ReadRun. Its feeder goes through the pieces in order, reads the long stretches itself and has the small
// ones read beside it; the pieces go out in the same order.
type run struct {
	o          Origin
	m          *manifest.Manifest
	first, end manifest.PieceIndex
	small      chan struct{} // bounds the small reads
	free, full chan *slab    // full: or filling; the taker waits for its parts
	failed     atomic.Bool   // start no more reads

	stream io.ReadCloser // of the file that goes on into the next piece; nil: none
	left   int64         // bytes still to come from stream
}

func (r *run) feed(ctx context.Context) {
	defer close(r.full)
	defer r.endStream()
	for i := r.first; i < r.end && !r.failed.Load(); i++ {
		select {
		case s := <-r.free:
			s.take(i, r.m.PieceSize(i))
			r.fill(ctx, s)
			r.full <- s
		case <-ctx.Done():
			return
		}
	}
}

// fill reads, or starts to read, all parts of a piece.
func (r *run) fill(ctx context.Context, s *slab) {
	begin := r.m.PieceOffset(s.index)
	stop := min(r.m.PieceOffset(r.end), r.m.Length)
	at := int64(0)
	for _, span := range r.m.Spans(begin, int64(len(s.data))) {
		part := s.data[at : at+span.Length]
		at += span.Length
		file := &r.m.Files[span.File]
		stretch := min(file.Offset+file.Length, stop) - (file.Offset + span.Offset)
		// A piece that is read alone is a stream as well, so that whoever waits for it sees it come.
		if r.stream != nil || stretch > span.Length || span.Length == int64(len(s.data)) && r.end-r.first == 1 {
			if err := r.readStream(ctx, span, stretch, part); err != nil {
				r.fail(s, err)
				return
			}
			continue
		}
		select {
		case r.small <- struct{}{}:
		case <-ctx.Done():
			r.fail(s, context.Cause(ctx))
			return
		}
		if r.failed.Load() {
			// One of the parts that already failed is this piece's own or an earlier one's: nobody will take this piece.
			<-r.small
			return
		}
		s.parts.Go(func() {
			if err := r.o.ReadRange(ctx, FilePath(r.m, span.File), span.Offset, part); err != nil {
				r.fail(s, err)
			}
			<-r.small
		})
	}
}

// readStream fills part from the stream under way, or from a new one that brings the whole stretch.
func (r *run) readStream(ctx context.Context, span manifest.Span, stretch int64, part []byte) error {
	if r.stream == nil {
		// A stream may keep the connection until its end, and that may be pieces away: small reads that waited behind it
		// would keep their piece, and so the memory the stream needs to go on.
		if err := r.awaitSmall(ctx); err != nil {
			return err
		}
		st, err := Stream(ctx, r.o, FilePath(r.m, span.File), span.Offset, stretch)
		if err != nil {
			return err
		}
		r.stream, r.left = st, stretch
	}
	if _, err := io.ReadFull(r.stream, part); err != nil {
		return err
	}
	if r.left -= span.Length; r.left == 0 {
		r.endStream()
	}
	return nil
}

// awaitSmall returns when no small read is under way.
func (r *run) awaitSmall(ctx context.Context) error {
	for n := range inFlight {
		select {
		case r.small <- struct{}{}:
		case <-ctx.Done():
			for range n {
				<-r.small
			}
			return context.Cause(ctx)
		}
	}
	for range inFlight {
		<-r.small
	}
	return nil
}

func (r *run) endStream() {
	if r.stream != nil {
		r.stream.Close()
		r.stream = nil
	}
}

func (r *run) fail(s *slab, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	r.failed.Store(true)
}

// inFlight is how many reads of one run are under way together on the origin's connection: enough to hide the
// round trips where the protocol multiplexes, and to leave no pause where it queues.
const inFlight = 8

// FilePath is where an origin of m has the file: a one-file package's URL names that file itself.
func FilePath(m *manifest.Manifest, file int) string {
	if m.Single {
		return ""
	}
	return m.Files[file].Path
}

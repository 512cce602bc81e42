package httporigin

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"handout/sources"

	"handout/manifest/amount"
)

// body is one request's turn on the connection and the wanted bytes of its answer. It holds the deadlines: whoever waits
// for the server waits in b.read. The turn ends with the last wanted byte, or with Close.
type body struct {
	h      *Origin
	ctx    context.Context // of the read
	reqCtx context.Context // of the request: ends earlier, by stalling or with the turn
	cancel context.CancelCauseFunc
	timer  *time.Timer // runs while we wait for the server; cancels the request
	closes int
	resp   *http.Response // nil: no answer yet
	coding coding         // what the answer says of itself

	path string
	how  manner
	got  int64 // wanted bytes that came
	left int64 // wanted bytes still to come
	rest int64 // bytes of the answer that follow the wanted ones; -1: not known
	eof  bool  // the answer has been read to its end
	over bool  // the turn has ended
	err  error // what Read says from now on

	waited   time.Duration // in b.read since the last look at the rate
	received int64         // meanwhile
}

// maxDrain and drainTime are how much unwanted answer is read to keep the connection, and for how long; for more, a new
// one is cheaper.
const (
	maxDrain  = 64 << 10
	drainTime = time.Second
)

func newBody(h *Origin, ctx context.Context, a *ask) *body {
	b := &body{h: h, ctx: ctx, closes: a.closes, path: a.path, how: a.how, left: a.n}
	b.reqCtx, b.cancel = context.WithCancelCause(ctx)
	b.timer = time.AfterFunc(time.Hour, b.stall)
	return b
}

func (b *body) stall() { b.cancel(errStalled) }

// begin reads up to the first wanted byte.
func (b *body) begin(c content) error {
	b.left, b.rest = c.n, -1
	if c.size >= 0 {
		b.rest = c.size - c.skip - b.left
	}
	scratch := make([]byte, min(c.skip, 32<<10))
	for c.skip > 0 {
		n, err := b.read(scratch[:min(c.skip, int64(len(scratch)))])
		if err != nil {
			return err
		}
		c.skip -= int64(n)
	}
	return nil
}

// Read reads wanted bytes straight into p.
func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.got += int64(n)
	switch {
	case b.left == 0:
		b.Close()
	case err != nil:
		b.err = err
		b.end()
		return n, err
	}
	return n, nil
}

// read is the one place that waits for the body. Its errors are final but for the end of the answer, which is an error
// only to those who wanted more.
func (b *body) read(p []byte) (int, error) {
	b.timer.Reset(b.h.o.StallTimeout)
	begun := time.Now()
	n, err := b.resp.Body.Read(p)
	b.timer.Stop()
	b.waited += time.Since(begun)
	b.received += int64(n)
	if err == io.EOF {
		b.eof = true
		if n > 0 {
			return n, nil
		}
		if b.endsShort() || b.left > math.MaxInt64/2 { // the latter: wanted as long as it is
			return 0, io.EOF
		}
		if whole := b.resp.StatusCode == http.StatusOK; whole && (b.resp.TransferEncoding != nil || b.resp.ProtoMajor == 2) {
			// The server marked the end, so it is not the connection that broke.
			return 0, b.coding.explain(fmt.Errorf("%w: it is shorter than asked", sources.ErrChanged))
		}
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return n, b.failure(err, fmt.Sprintf("no byte for %v", b.h.o.StallTimeout), true)
	}
	if b.waited >= minRateWindow {
		if float64(b.received) < float64(b.h.o.MinRate)*b.waited.Seconds() {
			return n, &sources.NotNow{Err: fmt.Errorf("%w: %s in %v", errStalled, amount.Bytes(b.received), b.waited.Round(time.Second))}
		}
		b.waited, b.received = 0, 0
	}
	return n, nil
}

// endsShort reports whether the server marked the end of a part before all that it had said of it: what came is good, the
// rest is asked for.
func (b *body) endsShort() bool {
	return b.resp.StatusCode == http.StatusPartialContent && b.resp.ContentLength < 0 && b.got > 0 &&
		(b.resp.TransferEncoding != nil || b.resp.ProtoMajor == 2) && b.h.manners.short(b.path, b.how, b.got) == nil
}

// failure is the outcome that an error of the transport means. what says for what the wait was too long; worked, that
// the connection had.
func (b *body) failure(err error, what string, worked bool) error {
	switch {
	case b.ctx.Err() != nil:
		return context.Cause(b.ctx)
	case b.h.isClosed(b.closes):
		return sources.ErrClosed
	case context.Cause(b.reqCtx) == errStalled:
		return &sources.NotNow{Err: fmt.Errorf("%w: %s", errStalled, what)}
	case worked:
		return &sources.NotNow{Err: broken{fmt.Errorf("connection broke: %w", err)}}
	}
	return &sources.NotNow{Err: err}
}

// Close ends the turn, if it hasn't ended. A little unwanted answer is read so that the connection can be used again;
// with more to come it is given up.
func (b *body) Close() error {
	if b.over {
		return nil
	}
	if b.err == nil {
		b.err = io.ErrClosedPipe
	}
	if !b.eof && b.resp.StatusCode >= 200 && b.unread() <= maxDrain { // after a 101 there is no answer to drain
		b.timer.Reset(drainTime)
		scratch := make([]byte, 4<<10)
		for drained := 0; drained <= maxDrain; {
			n, err := b.resp.Body.Read(scratch)
			if err != nil {
				b.eof = err == io.EOF
				break
			}
			drained += n
		}
	}
	b.end()
	return nil
}

// unread is how much of the answer is still to come, as far as it says.
func (b *body) unread() int64 {
	if b.resp.StatusCode != http.StatusOK && b.resp.StatusCode != http.StatusPartialContent {
		return max(b.resp.ContentLength, 0)
	}
	return b.left + max(b.rest, 0)
}

func (b *body) end() {
	if b.over {
		return
	}
	b.over = true
	b.timer.Stop()
	if b.resp != nil {
		b.resp.Body.Close()
		if r := b.resp; r.ProtoMajor == 1 && (r.Close || !b.eof && r.ContentLength != 0) {
			b.h.door.Shut() // the connection is about to end, which the next in the queue could take for a failure
		}
	}
	b.cancel(nil)
	b.h.door.Leave()
}

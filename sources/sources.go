// Package sources reads what publishers keep: files of a package, by path and range, from an origin.
//
// The Origin contract is one small interface. HTTP servers (httporigin) and folders (fileorigin) implement it, every
// implementation sits the exam in sourcetest, and Retry wraps any of them. ReadRun turns pieces into reads.
// Nothing is verified here: whoever holds the manifest hashes what was read, and Check says what is wrong with it. Which
// of several origins to read from is the agent's to decide, since what one connection learns all should know.
// Package sources/origin opens the origin that a URL names.
package sources

import (
	"context"
	"io"
)

// Origin is where a publisher keeps a tree or one file, read-only, and at most ONE connection to it: a connection is
// what a lease counts, so a machine that may have n connections opens the Origin n times.
//
// All methods may be called concurrently. Reads share the connection: multiplexed where the protocol can, queued one
// behind the other without a pause where it can't.
type Origin interface {
	// ReadRange fills p with the bytes [off, off+len(p)) of the file at path: slash-separated, relative to what the
	// origin's URL names; "" is that thing itself, for a package that is one file. p is the caller's; its content is
	// undefined after an error, and nobody writes to it after the return.
	//
	// The outcomes, asked with errors.Is and errors.As; all but the first come in a *ReadError:
	//
	//	nil          p is filled with what the origin sent, which may still be wrong: hash it
	//	ErrMissing   not here: ask the next origin
	//	*NotNow      the origin can't now: back off, then ask again
	//	ErrNoRanges  the file can only be read from its front: Whole does that
	//	ErrChanged   the file is not the one it was, or not as long as asked: this origin can't be used for it
	//	ErrDenied    the origin wants other credentials: an admin must act
	//	ctx's cause  ctx ended first
	//	any other    counts against this origin
	ReadRange(ctx context.Context, path string, off int64, p []byte) error

	// String names the origin for people: no credentials, no query.
	String() string

	// Close ends the connection; reads under way fail with ErrClosed. The Origin stays usable: the next read connects
	// again. So whoever hands on a lease closes, and keeps the value for its next one.
	Close() error
}

// Streamer is the extra power to send a long stretch of one file in answer to one request.
type Streamer interface {
	// Stream asks for the bytes [off, off+n) of the file at path and returns when they begin to arrive. The reader ends
	// with io.EOF after exactly n bytes and fails with the errors of ReadRange before. It may occupy the origin's
	// connection until its last byte is read or it is closed; the caller closes it in any case. ctx covers the reading too.
	Stream(ctx context.Context, path string, off, n int64) (io.ReadCloser, error)
}

// Ranger is the extra power to ask a server whether it serves ranges, before it sends a file that nobody wants from its front.
type Ranger interface {
	// Ranges reports whether the server announces ranges of the file at path; an error: it says nothing, or nothing good.
	Ranges(ctx context.Context, path string) (bool, error)
}

// Ranges asks any origin; one without that power reads wherever it is told to.
func Ranges(ctx context.Context, o Origin, path string) (bool, error) {
	if r, ok := o.(Ranger); ok {
		return r.Ranges(ctx, path)
	}
	return true, nil
}

// Doubter is the extra power to say what an origin found odd about a file it read.
type Doubter interface {
	// Doubt is why the bytes of the file at path may not be those that lie there, for people; "": nothing is known.
	Doubt(path string) string
}

// doubt is what o, or what it wraps, found odd about the file at path.
func doubt(o Origin, path string) string {
	if d, ok := o.(Doubter); ok {
		return d.Doubt(path)
	}
	return ""
}

// Stream reads a long stretch from any origin: by Streamer where o has that power, else range by range as it is read.
func Stream(ctx context.Context, o Origin, path string, off, n int64) (io.ReadCloser, error) {
	if s, ok := o.(Streamer); ok {
		return s.Stream(ctx, path, off, n)
	}
	return &ranges{ctx, o, path, off, n}, nil
}

// ranges reads a stretch by one ReadRange for each Read.
type ranges struct {
	ctx  context.Context
	o    Origin
	path string
	off  int64
	left int64
}

func (r *ranges) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.left)]
	if err := r.o.ReadRange(r.ctx, r.path, r.off, p); err != nil {
		return 0, err
	}
	r.off += int64(len(p))
	r.left -= int64(len(p))
	return len(p), nil
}

func (r *ranges) Close() error { return nil }

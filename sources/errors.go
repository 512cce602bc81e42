package sources

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrMissing: the origin doesn't have the file; another may.
	ErrMissing = errors.New("not at this origin")
	// ErrChanged: the file is not the one it was when it was first read here, or is shorter than the manifest says.
	ErrChanged = errors.New("file has changed at the origin")
	// ErrNoRanges: the origin gives this file only from its front, and the read would have to begin far from it.
	ErrNoRanges = errors.New("server gives this file only from its beginning: it does not serve ranges")
	// ErrDenied: the origin refuses the credentials, or wants some.
	ErrDenied = errors.New("access denied")
	// ErrNoAnswer: nobody answered at the server's address, as while a network comes up.
	ErrNoAnswer = errors.New("nobody answers")
	// ErrClosed: the origin was closed while the read was under way.
	ErrClosed = errors.New("origin closed")
)

// NotNow says that the origin can't at the moment: it is overloaded, out of reach, stalled. The same question may be
// answered later.
type NotNow struct {
	After time.Duration // what the origin asked for before the next attempt; 0: it didn't say
	Err   error         // why
}

func (e *NotNow) Error() string {
	if e.After > 0 {
		return fmt.Sprintf("not now, asked to wait %v: %v", e.After.Round(time.Second), e.Err)
	}
	return "not now: " + e.Err.Error()
}

func (e *NotNow) Unwrap() error { return e.Err }

// Retryable reports whether the same read may succeed at the same origin later, and how long the origin asked to be left
// alone until then (0: it didn't say).
func Retryable(err error) (after time.Duration, ok bool) {
	if n, ok := errors.AsType[*NotNow](err); ok {
		return n.After, true
	}
	return 0, false
}

// ReadError says which read failed. Every error of an Origin's reads comes in one.
type ReadError struct {
	Path   string // "": the one file the origin is
	Offset int64  // where the read was to begin, in bytes
	Origin string // the origin's String
	Err    error
}

func (e *ReadError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("read %s at %d: %v", e.Origin, e.Offset, e.Err)
	}
	return fmt.Sprintf("read %s at %d from %s: %v", e.Path, e.Offset, e.Origin, e.Err)
}

func (e *ReadError) Unwrap() error { return e.Err }

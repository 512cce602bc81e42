package httporigin

import (
	"fmt"
	"net/http"
	"sync"

	"handout/sources"
)

// manner is how a file is asked for. It begins with byRange and goes down this list as answers show that it must.
type manner int8

const (
	byRange   manner = iota // the part that is wanted, by Range
	fromFront               // all of it, without Range: what this server says to a Range can't be used, or is not worth it
	inParts                 // by Range, however small the parts are: asked for all, the server gives a part of it
)

const (
	// maxSkip is how much of a file is read for nothing where a server gives it from its front: about what a connection
	// costs. Past it that is for the caller to decide (sources.ErrNoRanges).
	maxSkip = 64 << 10
	// A server that sends less than worthAsking a time, fewShort times, is asked for the whole: small parts are thousands of
	// requests. One that gives no whole either may send no less than leastPart.
	worthAsking = 256 << 10
	fewShort    = 3
	leastPart   = 4 << 10
	manyShort   = 64
	// maxManners bounds how many files are remembered: those are that are not asked for by Range.
	maxManners = 4096
)

// manners remembers how files are asked for. The zero value is ready.
type manners struct {
	mu    sync.Mutex
	files map[string]*habit
	plain bool // ranges of some file are of no use: others are asked for without, where they are read from their front
}

// habit is what a file's server does.
type habit struct {
	manner
	short int   // answers with less than was asked
	bytes int64 // of these
}

// of is how to ask for what begins at off in the file at path.
func (m *manners) of(path string, off int64) manner {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.files[path]; h != nil && h.manner != byRange {
		return h.manner
	}
	if m.plain && off == 0 {
		return fromFront
	}
	return byRange
}

// to changes how a file is asked for, from a manner that failed.
func (m *manners) to(path string, next manner) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.habit(path)
	h.manner = max(h.manner, next)
	m.plain = m.plain || next == fromFront
}

// short notes an answer of n bytes where more were asked for, in some manner.
func (m *manners) short(path string, how manner, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.habit(path)
	h.short++
	h.bytes += n
	switch {
	case how == fromFront:
		h.manner = inParts
	case h.manner == byRange && h.short >= fewShort && h.bytes < int64(h.short)*worthAsking:
		h.manner, m.plain = fromFront, true
	case h.short >= manyShort && h.bytes < int64(h.short)*leastPart:
		return fmt.Errorf("server sends only %d bytes of a file at a time", h.bytes/int64(h.short))
	}
	return nil
}

func (m *manners) habit(path string) *habit {
	h := m.files[path]
	if h == nil {
		if m.files == nil || len(m.files) >= maxManners {
			m.files = map[string]*habit{}
		}
		h = new(habit)
		m.files[path] = h
	}
	return h
}

// otherwise marks an answer that can't be used because of the manner in which was asked: the file is to be asked for in
// another one.
type otherwise struct {
	error
	manner manner
}

// content is where in an answer's body the wanted bytes are, all in bytes.
type content struct {
	skip int64 // before them
	n    int64 // of them; fewer than asked: the rest is to be asked for
	size int64 // of the whole body; -1: not known
}

// judge holds an answer with content against what was asked: the bytes [off, off+n). Of several ways to understand it
// none is chosen: the file is asked for in another manner then, until an answer says one thing.
func judge(resp *http.Response, how manner, off, n int64) (content, error) {
	size := resp.ContentLength
	said := resp.Header.Get("Content-Range")
	r, ok := parseContentRange(said)
	ok = ok && r.first >= 0 && (size < 0 || size == r.last-r.first+1)
	garbled := func() error {
		return fmt.Errorf("server sends another part of the file than asked, or does not say which (Content-Range: %q, %d bytes, for %d-%d)", said, size, off, off+n-1)
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		if size >= 0 && size < off+n {
			return content{}, fmt.Errorf("%w: it is only %d bytes long", sources.ErrChanged, size)
		}
		if off > maxSkip {
			return content{}, otherwise{sources.ErrNoRanges, fromFront}
		}
		return content{off, n, size}, nil
	case how == fromFront: // and 206 to a request without Range
		whole := ok && r.first == 0 && r.last >= off+n-1 || !ok && size >= off+n || !ok && size < 0 && said == ""
		if !whole {
			return content{}, otherwise{garbled(), inParts}
		}
		return content{off, n, size}, nil
	case ok && r.first <= off && off <= r.last && off-r.first <= maxSkip:
		return content{off - r.first, min(n, r.last+1-off), r.last - r.first + 1}, nil
	case how == byRange:
		return content{}, otherwise{garbled(), fromFront}
	}
	return content{}, garbled()
}

// refusesRanges reports whether a status may be an answer to the Range, so that the file itself is worth asking for. A 416
// that says how long the file is, and that this is too short, is believed.
func refusesRanges(resp *http.Response, off, n int64) bool {
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusNotImplemented:
		return true
	case http.StatusRequestedRangeNotSatisfiable:
		r, ok := parseContentRange(resp.Header.Get("Content-Range"))
		return !ok || r.first >= 0 || r.total >= off+n
	}
	return false
}

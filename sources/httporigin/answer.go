package httporigin

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"handout/sources"
)

// span is what a Content-Range says (RFC 9110 section 14.4), in bytes.
type span struct {
	first, last int64 // both inclusive; -1, -1: unsatisfied
	total       int64 // of the file; -1: not said
}

// parseContentRange reads "bytes 0-9/100", "bytes 0-9/*" and "bytes */100".
func parseContentRange(s string) (span, bool) {
	unit, rest, ok := strings.Cut(s, " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return span{}, false
	}
	part, whole, ok := strings.Cut(strings.TrimSpace(rest), "/")
	if !ok {
		return span{}, false
	}
	r := span{-1, -1, -1}
	if whole != "*" {
		if r.total, ok = number(whole); !ok {
			return span{}, false
		}
	}
	if part == "*" {
		return r, r.total >= 0
	}
	a, b, _ := strings.Cut(part, "-")
	first, ok1 := number(a)
	last, ok2 := number(b)
	if !ok1 || !ok2 || last < first || r.total >= 0 && last >= r.total {
		return span{}, false
	}
	r.first, r.last = first, last
	return r, true
}

// number reads digits and nothing else.
func number(s string) (int64, bool) {
	if s == "" || strings.TrimLeft(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// maxRetryAfter bounds what a server can ask for: past it a mistake is likelier than a wish.
const maxRetryAfter = 24 * time.Hour

// parseRetryAfter reads seconds or a date (RFC 9110 section 10.2.3); 0: none, or not to be understood.
func parseRetryAfter(s string, now time.Time) time.Duration {
	s = strings.TrimSpace(s)
	if n, ok := number(s); ok {
		return min(time.Duration(min(n, int64(maxRetryAfter/time.Second)))*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// statusError is the error a status means that is neither content nor a redirect.
func statusError(resp *http.Response) error {
	status := resp.Status
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("%w (%s)", sources.ErrMissing, status)
	case code == http.StatusUnauthorized:
		return fmt.Errorf("%w (%s): set the user and password or the token for this host in the configuration", sources.ErrDenied, status)
	case code == http.StatusForbidden:
		return fmt.Errorf("%w (%s): the server must let this user, certificate or address read the file", sources.ErrDenied, status)
	case code == http.StatusProxyAuthRequired:
		return fmt.Errorf("%w (%s): the proxy wants credentials", sources.ErrDenied, status)
	case code == http.StatusRequestedRangeNotSatisfiable:
		if r, ok := parseContentRange(resp.Header.Get("Content-Range")); ok && r.first < 0 {
			return fmt.Errorf("%w: it is only %d bytes long", sources.ErrChanged, r.total)
		}
		return fmt.Errorf("%w: it is shorter than asked (%s)", sources.ErrChanged, status)
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code == http.StatusTooEarly:
		return &sources.NotNow{
			After: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
			Err:   fmt.Errorf("server says %s", status),
		}
	}
	return fmt.Errorf("unexpected answer %s", resp.Status)
}

// content is where in an answer's body the wanted bytes are, all in bytes.
type content struct {
	skip  int64 // before them
	size  int64 // of the whole body; -1: not known
	total int64 // of the file; -1: not known
}

// maxSkip is how much of a file is read for nothing where a server doesn't serve ranges: enough for the small files that
// share a piece, too little to read a large file again for each of its pieces.
const maxSkip = 4 << 20

// judge holds an answer with content against what was asked: the bytes [off, off+n).
func judge(resp *http.Response, off, n int64) (content, error) {
	size := resp.ContentLength
	if resp.StatusCode == http.StatusOK {
		if size >= 0 && size < off+n {
			return content{}, fmt.Errorf("%w: it is only %d bytes long", sources.ErrChanged, size)
		}
		if off > maxSkip {
			return content{}, errors.New("server does not serve ranges: it answers 200 to a request for a part of a file")
		}
		return content{skip: off, size: size, total: size}, nil
	}
	said := resp.Header.Get("Content-Range")
	r, ok := parseContentRange(said)
	switch {
	case !ok || r.first < 0:
		return content{}, fmt.Errorf("server sends part of a file without saying which (Content-Range: %q)", said)
	case r.first == off && r.last < off+n-1 && r.last+1 == r.total:
		return content{}, fmt.Errorf("%w: it is only %d bytes long", sources.ErrChanged, r.total)
	case r.first != off || r.last != off+n-1 || size >= 0 && size != n:
		return content{}, fmt.Errorf("server sends another part of the file than asked: %q (%d bytes) for %d-%d", said, size, off, off+n-1)
	}
	return content{size: n, total: r.total}, nil
}

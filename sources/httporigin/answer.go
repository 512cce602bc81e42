package httporigin

import (
	"fmt"
	"net/http"
	"slices"
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

// serverTime is what the server's clock says: a date in Retry-After is by that one, and a boot image's may be years off.
func serverTime(resp *http.Response) time.Time {
	if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		return t
	}
	return time.Now()
}

// statusError is the error a status means that is neither content nor a redirect.
func statusError(resp *http.Response) error {
	status := resp.Status
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("%w (%s)", sources.ErrMissing, status)
	case code == http.StatusUnauthorized:
		return fmt.Errorf("%w (%s): %s", sources.ErrDenied, status, loginHint(resp))
	case code == http.StatusForbidden && resp.Request.URL.RawQuery != "":
		return fmt.Errorf("%w (%s): what stands behind the ? in the URL may have expired, or be for another file", sources.ErrDenied, status)
	case code == http.StatusForbidden:
		return fmt.Errorf("%w (%s): the server must let this machine's address, or everybody, read the file; or take a signed URL (?...)",
			sources.ErrDenied, status)
	case code == http.StatusProxyAuthRequired:
		return fmt.Errorf("%w (%s): the proxy wants credentials", sources.ErrDenied, status)
	case code == http.StatusRequestedRangeNotSatisfiable:
		if r, ok := parseContentRange(resp.Header.Get("Content-Range")); ok && r.first < 0 {
			return fmt.Errorf("%w: it is only %d bytes long", sources.ErrChanged, r.total)
		}
		return fmt.Errorf("%w: it is shorter than asked (%s)", sources.ErrChanged, status)
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code == http.StatusTooEarly:
		return &sources.NotNow{
			After: parseRetryAfter(resp.Header.Get("Retry-After"), serverTime(resp)),
			Err:   fmt.Errorf("server says %s", status),
		}
	}
	return fmt.Errorf("unexpected answer %s", resp.Status)
}

// loginHint says what helps against a 401.
func loginHint(resp *http.Response) string {
	ways := resp.Header.Values("WWW-Authenticate")
	basic := slices.ContainsFunc(ways, func(s string) bool { return strings.Contains(strings.ToLower(s), "basic") })
	switch {
	case resp.Request.Header.Get("Authorization") != "":
		return "the server does not take this user and password"
	case len(ways) > 0 && !basic:
		way, _, _ := strings.Cut(ways[0], " ")
		return fmt.Sprintf("the server wants a login by %q, which handout can't do over HTTP; let it take Basic, "+
			"a signed URL (?...) or this machine's address, or read the files from a share (smb://)", way)
	}
	return "the server wants a user and a password: write them into the URL given here or in the config (http://USER:PASSWORD@host/...); " +
		"a manifest has none, so name its origin with --origin"
}

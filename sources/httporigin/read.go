package httporigin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"handout/sources"
)

// maxAttempts bounds how often one read goes on by itself after a connection that had worked broke.
const maxAttempts = 4

// broken marks the failure of a connection that had worked: asking again at once is likely to help.
type broken struct{ error }

func (b broken) Unwrap() error { return b.error }

func isBroken(err error) bool {
	_, ok := errors.AsType[broken](err)
	return ok
}

// ReadRange implements sources.Origin. A connection that breaks in mid-answer costs only what was on the way: the read
// goes on where it was.
func (h *Origin) ReadRange(ctx context.Context, path string, off int64, p []byte) error {
	var broke error
	for attempt, got := 1, 0; got < len(p); {
		b, err := h.open(ctx, path, off+int64(got), int64(len(p)-got))
		if err != nil {
			if broke != nil && errors.Is(err, sources.ErrNoRanges) {
				err = broke // it can't go on where it broke, and that it broke is the news
			}
			return h.readError(path, off, err)
		}
		n, err := io.ReadFull(b, p[got:got+int(b.left)])
		b.Close()
		got += n
		switch {
		case err == nil, n > 0 && err == io.ErrUnexpectedEOF: // the answer's end: it was short
		case n == 0 || attempt == maxAttempts || !isBroken(err):
			return h.readError(path, off, err)
		default:
			broke = err
			attempt++
		}
	}
	return nil
}

// Stream implements sources.Streamer.
func (h *Origin) Stream(ctx context.Context, path string, off, n int64) (io.ReadCloser, error) {
	if n == 0 {
		return http.NoBody, nil // no Range can say it
	}
	b, err := h.open(ctx, path, off, n)
	if err != nil {
		return nil, h.readError(path, off, err)
	}
	return &stream{body: b, path: path, off: off, at: off, end: off + n}, nil
}

// stream is one body after the other, where answers are short, and its errors say which read failed.
type stream struct {
	*body
	path    string
	off     int64 // where the read began
	at, end int64 // the next byte, and the one after the last
}

func (s *stream) Read(p []byte) (int, error) {
	for {
		n, err := s.body.Read(p)
		s.at += int64(n)
		if err == io.EOF && s.at < s.end {
			var next *body
			if s.h.isClosed(s.closes) {
				err = sources.ErrClosed
			} else if next, err = s.h.open(s.ctx, s.path, s.at, s.end-s.at); err == nil {
				s.body = next
				continue
			}
		}
		if err != nil && err != io.EOF {
			err = s.h.readError(s.path, s.off, err)
		}
		return n, err
	}
}

// open asks for the bytes [off, off+n) and returns when they begin to arrive. A connection that the server ended while it
// was idle, and a place that a redirect led to before and that is no good any more, are tried afresh.
func (h *Origin) open(ctx context.Context, path string, off, n int64) (*body, error) {
	esc, err := escape(path)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		how := h.manners.of(path, off)
		if how == fromFront && off > maxSkip {
			return nil, sources.ErrNoRanges
		}
		h.mu.Lock()
		closes, moved := h.closes, h.moved
		h.mu.Unlock()
		base := h.base
		if moved != nil {
			base = moved
		}
		b, err := h.follow(ctx, &ask{path: path, esc: esc, off: off, n: n, closes: closes, how: how}, base)
		if err == nil {
			return b, nil
		}
		if o, ok := errors.AsType[otherwise](err); ok {
			h.manners.to(path, o.manner)
			if o.manner > how && !errors.Is(err, sources.ErrNoRanges) {
				attempt--
				continue
			}
			return nil, o.error
		}
		if moved != nil && !h.isClosed(closes) {
			h.setMoved(nil)
		}
		if attempt == maxAttempts || ctx.Err() != nil || h.isClosed(closes) || moved == nil && !isBroken(err) {
			return nil, err
		}
	}
}

// ask is what one read wants.
type ask struct {
	path, esc string // of the file; as it is, and escaped
	off, n    int64  // n may be whole
	closes    int    // of the origin when the read began
	how       manner
	head      bool // only what the server says of the file
}

// Ranges implements sources.Ranger, by HEAD: a server without ranges would answer a GET with all of the file. Most answer
// 206 to a Range in it as well; the others must say that they accept ranges.
func (h *Origin) Ranges(ctx context.Context, path string) (bool, error) {
	esc, err := escape(path)
	if err != nil {
		return false, err
	}
	h.mu.Lock()
	closes := h.closes
	h.mu.Unlock()
	b, err := h.follow(ctx, &ask{path: path, esc: esc, n: 1, closes: closes, head: true}, h.base)
	if err != nil {
		return false, h.readError(path, 0, err)
	}
	defer b.Close()
	return b.resp.StatusCode == http.StatusPartialContent || strings.Contains(strings.ToLower(strings.Join(b.resp.Header.Values("Accept-Ranges"), ",")), "bytes"), nil
}

func (h *Origin) setMoved(base *url.URL) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.moved = base
}

// follow asks below base and wherever redirects lead from there. Where they only put another base before the same path,
// it is remembered until Close or the first failure, so that not every read pays for the detour.
func (h *Origin) follow(ctx context.Context, a *ask, base *url.URL) (*body, error) {
	u := locate(base, a.path, a.esc)
	var trail []string
	for {
		b, location, err := h.get(ctx, a, u)
		if err != nil {
			return nil, err
		}
		if location == "" {
			if len(trail) > 0 && (u.RawQuery == "" || u.RawQuery == h.base.RawQuery) {
				h.setMoved(baseOf(u, a.esc))
			}
			return b, nil
		}
		trail = append(trail, u.String())
		next, err := redirect(u, location)
		if err != nil {
			return nil, err
		}
		if slices.Contains(trail, next.String()) {
			return nil, fmt.Errorf("redirect loop: %s", showTrail(trail, next))
		}
		if len(trail) > h.o.MaxRedirects {
			return nil, fmt.Errorf("more than %d redirects: %s", max(h.o.MaxRedirects, 0), showTrail(trail, next))
		}
		u = next
	}
}

// redirect is where location leads from u, if we may go there.
func redirect(u *url.URL, location string) (*url.URL, error) {
	next, err := u.Parse(location)
	if err != nil {
		return nil, errors.New("redirect to what is no URL")
	}
	if err := checkURL(next); err != nil {
		return nil, fmt.Errorf("redirect to %s: %w", display(next), err)
	}
	if next.User != nil {
		return nil, fmt.Errorf("redirect to %s: with credentials in it", display(next))
	}
	if u.Scheme == "https" && next.Scheme == "http" {
		return nil, fmt.Errorf("redirect to %s: from https to http", display(next))
	}
	next.Fragment, next.RawFragment = "", ""
	return next, nil
}

func showTrail(trail []string, last *url.URL) string {
	var s strings.Builder
	for _, t := range trail {
		if u, err := url.Parse(t); err == nil {
			s.WriteString(display(u) + " -> ")
		}
	}
	return s.String() + display(last)
}

// get sends one request. It returns the body to read, or the location of a redirect.
func (h *Origin) get(ctx context.Context, a *ask, u *url.URL) (_ *body, location string, _ error) {
	c, err := h.enter(ctx, u, a.closes)
	if err != nil {
		return nil, "", err
	}
	b := newBody(h, ctx, a)
	req := (&http.Request{Method: "GET", URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(b.reqCtx)
	if sameEndpoint(u, h.base) {
		req.Header = maps.Clone(h.ownHeader)
	} else {
		req.Header = maps.Clone(h.otherHeader)
	}
	if a.head {
		req.Method = http.MethodHead
	}
	if a.how != fromFront && a.n != whole {
		req.Header["Range"] = []string{rangeHeader(a.off, a.n)}
	}
	// No validator goes with it (If-Range): two servers behind one name have other ETags and dates of the same bytes.

	b.timer.Reset(h.o.AnswerTimeout)
	resp, err := c.RoundTrip(req)
	b.timer.Stop()
	if err != nil {
		err = b.failure(err, fmt.Sprintf("no answer within %v", h.o.AnswerTimeout), h.wasUsed(c))
		if ctx.Err() == nil {
			h.door.Shut()
		}
		b.end()
		return nil, "", err
	}
	h.answered(c, resp)
	b.resp = resp

	if a.head && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent) {
		return b, "", nil
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		if a.n == whole && resp.StatusCode == http.StatusOK {
			b.coding, b.left = contentCoding(resp.Header), wholeLength(resp)
			return b, "", nil
		}
		b.coding = contentCoding(resp.Header)
		h.codings.note(a.path, b.coding)
		where, err := judge(resp, a.how, a.off, a.n)
		if err == nil && where.n < a.n {
			err = h.manners.short(a.path, a.how, where.n)
		}
		if err == nil {
			err = b.begin(where)
		}
		if b.rest > maxDrain && a.how == byRange && resp.StatusCode == http.StatusPartialContent {
			h.manners.to(a.path, fromFront) // it would send so much in vain with each answer
		}
		if err != nil {
			b.Close()
			return nil, "", b.coding.explain(err)
		}
		return b, "", nil
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		location = resp.Header.Get("Location")
		if location == "" {
			err = fmt.Errorf("%s without saying where to", resp.Status)
		}
	default:
		if a.how == byRange && a.n != whole && refusesRanges(resp, a.off, a.n) {
			err = otherwise{statusError(resp), fromFront}
			break
		}
		err = h.codings.of(a.path, resp.Header).explain(statusError(resp))
	}
	b.Close()
	return nil, location, err
}

func rangeHeader(off, n int64) string {
	b := make([]byte, 0, 48)
	b = append(b, "bytes="...)
	b = strconv.AppendInt(b, off, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, off+n-1, 10)
	return string(b)
}

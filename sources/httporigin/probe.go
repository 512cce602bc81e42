package httporigin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"

	"handout/sources"
)

// Probe implements sources.Prober: it asks for the first byte, since servers answer that more truly than HEAD. It uses a
// connection of its own.
func (h *Origin) Probe(ctx context.Context, path string) (size int64, ranges bool, err error) {
	size, ranges, err = h.probe(ctx, path)
	if err != nil {
		err = h.readError(path, 0, err)
	}
	return size, ranges, err
}

func (h *Origin) probe(ctx context.Context, path string) (size int64, ranges bool, err error) {
	esc, err := escape(path)
	if err != nil {
		return -1, false, err
	}
	transport := h.own.Clone()
	transport.DialContext = h.o.Dial
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		last := via[len(via)-1]
		if _, err := redirect(last.URL, req.URL.String()); err != nil {
			return err
		}
		if len(via) > h.o.MaxRedirects {
			return errors.New("too many redirects")
		}
		if !sameEndpoint(req.URL, h.base) {
			req.Header = maps.Clone(h.otherHeader)
			req.Header["Range"] = last.Header["Range"]
		}
		return nil
	}}
	req := (&http.Request{Method: "GET", URL: locate(h.base, path, esc)}).WithContext(ctx)
	req.Header = maps.Clone(h.ownHeader)
	req.Header["Range"] = []string{rangeHeader(0, 1)}
	resp, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, which may have a key in it
		}
		return -1, false, notNow("%w", err)
	}
	resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusPartialContent:
		r, ok := parseContentRange(resp.Header.Get("Content-Range"))
		if !ok {
			return -1, false, fmt.Errorf("%w: the server's Content-Range can't be read", sources.ErrNoRanges)
		}
		return r.total, true, nil
	case http.StatusOK:
		size := resp.ContentLength
		if contentCoding(resp.Header) != "" {
			size = -1 // of what it was made into
		}
		return size, false, nil
	case http.StatusRequestedRangeNotSatisfiable:
		return 0, true, nil // it is empty
	}
	return -1, false, statusError(resp)
}

package api

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"

	"golang.org/x/time/rate"

	"handout/manifest/amount"
)

const (
	// requestsPerSecond is what one connection may ask: a screen that refreshes ten times a second does no harm.
	requestsPerSecond = 20
	requestsBurst     = 40
)

type limiterKey struct{}

func withLimiter(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, limiterKey{}, rate.NewLimiter(requestsPerSecond, requestsBurst))
}

// guard lets through what may come in. Nothing of a request is read before that but its headers.
func (d *Door) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		if status, why := d.refusal(r); status != 0 {
			if status == http.StatusUnauthorized {
				h.Set("WWW-Authenticate", `Bearer realm="handout"`)
			}
			if status == http.StatusTooManyRequests {
				h.Set("Retry-After", "1")
			}
			h.Set("Connection", "close") // whoever is refused here has no business with the door
			refuse(w, status, why)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// refusal is why a request is not let in; 0: it is.
func (d *Door) refusal(r *http.Request) (status int, why string) {
	if !d.place.isHost(r.Host) {
		return http.StatusMisdirectedRequest, fmt.Sprintf("%q is not a name of this door", r.Host)
	}
	if o := r.Header.Get("Origin"); o != "" && o != "http://"+r.Host {
		return http.StatusForbidden, "pages of other sites have no access"
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return http.StatusForbidden, "pages of other sites have no access"
	}
	if t := d.place.token; t != "" {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(given), []byte(t)) != 1 {
			return http.StatusUnauthorized, "the token is missing or wrong: it lies in " + d.place.tokenFile
		}
	}
	if l, ok := r.Context().Value(limiterKey{}).(*rate.Limiter); ok && !l.Allow() {
		return http.StatusTooManyRequests, fmt.Sprintf("more than %d requests a second", requestsPerSecond)
	}
	return 0, ""
}

// route is what can be done at one path.
type route struct {
	get, post http.HandlerFunc // nil: can't be done
}

func (o route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case o.get != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		o.get(w, r)
	case o.post != nil && r.Method == http.MethodPost:
		o.post(w, r)
	default:
		allow := "POST"
		if o.get != nil {
			allow = "GET, HEAD"
		}
		w.Header().Set("Allow", allow)
		refuse(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s is for %s", r.URL.Path, allow))
	}
}

// take reads the one JSON object of a request into a T. It answers itself, and returns false, where there is none.
func take[T any](w http.ResponseWriter, r *http.Request) (v T, ok bool) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		// A page of another site can send forms without asking (CORS), JSON it can't.
		refuse(w, http.StatusUnsupportedMediaType, "Content-Type must be application/json")
		return v, false
	}
	err := decode(r.Body, &v)
	switch tooLarge, isTooLarge := errors.AsType[*http.MaxBytesError](err); {
	case isTooLarge:
		refuse(w, http.StatusRequestEntityTooLarge, "more than "+amount.Bytes(tooLarge.Limit))
		return v, false
	case err != nil:
		refuse(w, http.StatusBadRequest, "the body is not what is expected here: "+err.Error())
		return v, false
	}
	return v, true
}

var errMore = errors.New("more than one value")

// decode reads one JSON value, all of whose fields are known, and nothing after it.
func decode(from io.Reader, v any) error {
	dec := json.NewDecoder(from)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	switch _, err := dec.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return errMore
	default:
		return err
	}
}

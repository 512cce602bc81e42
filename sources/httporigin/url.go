package httporigin

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
)

// parseBase checks the URL of an origin.
func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's error repeats the URL, which may hold a password.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("origin URL: %w", err)
	}
	if u.User != nil {
		return nil, fmt.Errorf("origin %s: credentials in a URL end up in logs: put them in the configuration or the environment", display(u))
	}
	if err := checkURL(u); err != nil {
		return nil, fmt.Errorf("origin %s: %w", display(u), err)
	}
	if u.Fragment != "" {
		return nil, fmt.Errorf("origin %s: a # in a URL must be written %%23", display(u))
	}
	return u, nil
}

// checkURL holds for an origin's own URL and for every redirect.
func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("scheme %q is not http or https", u.Scheme)
	case u.Hostname() == "":
		return errors.New("no host")
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r > 0x7e }):
		return errors.New("write an international host name in its xn-- form")
	}
	return nil
}

// display is u for people: without what may be secret.
func display(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// escape writes a checked path as it goes into a URL: what is no separator and not unreserved as
// %XX.
func escape(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	if !fs.ValidPath(path) || path == "." {
		return "", fmt.Errorf("%q is not a path within an origin", path)
	}
	if plain(path) {
		return path, nil
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(path)+32)
	for i := range len(path) {
		if c := path[i]; unreserved(c) || c == '/' {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b), nil
}

// plain reports whether a path needs no escaping, as most don't.
func plain(path string) bool {
	for i := range len(path) {
		if c := path[i]; !unreserved(c) && c != '/' {
			return false
		}
	}
	return true
}

// unreserved are the characters that mean themselves everywhere in a URL (RFC 3986 section 2.3). The others that a path may
// hold unescaped mean something else to some servers: + a space, ; the beginning of parameters.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_' || c == '~'
}

// locate is the URL of the file at path (escaped: esc) below base. base keeps its query.
func locate(base *url.URL, path, esc string) *url.URL {
	u := *base
	if path == "" {
		return &u
	}
	raw := strings.TrimSuffix(base.EscapedPath(), "/") + "/" + esc
	u.Path = strings.TrimSuffix(base.Path, "/") + "/" + path
	u.RawPath = ""
	if raw != u.Path {
		u.RawPath = raw
	}
	return &u
}

// baseOf undoes locate: what base would be for the file at esc to be at u; nil where there is none.
func baseOf(u *url.URL, esc string) *url.URL {
	raw := u.EscapedPath()
	if esc != "" {
		var ok bool
		if raw, ok = strings.CutSuffix(raw, "/"+esc); !ok {
			return nil
		}
	}
	path, err := url.PathUnescape(raw)
	if err != nil {
		return nil
	}
	b := *u
	b.Path, b.RawPath = path, raw
	return &b
}

// endpoint is what one connection can be made to: scheme, host and port.
func endpoint(u *url.URL) string {
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port(u)
}

func sameEndpoint(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

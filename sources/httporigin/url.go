package httporigin

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"handout/manifest"
)

// parseBase checks the URL of an origin. A user and a password in it are returned beside it.
func parseBase(raw string) (*url.URL, *url.Userinfo, error) {
	u, err := manifest.ParseURL(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", manifest.Shown(raw), err)
	}
	if err := checkURL(u); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", display(u), err)
	}
	if u.Fragment != "" {
		return nil, nil, fmt.Errorf("%s: a # in a URL must be written %%23", display(u))
	}
	login := u.User
	u.User = nil
	return u, login, nil
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
func display(u *url.URL) string { return manifest.Shown(u.String()) }

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

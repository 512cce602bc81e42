package manifest

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// errNotURL says nothing of the text: what the parser stumbled at may be part of a password.
var errNotURL = errors.New("not a URL (in a user's name or password / ? # @ and : are written %2F %3F %23 %40 and %3A)")

// ParseURL parses a URL that may hold secrets: its error quotes nothing of it.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errNotURL
	}
	return u, nil
}

// Shown is a location, be it a URL, a share or a path, for people, logs and programs: without what may be secret, which is
// a user with a password, a query (a signed URL's key stands there) and a fragment. Whatever shows a location that a person
// or a config gave, or a server named, shows this.
func Shown(location string) string {
	if strings.HasPrefix(location, `\\`) {
		return location
	}
	scheme, rest, isURL := strings.Cut(location, "://")
	if !isURL || strings.ContainsAny(scheme, `/\?@# `) {
		return shownPath(location)
	}
	place, tail, _ := cutAny(rest, "?#")
	authority, path, slash := strings.Cut(place, "/")
	switch at := strings.LastIndexByte(authority, '@'); {
	case at >= 0:
		authority = authority[at+1:]
	case !slash && strings.Contains(tail, "@"), !isHost(authority) && strings.Contains(rest, "@"):
		return scheme + "://…" // a / ? or # within a password: nothing of it is certain to be the host
	}
	if slash {
		path = "/" + path
	}
	return scheme + "://" + authority + path
}

// shownPath is Shown for what has no scheme: a path, or a URL somebody forgot the scheme of.
func shownPath(s string) string {
	place, tail, cut := cutAny(s, "?")
	if cut && !strings.Contains(tail, "=") && !mistyped.MatchString(s) {
		place = s // a file's name
	}
	if m := login.FindStringSubmatch(place); m != nil {
		place = m[1] + m[2]
	}
	return place
}

var (
	mistyped = regexp.MustCompile(`^(?i:https?|smb):`)
	login    = regexp.MustCompile(`^((?i:https?:|smb:)?/?)[^/\\@]*:[^/\\@]*@(.*)$`)
	port     = regexp.MustCompile(`^[^:]*(:[0-9]*)?$|^\[[^\]]*\](:[0-9]*)?$`)
)

// isHost reports whether s may be a host and a port, and no user and password.
func isHost(s string) bool { return port.MatchString(s) }

func cutAny(s, chars string) (before, after string, found bool) {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// urlIn matches a URL in a text: up to the quotation mark that ends it where one begins it, or to the next space.
var urlIn = regexp.MustCompile(`"[A-Za-z][A-Za-z0-9+.-]*://[^"\s]*"|[A-Za-z][A-Za-z0-9+.-]*://\S+`)

// ShownIn is a text, such as an error of a library, with every URL in it as Shown.
func ShownIn(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	return urlIn.ReplaceAllStringFunc(text, func(u string) string {
		if inner, ok := strings.CutPrefix(u, `"`); ok {
			return `"` + Shown(strings.TrimSuffix(inner, `"`)) + `"`
		}
		bare := strings.TrimRight(u, `.,:;!)]}'"`)
		return Shown(bare) + u[len(bare):]
	})
}

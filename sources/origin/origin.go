// Package origin opens the origin that a URL names, whichever kind it is.
package origin

import (
	"fmt"
	"net/url"
	"strings"

	"handout/sources"
	"handout/sources/fileorigin"
	"handout/sources/httporigin"
)

// Options are what the machine's configuration says about its origins.
type Options struct {
	HTTP httporigin.Options // the credentials in it must be those for this URL's scheme and host
}

// Open prepares to read from the origin at location: an http or https URL, a file URL, or a path as the system writes
// it. Nothing is connected to yet.
func Open(location string, o Options) (sources.Origin, error) {
	switch scheme := schemeOf(location); scheme {
	case "http", "https":
		return httporigin.Open(location, o.HTTP)
	case "", "file":
		return fileorigin.Open(location)
	default:
		shown := location
		if u, err := url.Parse(location); err == nil {
			u.User, u.RawQuery = nil, ""
			shown = u.String()
		}
		return nil, fmt.Errorf("origin %s: %s is not among the schemes known here: http, https, file, or a plain path", shown, scheme)
	}
}

// schemeOf is location's scheme in lower case; "" for a path, those with a drive letter included.
func schemeOf(location string) string {
	scheme, _, ok := strings.Cut(location, ":")
	if !ok || len(scheme) < 2 || strings.Trim(strings.ToLower(scheme), "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return ""
	}
	if scheme = strings.ToLower(scheme); scheme != "file" && !strings.HasPrefix(location[len(scheme):], "://") {
		return "" // a file name with a colon
	}
	return scheme
}

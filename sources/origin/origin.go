// Package origin opens the origin that a URL names, whichever kind it is.
package origin

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime"
	"strings"

	"handout/sources"
	"handout/sources/fileorigin"
	"handout/sources/httporigin"
	"handout/sources/smborigin"
)

// Options are what the machine's configuration says about its origins.
type Options struct {
	HTTP     httporigin.Options // the credentials in it must be those for this URL's scheme and host
	SMB      smborigin.Options  // its credentials are not used: Accounts are
	Accounts smborigin.Accounts // who this machine is on servers with shares
}

// Open prepares to read from the origin at location: an http, https or smb URL, a file URL, or a path as the system
// writes it. Nothing is connected to yet.
//
// A share, smb://server/share/path or \\server\share\path, is read by the system's own client on Windows, as the user or
// the computer this process runs as, unless an account or a port is given for it; elsewhere by smborigin.
func Open(location string, o Options) (sources.Origin, error) {
	if IsShare(location) {
		at, options, err := share(location, o)
		if err != nil {
			return nil, err
		}
		if bySystem(at, options) {
			return fileorigin.Open(at.UNC())
		}
		return smborigin.Open(location, options)
	}
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
		return nil, fmt.Errorf("origin %s: %s is not among the schemes known here: http, https, smb, file, or a plain path", shown, scheme)
	}
}

// IsShare reports whether location names something on an SMB share.
func IsShare(location string) bool {
	return schemeOf(location) == "smb" || smborigin.IsUNC(location)
}

// ReadShared reads all of the file at location, which IsShare, if it has no more than limit bytes; else one byte more
// than that.
func ReadShared(ctx context.Context, location string, limit int64, o Options) ([]byte, error) {
	at, options, err := share(location, o)
	if err != nil {
		return nil, err
	}
	if bySystem(at, options) {
		return readLocal(at.UNC(), limit)
	}
	s, err := smborigin.Open(location, options)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.ReadFile(ctx, limit)
}

func readLocal(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// share takes a location apart and finds who this machine is there.
func share(location string, o Options) (smborigin.Location, smborigin.Options, error) {
	at, err := smborigin.Parse(location)
	o.SMB.Credentials = o.Accounts.For(at)
	return at, o.SMB, err
}

// bySystem reports whether the system's own client reads a share: it has Kerberos, DFS and more than one channel.
func bySystem(at smborigin.Location, o smborigin.Options) bool {
	return runtime.GOOS == "windows" && at.User == "" && at.Port == 0 && o.Credentials.Guest()
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

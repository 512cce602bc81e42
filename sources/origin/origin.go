// Package origin opens the origin that a URL names, whichever kind it is.
package origin

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"

	"handout/manifest"
	"handout/sources"
	"handout/sources/dial"
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

// Remember has all that is opened with o remember together which of a server's addresses answer, so that a dead one costs
// its delay once.
func (o *Options) Remember() {
	d := new(dial.Dialer)
	if o.HTTP.Dial == nil {
		o.HTTP.Dial = d.Context
	}
	if o.SMB.Dial == nil {
		o.SMB.Dial = d.Context
	}
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
		return nil, unknownScheme(location, scheme)
	}
}

// IsShare reports whether location names something on an SMB share.
func IsShare(location string) bool {
	return schemeOf(location) == "smb" || smborigin.IsUNC(location)
}

// ReadFile reads all of the file at location if it has no more than limit bytes; else one byte more than that. The first
// bytes, head of them where there are as many, are shown to look before the rest is read: an error of look ends the reading
// and is returned as it is. What a server does comes in a *sources.ReadError, what the system does in an *fs.PathError.
func ReadFile(ctx context.Context, location string, limit int64, head int, look func(head []byte) error, o Options) ([]byte, error) {
	switch scheme := schemeOf(location); {
	case IsShare(location):
		at, options, err := share(location, o)
		if err != nil {
			return nil, err
		}
		if bySystem(at, options) {
			return readLocal(at.UNC(), limit, head, look)
		}
		s, err := smborigin.Open(location, options)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		return s.ReadFile(ctx, limit, head, look)
	case scheme == "http", scheme == "https":
		h, err := httporigin.Open(location, o.HTTP)
		if err != nil {
			return nil, err
		}
		defer h.Close()
		return h.ReadFile(ctx, limit, head, look)
	case scheme == "":
		return readLocal(location, limit, head, look)
	case scheme == "file":
		path, err := fileorigin.PathOf(location)
		if err != nil {
			return nil, err
		}
		return readLocal(path, limit, head, look)
	default:
		return nil, unknownScheme(location, scheme)
	}
}

func unknownScheme(location, scheme string) error {
	return fmt.Errorf("%s: %s is not among the schemes known here: http, https, smb, file, or a plain path", manifest.Shown(location), scheme)
}

func readLocal(path string, limit int64, head int, look func(head []byte) error) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: syscall.EISDIR} // as Windows would not say
	}
	raw := make([]byte, head)
	n, err := io.ReadFull(f, raw)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	if err := look(raw[:n]); err != nil {
		return nil, err
	}
	rest, err := io.ReadAll(io.LimitReader(f, limit+1-int64(n)))
	return append(raw[:n], rest...), err
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

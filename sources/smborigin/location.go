package smborigin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"handout/manifest"
)

// Location is a tree or a file on a share, and as whom it is to be read.
type Location struct {
	Domain, User string // "": as the machine's configuration says
	Host         string // a name or an address, without brackets
	Port         uint16 // 0: 445
	Share        string
	Path         string // slash-separated, below the share; "": all of it
}

// IsUNC reports whether s has the form \\server\share, which on Windows the system itself can open.
func IsUNC(s string) bool {
	return strings.HasPrefix(s, `\\`) && !strings.HasPrefix(s, `\\?`) && !strings.HasPrefix(s, `\\.`)
}

// Parse reads smb://[domain;][user@]server[:port]/share/path and \\server\share\path. A password is refused.
func Parse(s string) (Location, error) {
	var l Location
	var err error
	if IsUNC(s) {
		host, rest, _ := strings.Cut(s[2:], `\`)
		l.Host = host
		err = l.setPath(strings.ReplaceAll(rest, `\`, "/"))
	} else {
		l, err = parseURL(s)
	}
	if err != nil {
		return l, fmt.Errorf("origin %s: %w", manifest.Shown(s), err)
	}
	if err := checkHost(l.Host); err != nil {
		return l, fmt.Errorf("origin %s: %w", manifest.Shown(s), err)
	}
	return l, nil
}

var errPassword = errors.New("a password in a URL ends up in logs: put it in the configuration, the environment or a credentials file")

const hostChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

func checkHost(host string) error {
	if host == "" {
		return errors.New("no server in it")
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" || strings.Trim(host, hostChars) == "" {
		return nil
	}
	return errors.New("its server is neither a name (an international one in its xn-- form) nor an address")
}

func parseURL(s string) (l Location, err error) {
	u, err := manifest.ParseURL(s)
	if err != nil {
		return l, err
	}
	if _, ok := u.User.Password(); ok {
		return l, errPassword
	}
	switch {
	case u.Scheme != "smb":
		return l, fmt.Errorf("scheme %q is not smb", u.Scheme)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return l, errors.New("a ? in a path must be written %3F and a # %23")
	}
	if l.User = u.User.Username(); l.User != "" {
		if domain, user, ok := strings.Cut(l.User, ";"); ok {
			l.Domain, l.User = domain, user
		}
		switch name := l.Domain + l.User; {
		case l.User == "":
			return l, errors.New("a domain and no user")
		case strings.ContainsRune(name, ':'):
			return l, errPassword // written %3A
		case strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name):
			return l, errors.New("a user's name that is no text")
		}
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return l, fmt.Errorf("port %q is not a number from 1 to 65535", p)
		}
		l.Port = uint16(n)
	}
	l.Host = u.Hostname()
	if strings.Contains(u.Path, `\`) {
		return l, errors.New(`a \ in the path: separate with /`)
	}
	return l, l.setPath(strings.TrimPrefix(u.Path, "/"))
}

// setPath takes share/path apart.
func (l *Location) setPath(s string) error {
	l.Share, l.Path, _ = strings.Cut(strings.TrimRight(s, "/"), "/")
	if l.Share == "" {
		return errors.New("no share in it: server/share/path is needed")
	}
	for part := range strings.SplitSeq(l.Path, "/") {
		if part == "." || part == ".." || part == "" && l.Path != "" {
			return errors.New("a path with an empty part, . or .. in it")
		}
	}
	if strings.ContainsRune(s, 0) || !utf8.ValidString(s) {
		return errors.New("a path with a zero byte in it, or not in UTF-8")
	}
	return nil
}

// String is the location as a URL, for people: without the user.
func (l Location) String() string {
	host := l.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if l.Port != 0 {
		host += ":" + strconv.Itoa(int(l.Port))
	}
	path := "/" + l.Share
	if l.Path != "" {
		path += "/" + l.Path
	}
	return (&url.URL{Scheme: "smb", Host: host, Path: path}).String()
}

// UNC is the location as Windows writes it, which has no place for a user or a port.
func (l Location) UNC() string {
	host := l.Host
	if strings.Contains(host, ":") {
		host = strings.ReplaceAll(host, ":", "-") + ".ipv6-literal.net" // a : would be no part of a path
	}
	unc := `\\` + host + `\` + l.Share
	if l.Path != "" {
		unc += `\` + strings.ReplaceAll(l.Path, "/", `\`)
	}
	return unc
}

// address is what is dialled.
func (l Location) address() string {
	port := uint16(445)
	if l.Port != 0 {
		port = l.Port
	}
	return net.JoinHostPort(l.Host, strconv.Itoa(int(port)))
}

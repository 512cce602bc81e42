package smborigin

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// Credentials are for NTLM, or for Kerberos. The zero value is a guest.
type Credentials struct {
	Domain   string // "": the server's own accounts, or its domain's; of Kerberos the realm
	User     string
	Password string

	Kerberos *Kerberos // nil: NTLM

	unproven bool // a URL says who, and nobody how to prove it
}

// Guest reports whether nobody in particular is meant.
func (c Credentials) Guest() bool { return c.User == "" && c.Kerberos == nil }

// Optional reports whether a guest will do where these come to nothing.
func (c Credentials) Optional() bool { return c.Guest() || c.Kerberos != nil && c.Kerberos.orGuest }

// String names them, without the password.
func (c Credentials) String() string {
	switch {
	case c.Kerberos != nil:
		return cmp.Or(c.Kerberos.principal, "nobody")
	case c.User == "":
		return "guest"
	case c.Domain != "":
		return c.Domain + `\` + c.User
	}
	return c.User
}

// GoString keeps the password out of %#v too.
func (c Credentials) GoString() string { return c.String() }

// are reports whether c is that user. A domain that either side leaves open is no difference, nor is it whether a realm
// is written out or as its first part, which is what most domains are called.
func (c Credentials) are(domain, user string) bool {
	short, _, _ := strings.Cut(c.Domain, ".")
	return strings.EqualFold(c.User, user) && (domain == "" || c.Domain == "" || strings.EqualFold(c.Domain, domain) ||
		c.Kerberos != nil && strings.EqualFold(short, domain))
}

// ParseUser reads DOMAIN\user, DOMAIN;user and user.
func ParseUser(s string) (domain, user string) {
	if i := strings.IndexAny(s, `\;`); i >= 0 {
		return s[:i], s[i+1:]
	}
	return "", s
}

// ParseCredentials reads a file as smbclient -A and mount.cifs know it: lines "username = …", "password = …" and
// "domain = …"; # begins a comment line. A password is taken as it is after the = and one space, other blanks included.
func ParseCredentials(text string) (Credentials, error) {
	var c Credentials
	for n, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if t := strings.TrimSpace(line); t == "" || t[0] == '#' || t[0] == ';' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return c, fmt.Errorf("line %d has no =", n+1) // not shown: it may be a password
		}
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "username", "user":
			domain, user := ParseUser(strings.TrimSpace(value))
			if c.User = user; domain != "" {
				c.Domain = domain
			}
		case "password":
			c.Password = strings.TrimPrefix(value, " ")
		case "domain", "workgroup", "dom":
			c.Domain = strings.TrimSpace(value)
		default:
			return c, fmt.Errorf("line %d is neither username, password nor domain", n+1)
		}
	}
	if c.User == "" {
		return c, errors.New("no username in it")
	}
	return c, nil
}

// Account is who this machine is on a server.
type Account struct {
	Server string // as URLs name it; "": any
	Credentials
}

// Accounts are looked through in order.
type Accounts []Account

// For returns the credentials for a location: of the first account that is for its server and, where it names a user,
// that user's. The zero value: there is none.
func (a Accounts) For(at Location) Credentials {
	for _, account := range a {
		if (account.Server == "" || strings.EqualFold(account.Server, at.Host)) && (at.User == "" || account.are(at.Domain, at.User)) {
			return account.Credentials
		}
	}
	return Credentials{}
}

package smborigin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/sync/singleflight"

	"handout/sources"
)

// KerberosFiles are what an identity proves itself with (RFC 4120): the keys it had from its KDC, or tickets that
// somebody else fetched for it. Where both are given the tickets come first, while they last.
type KerberosFiles struct {
	Keytab    string // "" or a file with the principal's keys, which are good until its password changes
	Cache     string // "" or a credential cache, PATH or FILE:PATH, which somebody else keeps fresh (kinit, k5start, sssd)
	Config    string // the krb5.conf; "": what $KRB5_CONFIG or the system has, or else nothing but DNS
	Principal string // user or user@REALM; "": the cache's own, or else the first in the keytab
}

// Kerberos is an identity that servers know by tickets. Its files are read whenever a ticket is needed, and so may be
// renewed under us; tickets are kept for the next connection and fetched anew in time. Methods may be called
// concurrently.
type Kerberos struct {
	files     KerberosFiles
	principal string // name@REALM; "": unknown, and why says the reason
	why       error
	orGuest   bool // where it comes to nothing, we are a guest

	asking singleflight.Group // for tickets, by service
	mu     sync.Mutex
	have   map[string]ticket // by service
}

// ticket proves who we are to one service.
type ticket struct {
	messages.Ticket
	key        types.EncryptionKey
	client     *credentials.Credentials
	begin, end time.Time
}

// fresh reports whether a connection that begins now should use t: the last sixth of its time is for getting another.
func (t ticket) fresh(now time.Time) bool { return now.Before(t.end.Add(-t.end.Sub(t.begin) / 6)) }

// errNoTicket marks that the server was not asked, since there was no ticket to show.
var errNoTicket = errors.New("no Kerberos ticket")

// Credentials are those of the identity the files are for, which must be there to tell.
func (f KerberosFiles) Credentials() (Credentials, error) {
	k := newKerberos(f, false)
	return k.credentials(), k.why
}

// KerberosFromEnvironment returns who we are by the variables that Kerberos programs obey: KRB5CCNAME (unset: the file
// where kinit puts tickets, if it is there) and KRB5_CLIENT_KTNAME or KRB5_KTNAME. Nobody asked for this in so many
// words, so a server that doesn't have it has a guest instead. ok says whether there is anything of the kind. On
// Windows the system's own client does all this better.
func KerberosFromEnvironment(look func(string) string) (c Credentials, ok bool) {
	f := KerberosFiles{Cache: look("KRB5CCNAME"), Keytab: look("KRB5_CLIENT_KTNAME")}
	if f.Keytab == "" {
		f.Keytab = look("KRB5_KTNAME")
	}
	if f.Cache == "" {
		usual := fmt.Sprintf("/tmp/krb5cc_%d", os.Getuid())
		if _, err := os.Stat(usual); err == nil {
			f.Cache = usual
		}
	}
	if runtime.GOOS == "windows" || f == (KerberosFiles{}) {
		return Credentials{}, false
	}
	return newKerberos(f, true).credentials(), true
}

func newKerberos(f KerberosFiles, orGuest bool) *Kerberos {
	k := &Kerberos{files: f, orGuest: orGuest, have: map[string]ticket{}}
	k.files.Keytab = strings.TrimPrefix(strings.TrimPrefix(f.Keytab, "FILE:"), "WRFILE:")
	k.files.Cache = strings.TrimPrefix(f.Cache, "FILE:")
	k.principal, k.why = k.identify()
	return k
}

func (k *Kerberos) credentials() Credentials {
	name, realm := splitPrincipal(k.principal)
	return Credentials{User: name, Domain: realm, Kerberos: k}
}

func splitPrincipal(p string) (name, realm string) {
	at := strings.LastIndexByte(p, '@')
	if at < 0 {
		return p, ""
	}
	return p[:at], p[at+1:]
}

// identify finds out whose the files are.
func (k *Kerberos) identify() (string, error) {
	conf, err := k.config()
	if err != nil {
		return "", err
	}
	p := k.files.Principal
	if p == "" && k.files.Cache != "" {
		c, err := loadCache(k.files.Cache)
		if err == nil {
			p = c.DefaultPrincipal.PrincipalName.PrincipalNameString() + "@" + c.DefaultPrincipal.Realm
		} else if k.files.Keytab == "" {
			return "", err
		}
	}
	if p == "" {
		kt, err := loadKeytab(k.files.Keytab)
		if err != nil {
			return "", err
		}
		if len(kt.Entries) == 0 {
			return "", fmt.Errorf("the keytab %s has no keys", k.files.Keytab)
		}
		first := kt.Entries[0].Principal
		p = strings.Join(first.Components, "/") + "@" + first.Realm
	}
	switch name, realm := splitPrincipal(p); {
	case name == "":
		return "", fmt.Errorf("%q is no principal: user@REALM is needed", p)
	case realm == "" && conf.LibDefaults.DefaultRealm == "":
		return "", fmt.Errorf("the principal %s names no realm, and krb5.conf has no default_realm", p)
	case realm == "":
		p = name + "@" + conf.LibDefaults.DefaultRealm
	}
	return p, nil
}

// asOthers is what MIT's library takes for granted and this one doesn't: KDCs are found by DNS, and the encryption of
// RFC 8009 is known. What a file says comes after it, and counts.
const asOthers = `[libdefaults]
dns_lookup_kdc = true
default_tkt_enctypes = aes256-cts-hmac-sha1-96 aes128-cts-hmac-sha1-96 aes256-cts-hmac-sha384-192 aes128-cts-hmac-sha256-128 arcfour-hmac-md5
default_tgs_enctypes = aes256-cts-hmac-sha1-96 aes128-cts-hmac-sha1-96 aes256-cts-hmac-sha384-192 aes128-cts-hmac-sha256-128 arcfour-hmac-md5
[handout]
`

// config reads the krb5.conf. Files that it includes are passed over.
func (k *Kerberos) config() (*config.Config, error) {
	file, asked := k.files.Config, k.files.Config != ""
	if !asked {
		file, asked = os.LookupEnv("KRB5_CONFIG")
		file, _, _ = strings.Cut(file, string(os.PathListSeparator))
	}
	if file == "" {
		file = "/etc/krb5.conf"
	}
	text, err := os.ReadFile(file)
	if err != nil && (asked || !errors.Is(err, os.ErrNotExist)) {
		return nil, fmt.Errorf("read the Kerberos configuration: %w", err)
	}
	conf, err := config.NewFromString(asOthers + string(text))
	if conf == nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return conf, nil // an error tells of directives that are not understood
}

func loadKeytab(file string) (kt *keytab.Keytab, err error) {
	defer unreadable(&err, "keytab", file)
	return keytab.Load(file)
}

func loadCache(file string) (c *credentials.CCache, err error) {
	if kind, _, ok := strings.Cut(file, ":"); ok && strings.ToUpper(kind) == kind && len(kind) > 1 {
		return nil, fmt.Errorf("the credential cache %s is no file: kinit -c FILE makes one, and KRB5CCNAME names it", file)
	}
	defer unreadable(&err, "credential cache", file)
	return credentials.LoadCCache(file)
}

// unreadable words the error of reading a file, and makes one where its reader stumbled over what is in it.
func unreadable(err *error, what, file string) {
	if r := recover(); r != nil {
		*err = errors.New("it is damaged, or something else")
	}
	if *err != nil {
		*err = fmt.Errorf("read the %s %s: %w", what, file, *err)
	}
}

// ticket returns one for the service, which may take asking a KDC. The library that asks knows no contexts; it gives up
// by itself after some seconds, also if nobody waits for it any more.
func (k *Kerberos) ticket(ctx context.Context, service string) (ticket, error) {
	if k.why != nil {
		return ticket{}, fmt.Errorf("%w: %w: %w", sources.ErrDenied, errNoTicket, k.why)
	}
	k.mu.Lock()
	t, ok := k.have[service]
	k.mu.Unlock()
	if ok && t.fresh(time.Now()) {
		return t, nil
	}
	asked := k.asking.DoChan(service, func() (any, error) {
		t, err := k.fetch(service)
		if err == nil {
			k.mu.Lock()
			k.have[service] = t
			k.mu.Unlock()
		}
		return t, err
	})
	select {
	case r := <-asked:
		return r.Val.(ticket), r.Err
	case <-ctx.Done():
		return ticket{}, context.Cause(ctx)
	}
}

// forget drops a ticket that the server didn't take: the next is made with the key it has now.
func (k *Kerberos) forget(service string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.have, service)
}

// fetch gets a ticket from the cache, or from the KDC by what the cache or the keytab has.
func (k *Kerberos) fetch(service string) (ticket, error) {
	conf, err := k.config()
	if err != nil {
		return ticket{}, k.failed(err, service)
	}
	name, realm := splitPrincipal(k.principal)
	cl := client.NewWithPassword(name, realm, "", conf, client.DisablePAFXFAST(true)) // AD doesn't answer to it
	who := *cl.Credentials
	defer cl.Destroy()
	var granting ticket
	err = errors.New("neither keytab nor credential cache")
	if k.files.Cache != "" {
		granting, err = k.fromCache(service)
	}
	if err != nil && k.files.Keytab != "" {
		granting, err = k.fromKeytab(cl, conf)
	}
	if err != nil {
		return ticket{}, k.failed(err, service)
	}
	granting.client = &who
	if granting.SName.PrincipalNameString() == service {
		return granting, nil
	}
	_, got, err := cl.TGSREQGenerateAndExchange(types.NewPrincipalName(nametype.KRB_NT_SRV_INST, service), realm, granting.Ticket, granting.key, false)
	if err != nil {
		return ticket{}, k.failed(err, service)
	}
	part := got.DecryptedEncPart
	return ticket{got.Ticket, part.Key, &who, begun(part), part.EndTime}, nil
}

func begun(p messages.EncKDCRepPart) time.Time {
	if p.StartTime.IsZero() {
		return p.AuthTime
	}
	return p.StartTime
}

// fromCache returns the ticket for the service that is in the cache, or else the one by which it can be had.
func (k *Kerberos) fromCache(service string) (t ticket, err error) {
	c, err := loadCache(k.files.Cache)
	if err != nil {
		return t, err
	}
	defer unreadable(&err, "credential cache", k.files.Cache)
	name, realm := splitPrincipal(k.principal)
	if p := c.DefaultPrincipal; p.Realm != realm || p.PrincipalName.PrincipalNameString() != name {
		return t, fmt.Errorf("its tickets are those of %s@%s, not %s", p.PrincipalName.PrincipalNameString(), p.Realm, k.principal)
	}
	now := time.Now()
	var over time.Time
	for _, wanted := range []string{service, "krbtgt/" + realm} {
		for _, e := range c.GetEntries() {
			if e.Server.PrincipalName.PrincipalNameString() != wanted {
				continue
			}
			if !now.Before(e.EndTime) {
				over = e.EndTime
				continue
			}
			t = ticket{key: e.Key, begin: e.StartTime, end: e.EndTime}
			return t, t.Unmarshal(e.Ticket)
		}
	}
	if !over.IsZero() {
		return t, fmt.Errorf("its ticket expired at %s: get a new one with kinit", over.Local().Format(time.DateTime))
	}
	return t, errors.New("there is no ticket in it by which others can be had: get one with kinit")
}

// fromKeytab has the KDC grant a ticket by which others can be had.
func (k *Kerberos) fromKeytab(cl *client.Client, conf *config.Config) (ticket, error) {
	kt, err := loadKeytab(k.files.Keytab)
	if err != nil {
		return ticket{}, err
	}
	cl.Credentials.WithKeytab(kt)
	request, err := messages.NewASReqForTGT(cl.Credentials.Domain(), conf, cl.Credentials.CName())
	if err != nil {
		return ticket{}, err
	}
	got, err := cl.ASExchange(cl.Credentials.Domain(), request, 0)
	if err != nil {
		return ticket{}, err
	}
	return ticket{got.Ticket, got.DecryptedEncPart.Key, nil, begun(got.DecryptedEncPart), got.DecryptedEncPart.EndTime}, nil
}

// kdcCode finds the number of an error (RFC 4120 7.5.9) in what the library makes of it, which is text.
var kdcCode = regexp.MustCompile(`KRB Error: \((\d+)\)`)

// failed is in plain words why there is no ticket for the service.
func (k *Kerberos) failed(err error, service string) error {
	_, realm := splitPrincipal(k.principal)
	code := ""
	if m := kdcCode.FindStringSubmatch(err.Error()); m != nil {
		code = m[1]
	}
	refused := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w: "+format, append([]any{sources.ErrDenied, errNoTicket}, args...)...)
	}
	switch {
	case code == "6":
		return refused("the KDC knows no %s", k.principal)
	case code == "7":
		return refused("the KDC of %s knows no service %s: name the server as Kerberos knows it, by its full name", realm, service)
	case code == "12", code == "18":
		return refused("the account %s is disabled, expired or locked out, or may not do this", k.principal)
	case code == "23":
		return refused("the password of %s has expired", k.principal)
	case code == "24", code == "31", strings.Contains(err.Error(), "client password/keytab incorrect"):
		return fmt.Errorf("%w: %w: the KDC does not take the key of %s in %s: its password has changed since, a new keytab is needed",
			sources.ErrDenied, errLogon, k.principal, k.files.Keytab)
	case code == "14":
		return refused("the KDC of %s and the keys of %s have no encryption in common", realm, k.principal)
	case code == "37", code == "11", strings.Contains(err.Error(), "clock skew"):
		return refused("the clock of this machine (%s) and that of the KDC differ by minutes: set it right", time.Now().Format(time.DateTime))
	case code == "32":
		return refused("the ticket of %s has expired: get a new one with kinit", k.principal)
	case strings.Contains(err.Error(), "matching key not found"), strings.Contains(err.Error(), "error getting key from credentials"):
		return refused("the keytab %s has no key for %s that the KDC would take", k.files.Keytab, k.principal)
	case strings.Contains(err.Error(), "KDCs"), strings.Contains(err.Error(), "no such host"):
		return refused("no KDC of %s is known: neither krb5.conf nor DNS names one", realm)
	case code == "" && strings.Contains(err.Error(), "Networking_Error"):
		return notNow("%w: no KDC of %s answers", errNoTicket, realm)
	}
	return refused("%w", err)
}

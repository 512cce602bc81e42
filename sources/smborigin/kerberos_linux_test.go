package smborigin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"handout/sources"
	"handout/sources/sourcetest"
)

// realm starts a KDC that knows user, and whose keytab this is.
func realm(t *testing.T) (k *sourcetest.KDC, keytab string) {
	t.Helper()
	dir := scratch(t)
	k = &sourcetest.KDC{Dir: dir}
	if err := k.Start(); errors.Is(err, sourcetest.ErrNoKDC) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Stop)
	keytab = filepath.Join(dir, "user.keytab")
	if err := k.Keytab(keytab, user); err != nil {
		t.Fatal(err)
	}
	return k, keytab
}

// identity is who the files are for.
func identity(t *testing.T, f KerberosFiles) Options {
	t.Helper()
	c, err := f.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Credentials: c}
}

// kerberosOnly serves files to those with a ticket.
func kerberosOnly(t *testing.T, k *sourcetest.KDC, files map[string][]byte, global string) *sourcetest.Samba {
	t.Helper()
	s, _ := serve(t, files, func(s *sourcetest.Samba) {
		s.Member, s.Global, s.Share, s.User = k, "ntlm auth = disabled\n"+global, "guest ok = no\n"+allNames, ""
	})
	return s
}

// The session's key comes from Kerberos: what is signed or encrypted with it shows that it is the right one.
func TestKerberosExam(t *testing.T) {
	k, keytab := realm(t)
	cache := filepath.Join(k.Dir, "cache")
	if err := k.Kinit(cache, keytab, user, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		files  KerberosFiles
		global string
	}{
		{"keytab", KerberosFiles{Keytab: keytab}, ""},
		{"cache, 3.1.1 signed", KerberosFiles{Cache: "FILE:" + cache}, "server signing = mandatory"},
		{"keytab, 3.1.1 encrypted", KerberosFiles{Keytab: "FILE:" + keytab, Principal: user}, "server smb encrypt = required"},
		{"keytab, 2.1 signed", KerberosFiles{Keytab: keytab}, "server max protocol = SMB2_10\nserver signing = mandatory"},
		{"cache, 3.0 encrypted", KerberosFiles{Cache: cache}, "server max protocol = SMB3_00\nserver smb encrypt = required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.files.Config = k.Config()
			options := identity(t, c.files)
			sourcetest.Run(t, func(t *testing.T, files map[string][]byte) sources.Origin {
				return open(t, kerberosOnly(t, k, files, c.global), options)
			})
		})
	}
}

// A KDC's log tells how often it was asked: one ticket serves all connections, and no session outlives its own.
func TestTicketsAreRenewed(t *testing.T) {
	k, keytab := realm(t)
	s := kerberosOnly(t, k, map[string][]byte{"f": noise(1000)}, "")
	options := identity(t, KerberosFiles{Keytab: keytab, Config: k.Config()})
	for range 3 {
		if err := open(t, s, options).ReadRange(t.Context(), "f", 0, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if n := issued(t, k); n != 1 {
		t.Errorf("%d tickets for three connections", n)
	}
	if err := k.Admin("modprinc", "-maxlife", "3 seconds", user); err != nil {
		t.Fatal(err)
	}
	o := open(t, s, identity(t, KerberosFiles{Keytab: keytab, Config: k.Config()}))
	begun, before := time.Now(), issued(t, k)
	for issued(t, k) < before+3 {
		if err := o.ReadRange(t.Context(), "f", 0, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if time.Since(begun) > time.Minute {
			t.Fatal("tickets of three seconds, and none is made anew")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// issued counts the tickets for a share's server that the KDC gave out.
func issued(t *testing.T, k *sourcetest.KDC) int {
	t.Helper()
	log, err := os.ReadFile(k.Log())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "ISSUE") && strings.Contains(line, "for cifs/") {
			n++
		}
	}
	return n
}

// What an admin has to put right, in words.
func TestKerberosFailures(t *testing.T) {
	k, keytab := realm(t)
	s := kerberosOnly(t, k, map[string][]byte{"f": noise(1000)}, "")
	dir := t.TempDir()
	read := func(f KerberosFiles, url string) error {
		t.Helper()
		if f.Config == "" {
			f.Config = k.Config()
		}
		c, err := f.Credentials()
		if err != nil {
			return err
		}
		o, err := Open(url, Options{Credentials: c})
		if err != nil {
			return err
		}
		defer o.Close()
		return o.ReadRange(t.Context(), "f", 0, make([]byte, 10))
	}
	says := func(what string, err error, words string, kind error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), words) || kind != nil && !errors.Is(err, kind) {
			t.Errorf("%s: %v, want %q", what, err, words)
		}
	}
	url := s.URL("pkg")
	right := KerberosFiles{Keytab: keytab}
	if err := read(right, url); err != nil {
		t.Fatal(err)
	}

	says("no keytab", read(KerberosFiles{Keytab: filepath.Join(dir, "absent")}, url), "no such file", nil)
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("\x05\x04\x00\x0cnot what it seems to be, at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	says("no real keytab", read(KerberosFiles{Keytab: text}, url), "read the keytab", nil)
	says("no real cache", read(KerberosFiles{Cache: text}, url), "read the credential cache", nil)
	says("a cache in the kernel", read(KerberosFiles{Cache: "KEYRING:persistent:0"}, url), "is no file: kinit -c", nil)
	says("no configuration", read(KerberosFiles{Keytab: keytab, Config: filepath.Join(dir, "absent")}, url), "read the Kerberos configuration", nil)
	says("a principal the keytab is not for", read(KerberosFiles{Keytab: keytab, Principal: "root"}, url), "knows no root@"+k.Realm, sources.ErrDenied)
	if err := k.Admin("addprinc", "-randkey", "root"); err != nil {
		t.Fatal(err)
	}
	says("no key of the principal", read(KerberosFiles{Keytab: keytab, Principal: "root"}, url), "has no key for root@"+k.Realm, sources.ErrDenied)

	// The server by another name than Kerberos knows.
	says("unknown service", read(right, strings.Replace(url, "127.0.0.1", "localhost", 1)), "knows no service cifs/localhost", sources.ErrDenied)

	cache := filepath.Join(dir, "cache")
	if err := k.Kinit(cache, keytab, user, time.Second); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); read(KerberosFiles{Cache: cache}, url) == nil && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	says("an expired ticket", read(KerberosFiles{Cache: cache}, url), "its ticket expired at 20", sources.ErrDenied)
	if err := read(KerberosFiles{Cache: cache, Keytab: keytab}, url); err != nil {
		t.Errorf("with an expired ticket and a keytab: %v", err)
	}

	// In this bubble it is the year 2000, and whoever asks hears the same.
	synctest.Test(t, func(t *testing.T) {
		c, err := KerberosFiles{Keytab: keytab, Config: k.Config()}.Credentials()
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Kerberos.fetch("cifs/127.0.0.1")
		says("a wrong clock", err, "the clock of this machine (2000-01-0", sources.ErrDenied)
	})

	// The server's keys are made anew, and it hasn't got them; or it has, and our ticket is for the old ones.
	remembers := identity(t, KerberosFiles{Keytab: keytab, Config: k.Config()})
	if err := open(t, s, remembers).ReadRange(t.Context(), "f", 0, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := k.Keytab(filepath.Join(dir, "another"), "cifs/127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	says("a server with old keys", read(right, url), "does not take the Kerberos ticket of "+user+"@"+k.Realm, sources.ErrDenied)
	s.Stop()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if err := patient(open(t, s, remembers)).ReadRange(t.Context(), "f", 0, make([]byte, 10)); err == nil {
		t.Error("the server took a ticket for the key it had before")
	}
	if err := open(t, s, remembers).ReadRange(t.Context(), "f", 0, make([]byte, 10)); err != nil {
		t.Errorf("the ticket that was refused is shown again: %v", err)
	}

	if err := k.Keytab(filepath.Join(dir, "yet another"), user); err != nil {
		t.Fatal(err)
	}
	says("a keytab of an old password", read(right, url), "a new keytab is needed", errLogon)
	if err := k.Admin("modprinc", "-requires_preauth", user); err != nil {
		t.Fatal(err)
	}
	says("a keytab of an old password, which the KDC doesn't look at", read(right, url), "a new keytab is needed", errLogon)

	k.Stop()
	err := read(right, url)
	says("the KDC away", err, "no KDC of "+k.Realm+" answers", nil)
	if _, later := sources.Retryable(err); !later {
		t.Errorf("the KDC away: %v is for ever", err)
	}
	if err := os.WriteFile(text, []byte("[libdefaults]\ndns_lookup_kdc = false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	says("no KDC known", read(KerberosFiles{Keytab: keytab, Config: text}, url), "neither krb5.conf nor DNS", nil)
}

// Nobody asked for Kerberos by having logged on to some realm: a server that is not part of it lets guests in as before.
func TestKerberosFromEnvironment(t *testing.T) {
	k, keytab := realm(t)
	t.Setenv("KRB5_CONFIG", k.Config())
	from := func(name, value string) Options {
		c, ok := KerberosFromEnvironment(func(v string) string {
			if v == name {
				return value
			}
			return ""
		})
		if !ok || !c.Optional() {
			t.Errorf("%s: %v, optional: %v", name, ok, c.Optional())
		}
		return Options{Credentials: c}
	}
	cache := filepath.Join(k.Dir, "cache")
	if err := k.Kinit(cache, keytab, user, time.Hour); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"f": noise(1000)}
	member := kerberosOnly(t, k, files, "")
	stranger, _ := serve(t, files, nil)
	for name, value := range map[string]string{"KRB5CCNAME": "FILE:" + cache, "KRB5_CLIENT_KTNAME": keytab, "KRB5_KTNAME": "FILE:" + keytab} {
		for server, want := range map[*sourcetest.Samba]string{member: user + "@" + k.Realm + ", by Kerberos", stranger: "guest"} {
			r, err := open(t, server, from(name, value)).Inspect(t.Context())
			if err != nil || r.As != want {
				t.Errorf("%s: %q, %v, want %q", name, r.As, err, want)
			}
		}
	}
	again := open(t, stranger, from("KRB5CCNAME", cache))
	before := issued(t, k)
	for range 3 {
		if err := again.ReadRange(t.Context(), "f", 0, nil); err != nil {
			t.Fatal(err)
		}
		again.Close()
	}
	if n := issued(t, k) - before; n != 1 {
		t.Errorf("a server that takes no ticket was shown one %d times", n)
	}
	broken := from("KRB5CCNAME", "KCM:")
	if err := open(t, stranger, broken).ReadRange(t.Context(), "f", 0, nil); err != nil {
		t.Errorf("a cache that is no file keeps guests out: %v", err)
	}
	if err := open(t, member, broken).ReadRange(t.Context(), "f", 0, nil); err == nil || !strings.Contains(err.Error(), "KCM") {
		t.Errorf("%v tells nothing of the cache", err)
	}
}

// A KDC that hangs holds nobody longer than a logon may take.
func TestKDCThatHangs(t *testing.T) {
	k, keytab := realm(t)
	s := kerberosOnly(t, k, map[string][]byte{"f": {1}}, "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conf := filepath.Join(t.TempDir(), "krb5.conf")
	text := fmt.Sprintf("[libdefaults]\nudp_preference_limit = 1\n[realms]\n%s = {\nkdc = %s\n}\n", k.Realm, l.Addr())
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	options := identity(t, KerberosFiles{Keytab: keytab, Config: conf})
	options.LogonTimeout = 100 * time.Millisecond
	err = open(t, s, options).ReadRange(t.Context(), "f", 0, nil)
	if _, later := sources.Retryable(err); !later || !strings.Contains(err.Error(), "no logon within 100ms") {
		t.Error(err)
	}
	if c, err := l.Accept(); err == nil {
		c.Close() // the question ends too
	}
}

// FuzzKerberosAnswer: what a hostile server answers to a ticket proves nothing and breaks nothing.
func FuzzKerberosAnswer(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x60\x15\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x02\x00\x6f\x06\x30\x04\xa0\x02\x02\x00"))
	f.Add([]byte("\x60\x0d\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x03\x00"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		l := &kerberosLogon{service: "cifs/server"}
		if _, err := l.AcceptSecContext(answer); !errors.Is(err, errLogon) || !errors.Is(l.err, errLogon) {
			t.Fatal(err)
		}
		l.Sum(answer)
		if len(l.SessionKey()) != 16 {
			t.Fatal("no key")
		}
	})
}

package smborigin

import (
	"fmt"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, want, refused string }{
		{"smb://fs/pkg/win11", `{  fs 0 pkg win11} smb://fs/pkg/win11 \\fs\pkg\win11`, ""},
		{"smb://fs:4455/pkg", `{  fs 4455 pkg } smb://fs:4455/pkg \\fs\pkg`, ""},
		{"SMB://lab;imaging@fs.example/pkg/", `{lab imaging fs.example 0 pkg } smb://fs.example/pkg \\fs.example\pkg`, ""},
		{"smb://imaging@fs/pkg/a%20b/c%3Fd", `{ imaging fs 0 pkg a b/c?d} smb://fs/pkg/a%20b/c%3Fd \\fs\pkg\a b\c?d`, ""},
		{"smb://[fd00::1]:445/pkg", `{  fd00::1 445 pkg } smb://[fd00::1]:445/pkg \\fd00--1.ipv6-literal.net\pkg`, ""},
		{`\\fs\pkg\sub\dir`, `{  fs 0 pkg sub/dir} smb://fs/pkg/sub/dir \\fs\pkg\sub\dir`, ""},
		{`\\fs\pkg`, `{  fs 0 pkg } smb://fs/pkg \\fs\pkg`, ""},
		{"smb://fs", "", "no share"},
		{"smb:///pkg", "", "no server"},
		{`\\fs`, "", "no share"},
		{`\\\pkg`, "", "no server"},
		{"smb://u:hunter2@fs/pkg", "", "password"},
		{"smb://u:@fs/pkg", "", "password"},
		{"smb://u%3Ahunter2@fs/pkg", "", "password"},
		{"smb://lab;@fs/pkg", "", "no user"},
		{"smb://u%1b%5b2J@fs/pkg", "", "no text"},
		{"smb://u%ff@fs/pkg", "", "no text"},
		{"smb://u:hunter2@fs:x/pkg", "", ""},
		{"smb://fs:0/pkg", "", "port"},
		{"smb://fs:70000/pkg", "", "port"},
		{"smb://fs/pkg/../other", "", ".."},
		{"smb://fs/pkg//other", "", "empty part"},
		{"smb://fs/pkg?x", "", "%3F"},
		{"smb://fs/pkg#x", "", "%23"},
		{`smb://fs/pkg\x`, "", `\`},
		{"smb://fs/pkg/a%00b", "", "zero byte"},
		{"smb://fs/pkg/%ff", "", "UTF-8"},
		{`\\fs#\pkg`, "", "neither a name"},
		{"smb://f%20s/pkg", "", ""},
		{"http://fs/pkg", "", "not smb"},
	} {
		l, err := Parse(c.in)
		if c.want == "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v, want %q", c.in, err, c.refused)
			}
			continue
		}
		if got := fmt.Sprintf("{%s %s %s %d %s %s} %s %s", l.Domain, l.User, l.Host, l.Port, l.Share, l.Path, l, l.UNC()); err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", c.in, got, err, c.want)
		}
	}
}

// A URL comes out of a manifest: whatever it is, it is taken or refused, shown without its password, and means the same
// when it is shown.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"smb://d;u@h:1/s/p", `\\h\s\p`, "smb://u:hunter2@h/s", "smb://[::1]/s", "smb://h/%2e%2e/x", "smb://h/a%2fb/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(l.String())
		if err != nil {
			t.Fatalf("%q is shown as %q: %v", s, l, err)
		}
		if again.User = l.User; again.Host != l.Host || again.Share != l.Share || again.Path != l.Path || again.Port != l.Port {
			t.Fatalf("%q is shown as %q, which is %+v and not %+v", s, l, again, l)
		}
	})
}

func TestParseCredentials(t *testing.T) {
	for _, c := range []struct {
		text string
		want Credentials
		bad  string
	}{
		{"username = u\npassword = p\ndomain = D\n", Credentials{Domain: "D", User: "u", Password: "p"}, ""},
		{"# comment\r\n\r\nusername=u\r\npassword=p=q \r\n", Credentials{User: "u", Password: "p=q "}, ""},
		{"\ufeffusername = D\\u\npassword =  two blanks", Credentials{Domain: "D", User: "u", Password: " two blanks"}, ""},
		{"Username=u", Credentials{User: "u"}, ""},
		{"password = p", Credentials{}, "no username"},
		{"username = u\nhunter2", Credentials{}, "line 2 has no ="},
		{"username = u\nsecret = hunter2", Credentials{}, "line 2 is neither"},
	} {
		got, err := ParseCredentials(c.text)
		if c.bad != "" {
			if err == nil || !strings.Contains(err.Error(), c.bad) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: %v, want %q", c.text, err, c.bad)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%q: %v", c.text, err)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v %s", Credentials{Domain: "D", User: "u", Password: "hunter2"}, Account{"s", Credentials{Domain: "D", User: "u", Password: "hunter2"}}, Credentials{Domain: "D", User: "u", Password: "hunter2"}, Accounts{{"s", Credentials{Domain: "D", User: "u", Password: "hunter2"}}}); strings.Contains(s, "hunter2") {
		t.Error(s)
	}
}

func TestAccountsFor(t *testing.T) {
	accounts := Accounts{{"fs1", Credentials{Domain: "LAB", User: "one", Password: "1"}}, {"FS2", Credentials{User: "two", Password: "2"}}, {"", Credentials{User: "any", Password: "3"}}}
	for location, want := range map[string]string{
		"smb://FS1/p": "1", "smb://fs2/p": "2", "smb://fs3/p": "3",
		"smb://lab;one@fs1/p": "1", "smb://two@fs1/p": "", "smb://other;one@fs1/p": "", "smb://any@fs2/p": "3",
	} {
		at, err := Parse(location)
		if err != nil {
			t.Fatal(err)
		}
		if got := accounts.For(at); got.Password != want {
			t.Errorf("%s: %v with password %s, want %s", location, got, got.Password, want)
		}
	}
}

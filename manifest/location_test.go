package manifest

import (
	"strings"
	"testing"
)

// No part of a location that may be secret is shown, however it is misspelt.
func TestShown(t *testing.T) {
	for location, want := range map[string]string{
		"http://h/p.torrent":                   "http://h/p.torrent",
		"http://h:8080/a/b%20c":                "http://h:8080/a/b%20c",
		"http://h/p?sig=SECRET":                "http://h/p",
		"https://h/p?x=1&sig=SECRET#SECRET":    "https://h/p",
		"http://h/p#SECRET":                    "http://h/p",
		"http://h?SECRET":                      "http://h",
		"http://user:SECRET@h/p":               "http://h/p",
		"http://SECRET@h:80/p":                 "http://h:80/p",
		"http://user:SEC@RET@h/p":              "http://h/p",
		"HTTP://user:SECRET@[::1]:80/p?SECRET": "HTTP://[::1]:80/p",
		"http://h/p@2x.png":                    "http://h/p@2x.png",
		"http://[2001:db8::1]/p@2":             "http://[2001:db8::1]/p@2",
		"smb://DOMAIN;user:SECRET@h/share/p":   "smb://h/share/p",
		"smb://DOMAIN;user@h/share":            "smb://h/share",
		"smb://u%3ASECRET@h/share":             "smb://h/share",
		"ftp://u:SECRET@h/p?SECRET":            "ftp://h/p",
		"http://user:SEC/RET@h/p":              "http://…",
		"http://user:SEC?RET@h/p":              "http://…",
		"http://user:SEC#RET@h/p":              "http://…",
		"http://user:SECRET@h:port/p":          "http://h:port/p",
		"http://user:SECRET@":                  "http://",
		"http:/h/p?sig=SECRET":                 "http:/h/p",
		"http:h/p?SECRET":                      "http:h/p",
		"http:/user:SECRET@h/p":                "http:/h/p",
		"h/p.torrent?sig=SECRET":               "h/p.torrent",
		"user:SECRET@h/p.torrent":              "h/p.torrent",
		"https//h/p?sig=SECRET":                "https//h/p",
		"/srv/p.torrent":                       "/srv/p.torrent",
		"/srv/what?.torrent":                   "/srv/what?.torrent",
		"/srv/a@b:c/p#1":                       "/srv/a@b:c/p#1",
		`C:\pkg\p.torrent`:                     `C:\pkg\p.torrent`,
		`\\server\share\p@x?`:                  `\\server\share\p@x?`,
		"":                                     "",
		"file:///srv/p":                        "file:///srv/p",
		"http://account.blob.example/c/p?sv=1&sig=SECRET%2B&se=2026": "http://account.blob.example/c/p",
	} {
		if got := Shown(location); got != want {
			t.Errorf("%q: %q, want %q", location, got, want)
		}
		text := `Get "` + location + `": refused; read ` + location + `: and ` + location
		if strings.Contains(location, "://") && strings.Contains(ShownIn(text), "SECRET") {
			t.Errorf("%q: shown in a text: %q", location, ShownIn(text))
		}
		if _, err := ParseURL(location); err != nil && strings.Contains(err.Error(), "SEC") {
			t.Errorf("%q: %v", location, err)
		}
	}
	for text, want := range map[string]string{
		`Get "http://h/p?sig=SECRET": dial tcp: refused`:       `Get "http://h/p": dial tcp: refused`,
		"read f at 0 from http://u:SECRET@h/p?SECRET: not now": "read f at 0 from http://h/p: not now",
		"(see http://h/p?SECRET), or smb://u:SECRET@h/s.":      "(see http://h/p), or smb://h/s.",
		"nothing to see?": "nothing to see?",
	} {
		if got := ShownIn(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzShown(f *testing.F) {
	f.Add("http://user:", "@h/p?x")
	f.Fuzz(func(t *testing.T, before, after string) {
		Shown(before + after)
		if strings.ContainsAny(before+after, " \t\n\r\v\f\"") {
			return
		}
		for _, s := range []string{"http://h/" + before + "?" + after + "SECRET", "http://u:SECRET" + after + "@h/"} {
			if strings.Contains(before, "SECRET") {
				continue
			}
			if got := Shown(s); strings.Contains(got, "SECRET") {
				t.Errorf("%q: %q", s, got)
			}
		}
	})
}

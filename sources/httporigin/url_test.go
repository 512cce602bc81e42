package httporigin

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
)

func mustParse(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func TestURLs(t *testing.T) {
	for _, c := range []struct{ base, path, want string }{
		{"http://h", "a/b", "/a/b"},
		{"http://h/", "a", "/a"},
		{"http://h/p", "a", "/p/a"},
		{"http://h/p/", "a", "/p/a"},
		{"http://h/p", "", "/p"},
		{"http://h/p/", "", "/p/"},
		{"http://h", "", "/"},
		{"http://h/p?sv=1&sig=a%2Fb", "a", "/p/a?sv=1&sig=a%2Fb"},
		{"http://h/file.iso?sig=x", "", "/file.iso?sig=x"},
		{"http://h/a%2Fb%20c", "d e", "/a%2Fb%20c/d%20e"},
		{"http://h/ä", "ö", "/%C3%A4/%C3%B6"},
		{"http://h", "a b/c#d?e%f", "/a%20b/c%23d%3Fe%25f"},
		{"http://h", "cafe\u0301", "/cafe%CC%81"}, // NFD stays NFD
		{"http://h", "caf\u00e9", "/caf%C3%A9"},
		{"http://h", "%2e%2e/x", "/%252e%252e/x"},
		{"http://h", "a+b&c;d", "/a%2Bb%26c%3Bd"},
		{"http://h", `back\slash`, "/back%5Cslash"},
		{"http://h", "//x", ""},
		{"http://h", "../x", ""},
		{"http://h", "a/./b", ""},
	} {
		base, _, err := parseBase(c.base)
		if err != nil {
			t.Error(err)
			continue
		}
		esc, err := escape(c.path)
		if err != nil {
			if c.want != "" {
				t.Errorf("%q: %v", c.path, err)
			}
			continue
		}
		u := locate(base, c.path, esc)
		if got := u.RequestURI(); got != c.want {
			t.Errorf("%s + %q: %s, want %s", c.base, c.path, got, c.want)
		}
		if b := baseOf(u, esc); b == nil || locate(b, c.path, esc).String() != u.String() {
			t.Errorf("%s + %q is not undone: %v", c.base, c.path, b)
		}
	}
}

func TestURLsRefused(t *testing.T) {
	for _, c := range []struct{ url, text string }{
		{"http://user:hunter2@h:port/p", "not a URL"},
		{"http://user:hun/ter2@h/p", "%2F"},
		{"http://user:hunter2@h/p#f", "%23"},
		{"ftp://h/p", "not http or https"},
		{"http:///p", "no host"},
		{"h/p", "not http or https"},
		{"http://h/p#f", "%23"},
		{"http://bücher.example/p", "xn--"},
		{"http://h\x00/", "not a URL"},
	} {
		_, err := Open(c.url, Options{})
		if err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", c.url, err, c.text)
		}
		if err != nil && strings.Contains(err.Error(), "hun") {
			t.Errorf("shows the password: %v", err)
		}
	}
}

// A query may hold an access token: it goes with every request and into no message.
func TestQueryIsSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newWire(t).serve("http://server/pkg?sig=hunter2", Options{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "sig=hunter2" {
				t.Errorf("query %q", r.URL.RawQuery)
			}
			http.NotFound(w, r)
		})
		err := h.ReadRange(t.Context(), "f", 0, make([]byte, 1))
		if err == nil || strings.Contains(err.Error(), "hun") || strings.Contains(h.String(), "hunter2") {
			t.Errorf("%v from %s", err, h)
		}
	})
}

package main

import (
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestSetInConfig(t *testing.T) {
	const person = "# mine\npeer_port = 5000\n\n[[package]]\nmanifest = \"a\" # one\n\n[site]\n# name = \"default\"\ncidrs = []\n[cache]\nname = 'x'\n"
	for _, c := range []struct{ what, text, key, value, want string }{
		{"into nothing", "", "trust", `["k"]`, "trust = [\"k\"]\n"},
		{"a table into nothing", "", "site.name", "'r'", "[site]\nname = 'r'\n"},
		{"a key before the tables", person, "cache_dir", "'/c'", strings.Replace(person, "[[package]]", "cache_dir = '/c'\n[[package]]", 1)},
		{"a key that is there", person, "peer_port", "1", strings.Replace(person, "5000", "1", 1)},
		{"a key of a table that is there", person, "site.name", "'r'", strings.Replace(person, "[site]\n", "[site]\nname = 'r'\n", 1)},
		{"a key of a table that is not", person, "limits.up", "'1MB/s'", person + "\n[limits]\nup = '1MB/s'\n"},
	} {
		got := string(setInConfig([]byte(c.text), c.key, c.value))
		if got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.what, got, c.want)
		}
		if again := string(setInConfig([]byte(got), c.key, c.value)); again != got {
			t.Errorf("%s: set twice:\n%s", c.what, again)
		}
		if err := toml.Unmarshal([]byte(got), new(map[string]any)); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestTOMLText: paths of Windows, and what tries to be more than a string.
func TestTOMLText(t *testing.T) {
	for _, s := range []string{`C:\lab\new`, `it's "x"`, "a\nb = 1", "", "\x00\x7f\x1b'", "ü'\u2028"} {
		var got struct{ K string }
		if err := toml.Unmarshal([]byte("k = "+tomlText(s)), &got); err != nil || got.K != s {
			t.Errorf("%q: %q, %v", s, got.K, err)
		}
	}
}

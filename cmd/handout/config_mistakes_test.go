package main

import (
	"os"
	"strings"
	"testing"
)

// TestMistakesAtOnce: a config that was written in one go is mended in one go.
func TestMistakesAtOnce(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"of every kind", `peer_port = 99999
nonsense = 1
refresh = "soon"
seeds = ["10.0.0.5",
  "a b:1",
]
[site]
cidrs = ["10.0.0.0/33"]
origin_use = "sometimes"
[limits]
up = "fast"
down = "20MB/s"
[[package]]
manifest = "a.torrent"
priority = "first"
[[package]]
manifest = "a.torrent"
`, "line 1 line 2 line 3 line 5 line 8 line 9 line 11 line 13 line 16"},
		{"in one line a syntax error", "peer_port = \nrefresh = \"1m\"\n[limits]\nup = \"fast\"\n", "line 1 line 4"},
		{"an unclosed quote", "log = \"x\npeer_port = 99999\n", "line 1 line 2"},
		{"an unclosed list", "trust = [\"a\"\npeer_port = 99999\n", "line 2"},
		{"none", "peer_port = 4747\n", ""},
	} {
		config := defaultConfig()
		wrong := decodeConfig([]byte(c.text), &config)
		if c.name == "of every kind" {
			wrong = nil
			file := t.TempDir() + "/agent.toml"
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := config.readFile(file)
			if err == nil {
				t.Fatal("the config is right")
			}
			for _, part := range strings.Split(strings.TrimPrefix(err.Error(), file+": "), "; ") {
				if line, _, ok := strings.Cut(part, ": "); ok {
					wrong = append(wrong, mistake{what: line})
				}
			}
		}
		var lines []string
		for _, m := range wrong {
			line, _, _ := strings.Cut(m.String(), ": ")
			lines = append(lines, line)
		}
		if got := strings.Join(lines, " "); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: mistakes in %q, wanted %q: %v", c.name, got, c.want, wrong)
		}
		if c.name == "of every kind" && config.Limits.Down != 20e6 {
			t.Errorf("what is right beside mistakes does not count: down is %d", config.Limits.Down)
		}
	}
}

// TestMistakesEnd: whatever a file holds, its mistakes come to an end.
func TestMistakesEnd(t *testing.T) {
	for _, text := range []string{"a = [\n1,\n\"\"\"x", "peer_port = 99999\n[limits]\nup = 'x'\r\n", "\x00\xff\n[[", "[a\n[b\n[c\n"} {
		config := defaultConfig()
		if wrong := decodeConfig([]byte(text), &config); len(wrong) == 0 || len(wrong) > maxMistakes {
			t.Errorf("%d mistakes in %q", len(wrong), text)
		}
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"
)

// TestReferenceIsTrue: with every comment sign taken away the reference is a config, of the defaults, and every setting
// says what it means.
func TestReferenceIsTrue(t *testing.T) {
	var b bytes.Buffer
	writeReference(&b, defaultConfig())
	text := regexp.MustCompile(`(?m)^# (\w+ = |\[)`).ReplaceAll(b.Bytes(), []byte("$1"))
	text = regexp.MustCompile(`(?ms)^\[\[.*?(\n\n|\z)`).ReplaceAll(text, nil) // a package without a manifest is none
	file := filepath.Join(t.TempDir(), "agent.toml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	got, want := defaultConfig(), defaultConfig()
	if err := got.readFile(file); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	empty := func(c agentConfig) agentConfig { // no list and an empty list are the same
		c.Seeds, c.Trust, c.Site.CIDRs, c.Push.Keys, c.Roots, c.Origins.Allow = nil, nil, nil, nil, nil, nil
		return c
	}
	if !reflect.DeepEqual(empty(got), empty(want)) {
		t.Errorf("the reference sets\n%+v\nthe defaults are\n%+v", got, want)
	}
	if bare := regexp.MustCompile(`(?m)^# \w+ = [^#\n]*$`).FindAll(b.Bytes(), -1); len(bare) > 0 {
		t.Errorf("nothing is said about %q", bare)
	}
	for _, s := range settings { // each is in the reference
		key := s.key[len(regexp.MustCompile(`^.*\.`).FindString(s.key)):]
		if !regexp.MustCompile(`(?m)^# (` + key + ` = |\[` + key + `\]$)`).Match(b.Bytes()) {
			t.Errorf("%s is missing", s.key)
		}
	}
}

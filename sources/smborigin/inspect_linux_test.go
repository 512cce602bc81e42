package smborigin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"handout/sources"
	"handout/sources/sourcetest"
)

func TestInspect(t *testing.T) {
	for _, c := range []struct {
		global  string
		options Options
		want    string
	}{
		{"", Options{}, "3.1.1 guest signed=false encrypted=false"},
		{"", known, "3.1.1 games signed=false encrypted=false"},
		{"server max protocol = SMB2_02", known, "2.0.2 games signed=false encrypted=false"},
		{"server max protocol = SMB2_10", known, "2.1 games signed=false encrypted=false"},
		{"server max protocol = SMB3_00", known, "3.0 games signed=false encrypted=false"},
		{"server max protocol = SMB3_02\nserver signing = mandatory", known, "3.0.2 games signed=true encrypted=false"},
		{"server signing = mandatory", known, "3.1.1 games signed=true encrypted=false"},
		{"server smb encrypt = required", known, "3.1.1 games signed=false encrypted=true"},
	} {
		s, root := serve(t, map[string][]byte{"small": {1}, "dir/col:on/large ": noise(10_000), "dir/other": noise(9_000)}, func(s *sourcetest.Samba) { s.Global = c.global })
		o := open(t, s, c.options)
		r, err := o.Inspect(t.Context())
		got := fmt.Sprintf("%s %s signed=%v encrypted=%v", r.Dialect, r.As, r.Signed, r.Encrypted)
		if err != nil || got != c.want || r.File != "dir/col:on/large " || r.Size != 10_000 || r.Took <= 0 {
			t.Errorf("%q: %v, %s, want %s; %+v", c.global, err, got, c.want, r)
		}
		if err := o.ReadRange(t.Context(), r.File, 0, make([]byte, r.Size)); err != nil {
			t.Error(err)
		}
		if c.global != "" {
			continue
		}
		one, err := Open(s.URL("pkg/dir/other"), c.options)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := one.Inspect(t.Context()); err != nil || r.File != "" || r.Size != 9_000 {
			t.Errorf("one file: %v, %+v", err, r)
		}
		absent, err := Open(s.URL("pkg/absent"), c.options)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := absent.Inspect(t.Context()); !errors.Is(err, sources.ErrMissing) || r.Dialect != "3.1.1" {
			t.Errorf("absent: %v, %+v", err, r)
		}
		if err := os.Chmod(filepath.Join(root, "dir/other"), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := one.Inspect(t.Context()); c.options.Credentials.User != "" && !errors.Is(err, sources.ErrDenied) {
			t.Errorf("shut: %v", err)
		}
	}
}

func TestNames(t *testing.T) {
	at := Location{Share: "s", Path: "base"}
	for path, want := range map[string]string{
		"":            `base`,
		"a/b":         `base\a\b`,
		`a:b/c\d`:     "base\\a\uf022b\\c\uf026d base\\a\uf03ab\\c\uf05cd",
		"a /b.":       "base\\a\uf028\\b\uf029 base\\a \\b.",
		"tab\t":       "base\\tab\uf009",
		"caf\u00e9 x": "base\\caf\u00e9 x",
	} {
		names, err := at.names(path)
		if err != nil || strings.Join(names, " ") != want {
			t.Errorf("%q: %q, %v, want %q", path, strings.Join(names, " "), err, want)
		}
		if path != "" && err == nil && !strings.Contains(path, "/") && unmapName(strings.TrimPrefix(names[0], `base\`)) != path {
			t.Errorf("%q comes back as %q", path, unmapName(names[0]))
		}
	}
	for _, path := range []string{"..", "a/../b", "/a", "a//b", ".", "a/"} {
		if names, err := at.names(path); err == nil {
			t.Errorf("%q became %q", path, names)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVersion(t *testing.T) {
	for _, c := range []struct{ given, pkg, msi string }{
		{"v1.2.3", "1.2.3", "1.2.3000"},
		{"1.2.3", "1.2.3", "1.2.3000"},
		{"v1.2.3-7-g0123abc", "1.2.3+7.g0123abc", "1.2.3007"},
		{"v1.2.3-7-g0123abc-dirty", "1.2.3+7.g0123abc+dirty", "1.2.3007"},
		{"v1.2.3-5000-g0123abc", "1.2.3+5000.g0123abc", "1.2.3999"},
		{"v1.2.66", "", ""},
		{"v256.0.0", "", ""},
		{"1.2", "", ""},
		{"1.2.3; reboot", "", ""},
	} {
		v, err := versionOf(c.given, nil)
		if (err != nil) != (c.pkg == "") || v.pkg != c.pkg || v.msi != c.msi {
			t.Errorf("%s: %+v, %v", c.given, v, err)
		}
	}
}

// TestVersionWithoutTags: all commits count as after 0.0.0.
func TestVersionWithoutTags(t *testing.T) {
	v, err := versionOf("", func(args ...string) (string, error) {
		switch {
		case args[0] == "rev-list":
			return "188", nil
		case args[1] == "--always":
			return "0123abc", nil
		}
		return "", errors.New("no names found")
	})
	if err != nil || v.pkg != "0.0.0+188.g0123abc" || v.msi != "0.0.188" {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestMSI makes one twice, a second apart, of a program that is no program, and looks at what Windows will be told.
func TestMSI(t *testing.T) {
	for _, program := range []string{"wixl", "msiinfo"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: make deps", program)
		}
	}
	one, two := msiOf(t, "program"), msiOf(t, "program")
	if a, b := read(t, one), read(t, two); !bytes.Equal(a, b) {
		t.Errorf("not the same bytes twice: %d and %d of them", len(a), len(b))
	}
	if bytes.Equal(read(t, msiOf(t, "another")), read(t, one)) {
		t.Error("another program, the same package")
	}
	actions := output(t, "msiinfo", "export", one, "CustomAction")
	for _, property := range []string{"SITE", "SITE_KEY_FILE", "TRUST", "ORIGIN_CONNECTIONS", "CACHE_DIR", "STATE_DIR"} {
		if !strings.Contains(actions, `"[`+property+`]"`) {
			t.Errorf("%s goes nowhere:\n%s", property, actions)
		}
	}
	// The order decides whether the program that removes the service is still there, and whether a failure can be undone.
	sequence := output(t, "msiinfo", "export", one, "InstallExecuteSequence")
	at := -1
	for _, action := range []string{"InstallInitialize\t", "RemoveExistingProducts\t", "StopServices\t", "RemoveService\t", "RemoveFiles\t", "InstallFiles\t", "InstallService\t", "InstallFinalize\t"} {
		next := strings.Index(sequence, "\n"+action)
		if next < at || next < 0 {
			t.Errorf("%s comes too early:\n%s", action, sequence)
		}
		at = next
	}
	if summary := output(t, "msiinfo", "suminfo", one); !strings.Contains(summary, "2001") || !strings.Contains(summary, "x64") {
		t.Errorf("summary:\n%s", summary)
	}
}

// msiOf packs a program with such content.
func msiOf(t *testing.T, content string) string {
	t.Helper()
	m := &maker{ctx: context.Background(), dir: t.TempDir(), version: version{pkg: "1.2.3", msi: "1.2.3000"}, epoch: time.Unix(1e9, 0).UTC()}
	program := filepath.Join(t.TempDir(), "handout.exe")
	if err := os.WriteFile(program, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(program, m.epoch, m.epoch); err != nil {
		t.Fatal(err)
	}
	to, err := m.msi(program)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// TestSigned: what is signed with the publisher's key says so, and is the same each time.
func TestSigned(t *testing.T) {
	for _, program := range []string{"wixl", "osslsigncode", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: make deps", program)
		}
	}
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	output(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "30000",
		"-subj", "/CN=handout test", "-addext", "extendedKeyUsage=codeSigning")
	file := msiOf(t, "program")
	unsigned := read(t, file)
	m := &maker{ctx: context.Background(), epoch: time.Now(), signing: signing{key: key, certs: cert}}
	if err := m.sign(file); err != nil {
		t.Fatal(err)
	}
	if out := output(t, "osslsigncode", "verify", "-CAfile", cert, "-in", file); !strings.Contains(out, "Signature verification: ok") {
		t.Errorf("%s", out)
	}
	signed := read(t, file)
	if err := os.WriteFile(file, unsigned, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := m.sign(file); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(signed, read(t, file)) {
		t.Error("signed twice, not the same bytes")
	}
}

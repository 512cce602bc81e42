package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"handout/sources/sourcetest"
)

// A package on a share that lets in nobody but those with a ticket, whose manifest says as whom to read it.
func TestPackageByKerberos(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	tree := filepath.Join(dir, "tree")
	content := bytes.Repeat([]byte("content "), 1<<18)
	if err := errors.Join(os.Mkdir(tree, 0o755), os.WriteFile(filepath.Join(tree, "a"), content, 0o644)); err != nil {
		t.Fatal(err)
	}
	kdc := &sourcetest.KDC{Dir: t.TempDir()}
	if err := kdc.Start(); errors.Is(err, sourcetest.ErrNoKDC) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kdc.Stop)
	t.Setenv("KRB5_CONFIG", kdc.Config())
	keytab, cache := filepath.Join(kdc.Dir, "keytab"), filepath.Join(kdc.Dir, "cache")
	if err := errors.Join(kdc.Keytab(keytab, shareUser), kdc.Kinit(cache, keytab, shareUser, time.Hour)); err != nil {
		t.Fatal(err)
	}
	s := &sourcetest.Samba{Shares: map[string]string{"pkg": dir}, Dir: t.TempDir(), Member: kdc, Share: "guest ok = no"}
	if err := s.Start(); errors.Is(err, sourcetest.ErrNoSamba) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)

	named := "smb://" + shareUser + "@" + s.Address + "/pkg/tree"
	pkg, work := filepath.Join(dir, "pkg.torrent"), t.TempDir()
	if code, said := runHere(t, "publish", tree, "--unsigned", "--origin", named, "-o", pkg); code != exitDone || !strings.Contains(said, named) {
		t.Fatalf("publish: %d, %s", code, said)
	}
	fetch := func(name, manifest string, more ...string) (int, string) {
		t.Helper()
		args := append([]string{"fetch", manifest, "--allow-unsigned", "--no-peers", "--linger", "0s", "--dest", filepath.Join(work, name)}, more...)
		code, said := runHere(t, args...)
		if code == exitDone {
			if got, err := os.ReadFile(filepath.Join(work, name, "a")); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: %v, or other bytes", name, err)
			}
		}
		return code, said
	}
	code, said := fetch("nobody", pkg)
	if code != exitNoSource || !strings.Contains(said, "neither a password nor a keytab of "+shareUser+" is known here") {
		t.Errorf("without an account: exit %d, %s", code, said)
	}
	if code, said := fetch("keytab", pkg, "--keytab", keytab); code != exitDone {
		t.Errorf("by keytab: exit %d, %s", code, said)
	}
	if code, said := runHere(t, "fetch", pkg, "--allow-unsigned", "--dest", filepath.Join(work, "x"), "--keytab", filepath.Join(work, "absent")); code != exitUsage {
		t.Errorf("by a keytab that isn't there: exit %d, %s", code, said)
	}
	code, said = runHere(t, "origin", "test", s.URL("pkg"), "--no-peers", "--seconds", "50ms", "--keytab", keytab)
	if want := fmt.Sprintf("we are        %s@%s, by Kerberos", shareUser, kdc.Realm); code != exitDone || !strings.Contains(said, want) {
		t.Errorf("origin test: exit %d, %s", code, said)
	}
	code, said = runHere(t, "origin", "test", strings.Replace(s.URL("pkg"), "127.0.0.1", "localhost", 1), "--no-peers", "--seconds", "50ms", "--keytab", keytab)
	if code != exitNoSource || !strings.Contains(said, "no service cifs/localhost") || !strings.Contains(said, "It is the account that is refused") {
		t.Errorf("origin test of a server by another name: exit %d, %s", code, said)
	}

	t.Setenv("KRB5CCNAME", "FILE:"+cache)
	if code, said := fetch("cache", s.URL("pkg/pkg.torrent")); code != exitDone {
		t.Errorf("by credential cache: exit %d, %s", code, said)
	}

	file := filepath.Join(work, "agent.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "[[account]]\nserver = \"127.0.0.1\"\nkeytab = %q\nprincipal = %q", keytab, shareUser), 0o600); err != nil {
		t.Fatal(err)
	}
	config := defaultConfig()
	if err := errors.Join(config.readFile(file), config.readVariables(os.Getenv)); err != nil {
		t.Fatal(err)
	}
	who := shareUser + "@" + kdc.Realm
	if got, want := fmt.Sprint(config.origins().Accounts), fmt.Sprintf("[%s %s]", who, who); got != want {
		t.Errorf("accounts: %s, want that of the config before that of the environment: %s", got, want)
	}
}

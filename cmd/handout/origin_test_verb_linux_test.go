package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"handout/agent/api"
)

// What an admin is told about a share, in each of the states it may be in.
func TestOriginTestOfAShare(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	if err := os.WriteFile(filepath.Join(dir, "image.wim"), bytes.Repeat([]byte("content "), 1<<19), 0o644); err != nil {
		t.Fatal(err)
	}
	s := share(t, dir, "guest ok = no\nread list = "+shareUser)
	credentials := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(credentials, []byte("username = "+shareUser+"\npassword = "+sharePassword), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	for _, c := range []struct {
		url  string
		args []string
		code int
		says []string
	}{
		{s.URL("pkg"), []string{"--credentials", credentials}, exitDone, []string{
			"reachable     yes, in ", "SMB 3.1.1", "we are        " + shareUser, "signed        no", "encrypted     no",
			"may read      yes: image.wim, 4.0 MiB", "1 connection", "2 connections", "4 connections"}},
		{s.URL("pkg"), nil, exitNoSource, []string{"reachable     yes", "may read      no", "access denied", "--credentials FILE"}},
		{s.URL("pkg/absent"), []string{"--credentials", credentials}, exitNoSource, []string{"reachable     yes", "may read      no", "mistake in the path"}},
		{s.URL("nowhere"), []string{"--credentials", credentials}, exitNoSource, []string{"reachable     yes", "no share nowhere"}},
		{"smb://" + free.Addr().String() + "/pkg", nil, exitNoSource, []string{"reachable     no", "firewall"}},
		{"smb://u:hunter2@h/pkg", nil, exitUsage, []string{"password"}},
	} {
		code, said := runHere(t, append([]string{"origin", "test", c.url, "--no-peers", "--seconds", "50ms"}, c.args...)...)
		if code != c.code {
			t.Errorf("%s: exit %d, want %d", c.url, code, c.code)
		}
		for _, s := range c.says {
			if !strings.Contains(said, s) {
				t.Errorf("%s: %q is not in what was said:\n%s", c.url, s, said)
			}
		}
		if strings.Contains(said, "hunter2") {
			t.Errorf("the password is shown:\n%s", said)
		}
	}
	_, said := runHere(t, "origin", "test", s.URL("pkg"), "--no-peers", "--json", "--seconds", "2s", "--credentials", credentials)
	var found api.OriginFindings
	if err := json.Unmarshal([]byte(said), &found); err != nil || found.Dialect != "3.1.1" || len(found.Rates) != 3 || found.Rates[0] == 0 || found.Bytes != 4<<20 {
		t.Errorf("%v, %s", err, said)
	}
}

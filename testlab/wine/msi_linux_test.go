package wine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"handout/agent/api"
	"handout/testlab/nginx"
)

const (
	installed = `C:\Program Files\handout\handout.exe`
	data      = `C:\ProgramData\handout`
)

// TestMSI: an admin installs the MSI without a word on screen; a package that is pushed from a Linux machine arrives, from
// the web server and from the neighbour; a new version of the MSI takes the place of the old one and fetches nothing again; then all
// is removed but what was fetched.
func TestMSI(t *testing.T) {
	s := open(t, 2)
	push := filepath.Join(s.dir, "push")
	s.here("keygen", "--no-password", "-o", push)

	// A Linux agent. Nobody tells either of the other.
	config := filepath.Join(s.dir, "agent.toml")
	s.check(os.WriteFile(config, fmt.Appendf(nil, "trust = [%q]\nstate_dir = %q\ncache_dir = %q\n[site]\nname = \"room\"\n[push]\nkeys = [%q]\n",
		s.pkg.Trust, filepath.Join(s.dir, "state"), filepath.Join(s.dir, "cache"), push+".pub"), 0o644))
	agent := s.on(s.linux[0], "agent", "run", "--config", config)
	log, err := os.Create(filepath.Join(s.dir, "agent.log"))
	s.check(err)
	defer log.Close()
	agent.Stderr = log
	_, err = s.linux[0].Start(agent)
	s.check(err)

	// The config that the admin's tools spread knows who may push; the rest is said at installation.
	s.check(os.MkdirAll(s.win.Path(data), 0o755))
	key, err := os.ReadFile(push + ".pub")
	s.check(err)
	lines := strings.Split(strings.TrimSpace(string(key)), "\n")
	s.check(os.WriteFile(s.win.Path(data+`\agent.toml`), fmt.Appendf(nil, "log = %q\n[push]\nkeys = [%q]\n", data+`\agent.log`, strings.TrimSpace(lines[len(lines)-1])), 0o644))
	s.check(os.Mkdir(s.win.Path(`C:\lab`), 0o755))
	s.check(copyFile(s.pkg.Trust, s.win.Path(`C:\lab\lab.pub`)))
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := os.ReadFile(s.win.Path(data + `\agent.log`))
			t.Logf("the log of the agent on Windows:\n%s", out)
		}
	})
	s.msiexec("/i", msis[0], "SITE=room", `TRUST=C:\lab\lab.pub`, "ORIGIN_CONNECTIONS=3")
	s.running("1.0.0")

	// The door: who may ask is told by the token that lies beside its address.
	if out, err := s.ask("limit", "--up", "20MB/s"); err != nil {
		t.Errorf("limit: %v: %s", err, out)
	}
	if out, err := s.ask("pause"); err != nil {
		t.Errorf("pause: %v: %s", err, out)
	}
	if now := s.status(); !now.Paused || now.UpLimit != 20_000_000 || now.Site != "room" {
		t.Errorf("after limit and pause: %+v", now)
	}
	if out, err := s.ask("resume"); err != nil {
		t.Errorf("resume: %v: %s", err, out)
	}

	// They have found each other by mDNS before anything is pushed.
	s.until("the two agents are members of one site", func() bool { return s.status().Members == 2 })
	out, err := s.handout(s.linux[0], "push", s.pkg.Manifest, "--key", push+".key", "--to", s.linux[0].Addr.String(), "--site", "room")
	if err != nil {
		t.Fatalf("push: %v: %s", err, out)
	}
	arrived := func() bool {
		now := s.status()
		return len(now.Packages) == 1 && now.Packages[0].Done == now.Packages[0].Total && now.Packages[0].Pushed != nil && now.Packages[0].Total > 0
	}
	s.until("the package is on Windows", arrived)
	tree := s.win.Path(data + `\cache\tree`)
	s.until("the folder stands", func() bool { _, err := os.Stat(tree); return err == nil })
	s.same(tree)
	s.until("it is on Linux", func() bool { _, err := os.Stat(filepath.Join(s.dir, "cache", "tree")); return err == nil })
	s.same(filepath.Join(s.dir, "cache", "tree"))
	now := s.status()
	t.Logf("Windows: %.1f MB from the origin, %.1f from the neighbour, %.1f to it", float64(now.FromOrigin)/1e6, float64(now.FromPeers)/1e6, float64(now.ToPeers)/1e6)
	if now.FromOrigin == 0 || now.FromPeers == 0 || now.ToPeers == 0 {
		t.Errorf("Windows had %d bytes from the origin and %d from its neighbour, and gave it %d", now.FromOrigin, now.FromPeers, now.ToPeers)
	}
	carried, err := s.carried()
	s.check(err)
	t.Logf("the origin carried %.2f copies", float64(carried)/treeBytes)
	if carried > treeBytes*3/2 {
		t.Errorf("the origin carried %d bytes of %d", carried, treeBytes)
	}

	s.msiexec("/i", msis[1])
	s.running("1.1.0")
	s.until("the new version knows what the old one had", arrived)
	s.same(tree)
	if now := s.status(); now.FromOrigin+now.FromPeers > 0 || now.Site != "room" || now.UpLimit != 20_000_000 {
		t.Errorf("after the upgrade: %+v", now)
	}
	if again, err := s.carried(); err != nil || again-carried > 1<<20 {
		t.Errorf("the origin carried %d bytes more (%v)", again-carried, err)
	}

	s.msiexec("/x", msis[1])
	if out, err := s.win.Run(s.ctx, "sc", "query", "handout"); err == nil {
		t.Errorf("the service is still there: %s", out)
	}
	if _, err := os.Stat(s.win.Path(installed)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the program is still there: %v", err)
	}
	s.same(tree) // nobody said PURGE=1
}

// msiexec installs or removes without a word.
func (s *story) msiexec(what, msi string, properties ...string) {
	s.Helper()
	out, err := s.win.Run(s.ctx, "msiexec", append([]string{what, `Z:` + strings.ReplaceAll(msi, "/", `\`), "/qn"}, properties...)...)
	if err != nil {
		s.Fatalf("msiexec %s %s: %v: %s", what, filepath.Base(msi), err, out)
	}
	s.Logf("msiexec %s %s\n%s", what, filepath.Base(msi), out)
}

// running waits for the service, and for the agent of this version to answer.
func (s *story) running(version string) {
	s.Helper()
	s.until("the service of "+version+" runs", func() bool {
		out, err := s.win.Run(s.ctx, "sc", "query", "handout")
		if err == nil && strings.Contains(out, "STOPPED") {
			s.Fatalf("the service has ended: %s", out)
		}
		return err == nil && strings.Contains(out, "RUNNING")
	})
	s.until("the agent answers", func() bool { _, err := s.ask("status"); return err == nil })
	if now := s.status(); !strings.Contains(now.Version, version) {
		s.Errorf("the agent has version %q", now.Version)
	}
}

// ask runs a verb of the installed program.
func (s *story) ask(verb string, args ...string) (string, error) {
	return s.win.Run(s.ctx, installed, append([]string{verb}, args...)...)
}

func (s *story) status() (now api.Status) {
	s.Helper()
	out, err := s.ask("status", "--json")
	if err == nil {
		err = json.NewDecoder(bytes.NewReader([]byte(out))).Decode(&now)
	}
	if err != nil {
		s.Fatalf("status: %v: %s", err, out)
	}
	return now
}

// carried is what the web server has sent, in bytes.
func (s *story) carried() (int64, error) {
	all, err := s.server.Requests()
	return nginx.Carried(all), err
}

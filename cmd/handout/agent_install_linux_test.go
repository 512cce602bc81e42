package main

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// mostExposed is what systemd-analyze may give the unit, from 0 to 10. What is left is that it uses the network.
const mostExposed = 1.5

// unitAsInstalled is the unit, for a program that is there: systemd-analyze looks for it.
func unitAsInstalled(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze: make deps")
	}
	file := filepath.Join(t.TempDir(), "handout.service")
	text := strings.Replace(unit, "/usr/bin/handout", "/bin/true", 1)
	text = strings.Replace(text, "handout agent", "agent", 1)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestUnitIsRight(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", unitAsInstalled(t)).CombinedOutput()
	if err != nil || strings.Contains(string(out), "handout.service:") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestUnitIsHardened(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", unitAsInstalled(t)).CombinedOutput()
	m := regexp.MustCompile(`Overall exposure level for handout.service: ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	exposed, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", m[0])
	if exposed > mostExposed {
		t.Errorf("exposed by %.1f, more than %.1f:\n%s", exposed, mostExposed, out)
	}
}

func TestDropIn(t *testing.T) {
	standard := defaultConfig()
	elsewhere := defaultConfig()
	elsewhere.CacheDir = "/data/50% cache"
	elsewhere.Packages = []packageConfig{{Manifest: "a", Dest: "/srv/win11"}, {Manifest: "b", Dest: "/srv/apps"}, {Manifest: "c", Dest: "/home/lab/x"}, {Manifest: "d"}}
	for _, c := range []struct {
		what, config string
		c            agentConfig
		want         string
	}{
		{"nothing differs", defaultConfigFile(), standard, ""},
		{"another config", "/opt/h.toml", standard, "ExecStart=\nExecStart=/usr/bin/handout agent run --config \"/opt/h.toml\"\n"},
		{"other folders", defaultConfigFile(), elsewhere, "ReadWritePaths=\"-/data/50%% cache\"\nReadWritePaths=\"-/srv\"\n" +
			"ReadWritePaths=\"-/home/lab\"\n# It is above some of these.\nProtectHome=read-only\n"},
	} {
		got := (&installation{config: c.config, c: c.c}).dropIn("/usr/bin/handout")
		if _, settings, ok := strings.Cut(got, "[Service]\n"); settings != c.want || ok != (c.want != "") {
			t.Errorf("%s:\n%s\nwant\n%s", c.what, got, c.want)
		}
	}
}

// TestFirewallProfile: the ports are the config's.
func TestFirewallProfile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "handout")
	in := &installation{c: agentConfig{PeerPort: 6000}}
	if err := in.writeProfile(file, ufwProfile); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "ports=6000:6001/tcp|6001/udp|5353/udp") {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestJournalPriority: the journal tells errors from the rest by how a line begins, and no stranger's text begins one.
func TestJournalPriority(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(byLevel(prefixed{&b, []byte("<6>")}, prefixed{&b, []byte("<4>")}, prefixed{&b, []byte("<3>")})).With("package", "p")
	log.Info("one")
	log.Warn("two", "said", "x\n<0>panic")
	log.Error("three")
	want := "<6>level=INFO msg=one package=p\n<4>level=WARN msg=two package=p said=x\\n<0>panic\n<3>level=ERROR msg=three package=p\n"
	if b.String() != want {
		t.Errorf("%q\nwant\n%q", b.String(), want)
	}
}

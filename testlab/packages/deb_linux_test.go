package packages

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain has the stories told only where they are asked for: they take minutes, a network, and root.
func TestMain(m *testing.M) {
	if os.Getenv("HANDOUT_PACKAGES") == "" {
		fmt.Println("the stories of an installation are not told here, but by: make test-packages")
		return
	}
	os.Exit(m.Run())
}

// make makes packages of a version and returns the one for this machine.
func makePackage(t *testing.T, dir, version, kind string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./cmd/packages", "-o", dir, "-version", version, kind)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", kind, err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*"+version+"*"+runtime.GOARCH+"."+kind))
	if err != nil || len(found) != 1 {
		t.Fatalf("made %v, %v", found, err)
	}
	return found[0]
}

// The same commit gives the same bytes, whoever makes them and when.
func TestSameBytesTwice(t *testing.T) {
	for _, kind := range []string{"deb", "rpm"} {
		var sums [2][32]byte
		for i := range sums {
			b, err := os.ReadFile(makePackage(t, t.TempDir(), "1.0.0", kind))
			if err != nil {
				t.Fatal(err)
			}
			sums[i] = sha256.Sum256(b)
		}
		if sums[0] != sums[1] {
			t.Errorf("two different .%s", kind)
		}
	}
}

// debian is a new Debian below a folder.
type debian struct {
	t    *testing.T
	root string
}

// newDebian makes one of the release this machine runs, from where its own packages come from.
func newDebian(t *testing.T) *debian {
	t.Helper()
	list := exec.CommandContext(t.Context(), "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("where packages come from: %v", err)
	}
	var mirror, release string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[2] == "main" && !strings.Contains(f[1], "-") && mirror == "" {
			mirror, release = f[0], f[1]
		}
	}
	if mirror == "" {
		t.Fatalf("no main of a release among\n%s", out)
	}
	d := &debian{t, filepath.Join(t.TempDir(), "debian")}
	boot := exec.CommandContext(t.Context(), "debootstrap", "--variant=minbase", release, d.root, mirror)
	if out, err := boot.CombinedOutput(); err != nil {
		t.Fatalf("debootstrap: %v\n%s", err, out[max(0, len(out)-2000):])
	}
	return d
}

// command is one that runs in it, with a /proc of its own.
func (d *debian) command(args ...string) *exec.Cmd {
	const enter = `mount -t proc proc "$0/proc" && exec chroot "$0" "$@"`
	cmd := exec.CommandContext(d.t.Context(), "unshare", append([]string{"--mount", "sh", "-c", enter, d.root}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	return cmd
}

// run runs a program in it, which must succeed.
func (d *debian) run(args ...string) string {
	d.t.Helper()
	out, err := d.command(args...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (d *debian) install(deb string) string {
	d.t.Helper()
	b, err := os.ReadFile(deb)
	if err == nil {
		err = os.WriteFile(filepath.Join(d.root, "tmp", "handout.deb"), b, 0o644)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return d.run("dpkg", "-i", "/tmp/handout.deb")
}

func (d *debian) has(path string) bool {
	_, err := os.Lstat(filepath.Join(d.root, path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.t.Fatal(err)
	}
	return err == nil
}

// agent runs the unit's command as the unit's user, until what is wanted is there.
func (d *debian) agent(until func() bool) {
	d.t.Helper()
	unit, err := os.ReadFile(filepath.Join(d.root, "usr/lib/systemd/system/handout.service"))
	if err != nil {
		d.t.Fatal(err)
	}
	var start string
	for line := range strings.Lines(string(unit)) {
		if s, ok := strings.CutPrefix(line, "ExecStart="); ok {
			start = strings.TrimSpace(s)
		}
	}
	cmd := d.command(append([]string{"setpriv", "--reuid=handout", "--regid=handout", "--clear-groups"}, strings.Fields(start)...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); !until() && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil || !until() {
		d.t.Fatalf("the agent: %v\n%s", err, &said)
	}
}

// A machine's life: the package comes, the agent fetches something, a newer version comes, the package goes, and at last
// everything that was its own.
func TestDebian(t *testing.T) {
	one := makePackage(t, t.TempDir(), "1.0.0", "deb")
	two := makePackage(t, t.TempDir(), "1.1.0", "deb")
	d := newDebian(t)
	t.Log(d.install(one))
	for _, made := range []string{"usr/bin/handout", "usr/lib/systemd/system/handout.service", "etc/handout/agent.toml", "var/lib/handout", "var/cache/handout"} {
		if !d.has(made) {
			t.Errorf("the package has not made %s", made)
		}
	}
	if got := d.run("handout", "version"); !strings.Contains(got, "1.0.0") {
		t.Errorf("it is %s", got)
	}

	d.run("sh", "-ec", `mkdir /srv/tree && echo content >/srv/tree/file && cd /etc/handout
		handout keygen --no-password -o lab && handout publish /srv/tree --origin /srv/tree --key lab.key -o /srv/tree.torrent`)
	config, err := os.OpenFile(filepath.Join(d.root, "etc/handout/agent.toml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(config, "\n[[package]]\nmanifest = \"/srv/tree.torrent\"\n")
	if err := config.Close(); err != nil {
		t.Fatal(err)
	}
	d.run("handout", "agent", "install", "--prepare", "--trust", "/etc/handout/lab.pub")
	here := func() bool { return d.has("var/cache/handout/tree/file") }
	d.agent(here)

	t.Log(d.install(two))
	if got := d.run("handout", "version"); !strings.Contains(got, "1.1.0") {
		t.Errorf("after the upgrade it is %s", got)
	}
	kept := func(when string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(d.root, "etc/handout/agent.toml"))
		if err != nil || !strings.Contains(string(text), "/srv/tree.torrent") || !here() || !d.has("var/lib/handout/audit.jsonl") {
			t.Errorf("after %s config, cache or state are not as they were: %v\n%s", when, err, text)
		}
	}
	kept("the upgrade")
	runs := false
	d.agent(func() bool { // the door is gone again with the agent
		runs = runs || d.has("var/lib/handout/door/agent.sock")
		return runs
	})

	d.run("dpkg", "-r", "handout")
	if d.has("usr/bin/handout") || d.has("usr/lib/systemd/system/handout.service") {
		t.Error("after removal the program or its unit is there")
	}
	kept("removal")
	d.run("dpkg", "-P", "handout")
	for _, own := range []string{"etc/handout", "var/lib/handout", "var/cache/handout", "etc/systemd/system/handout.service.d"} {
		if d.has(own) {
			t.Errorf("after the purge %s is there", own)
		}
	}
	if !d.has("srv/tree/file") {
		t.Error("the purge took what is not its own")
	}
}

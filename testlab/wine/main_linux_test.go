package wine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"handout/testlab/cli"
	"handout/testlab/lab"
	"handout/testlab/nginx"
	"handout/testlab/payload"
	"handout/testlab/wine"
)

var (
	scratch string
	disk    *wine.Disk
	windows cli.Program
	linux   cli.Program
	msis    [2]string // two versions
)

// TestMain makes what all stories need. They take minutes and 2 GB, so that they are run only where they are asked for.
func TestMain(m *testing.M) {
	if os.Getenv("HANDOUT_WINE") == "" {
		fmt.Println("the stories of a room with Windows in it are not told here, but by: make test-windows")
		return
	}
	lab.Enter()
	os.Exit(func() int {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		var err error
		if scratch, err = os.MkdirTemp("", "handout-wine-"); err == nil {
			defer os.RemoveAll(scratch)
			err = prepare(ctx)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func prepare(ctx context.Context) error {
	var work sync.WaitGroup
	var errs [5]error
	work.Go(func() {
		windows, errs[0] = wine.Build(ctx, scratch, "1.0.0")
		// One after the other, as they build the same.
		msis[0], errs[3] = wine.Package(ctx, scratch, "1.0.0")
		msis[1], errs[4] = wine.Package(ctx, scratch, "1.1.0")
	})
	work.Go(func() { linux, errs[1] = cli.Build(ctx, scratch) })
	work.Go(func() { disk, errs[2] = wine.NewDisk(ctx, scratch) })
	work.Wait()
	return errors.Join(errs[:]...)
}

// story is a room under test: an origin with a web server, some Linux machines, and the last one with Windows.
type story struct {
	*testing.T
	ctx context.Context
	dir string // this story's own

	lab    *lab.Lab
	linux  []*lab.Machine
	win    *wine.Windows
	server *nginx.Server
	tree   string // the package's folder, at the origin
	pkg    cli.Package
}

const treeBytes = 16 << 20

func open(t *testing.T, hosts int) *story {
	t.Helper()
	if !nginx.Installed() {
		t.Fatal("needs nginx: make deps")
	}
	const limit = 4 * time.Minute
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, fmt.Errorf("the story took more than %v", limit))
	s := &story{T: t, ctx: ctx, dir: filepath.Join(scratch, t.Name())}
	s.check(os.Mkdir(s.dir, 0o755))
	var err error
	s.lab, err = lab.New(lab.Options{Hosts: hosts, Rate: 40 * lab.Mbit, OriginRate: 40 * lab.Mbit})
	s.check(err)
	s.linux = s.lab.Hosts[:hosts-1]
	s.Cleanup(func() {
		if s.win != nil {
			s.win.Close()
		}
		s.lab.Close()
		cancel()
		os.RemoveAll(s.dir)
	})
	s.win, err = disk.Boot(ctx, s.lab.Hosts[hosts-1], s.dir)
	s.check(err)

	s.tree = filepath.Join(s.dir, "www", "tree")
	s.check(os.MkdirAll(filepath.Dir(s.tree), 0o755))
	s.check(payload.Write(s.tree, 1, treeBytes))
	s.check(os.Remove(filepath.Join(s.tree, "boot", "current"))) // Wine makes no symlinks
	logs := filepath.Join(s.dir, "nginx")
	s.check(os.Mkdir(logs, 0o755))
	s.server, err = nginx.Start(ctx, s.lab.Origin, filepath.Dir(s.tree), logs)
	s.check(err)
	s.pkg = s.publish("1")
	return s
}

// publish signs what the tree is now, and puts the manifest where machines read it.
func (s *story) publish(version string) cli.Package {
	s.Helper()
	pkg := cli.Package{Manifest: filepath.Join(s.dir, "www", "package.torrent"), Trust: filepath.Join(s.dir, "lab.pub")}
	key := filepath.Join(s.dir, "lab")
	if _, err := os.Stat(key + ".key"); err != nil {
		s.here("keygen", "--no-password", "-o", key)
	}
	next := pkg.Manifest + ".new"
	s.here("publish", s.tree, "--origin", s.server.URL("tree"), "--key", key+".key", "--version", version, "-o", next)
	s.check(os.Rename(next, pkg.Manifest))
	return pkg
}

// here runs the Linux program where no machine of the lab is concerned.
func (s *story) here(args ...string) string {
	s.Helper()
	said, err := exec.CommandContext(s.ctx, string(linux), args...).CombinedOutput()
	if err != nil {
		s.Fatalf("handout %s: %v: %s", strings.Join(args, " "), err, said)
	}
	return string(said)
}

func (s *story) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// machine is what runs handout, on either system.
type machine interface {
	Start(*exec.Cmd) (*lab.Process, error)
}

// on is handout's command for a machine.
func (s *story) on(m machine, args ...string) *exec.Cmd {
	if m == machine(s.win) {
		return s.win.Command(s.ctx, string(windows), args...)
	}
	return exec.CommandContext(s.ctx, string(linux), args...)
}

// handout runs it on the machine until it ends, and returns what it said.
func (s *story) handout(m machine, args ...string) (string, error) {
	cmd := s.on(m, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	p, err := m.Start(cmd)
	if err != nil {
		return "", err
	}
	err = p.Wait()
	return said.String(), err
}

// same holds a tree of the Windows machine, or another, against the origin's.
func (s *story) same(dir string) {
	s.Helper()
	c, err := payload.Compare(s.tree, dir)
	s.check(err)
	for _, d := range c.Differs {
		// The one thing that Wine has no place for: it shows what others may do as its own files have it.
		if !strings.HasPrefix(dir, s.dir+"/prefix") || !strings.Contains(d, ": is -rw") && !strings.Contains(d, ": is drw") && !strings.Contains(d, ": is -r-") {
			s.Errorf("%s: %s", dir, d)
		}
	}
	if c.Files != c.Content || c.Files < 40 {
		s.Errorf("%s: %d files, %d with the right content", dir, c.Files, c.Content)
	}
}

// until asks again until the answer is yes.
func (s *story) until(what string, is func() bool) {
	s.Helper()
	for !is() {
		select {
		case <-s.ctx.Done():
			s.Fatalf("wait until %s: %v", what, context.Cause(s.ctx))
		case <-time.After(300 * time.Millisecond):
		}
	}
}

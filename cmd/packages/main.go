// Packages makes what handout is installed from: .deb and .rpm for Linux, an MSI for Windows, all from one version.
//
//	go run ./cmd/packages [-o dist] [-version 1.2.3] [deb rpm msi]
//
// It is a program of its own beside the one that it packs, so that nothing an installation needs to be made gets into what runs on
// every machine: nfpm is run at a fixed version and does not stand in go.mod, wixl and osslsigncode are programs of the system. The
// files that only packages have lie here in files/; the unit and the firewall profiles belong to the program, which installs them
// itself where no package does (cmd/handout/service).
//
// The same commit gives the same bytes: the clock is SOURCE_DATE_EPOCH, the commit's time where it isn't set, and what wixl
// makes up at random or takes from the clock is put in its place afterwards (msi.go).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
}

// kinds are what can be made, in this order.
var kinds = []struct {
	name string
	make func(*maker) error
}{
	{"deb", func(m *maker) error { return m.linux("deb") }},
	{"rpm", func(m *maker) error { return m.linux("rpm") }},
	{"msi", (*maker).windows},
}

// maker makes packages of one version.
type maker struct {
	ctx     context.Context
	dir     string // for what is made
	scratch string
	version version
	epoch   time.Time
	signing signing
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("packages", flag.ContinueOnError)
	dir := flags.String("o", "dist", "write to `DIR`")
	given := flags.String("version", "", "`VERSION` such as 1.2.3, instead of what git says")
	if err := flags.Parse(args); err != nil {
		return err
	}
	wanted := flags.Args()
	for _, w := range wanted {
		if !slices.ContainsFunc(kinds, func(k struct {
			name string
			make func(*maker) error
		}) bool {
			return k.name == w
		}) {
			return fmt.Errorf("no packages of kind %q can be made", w)
		}
	}
	m := &maker{ctx: ctx, dir: *dir, signing: signingFrom(os.Getenv)}
	var err error
	if m.version, err = versionOf(*given, m.git); err != nil {
		return err
	}
	if m.epoch, err = m.clock(); err != nil {
		return err
	}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	if m.scratch, err = os.MkdirTemp("", "handout-packages-"); err != nil {
		return err
	}
	defer os.RemoveAll(m.scratch)
	for _, k := range kinds {
		if len(wanted) > 0 && !slices.Contains(wanted, k.name) {
			continue
		}
		if err := k.make(m); err != nil {
			return fmt.Errorf("make %s: %w", k.name, err)
		}
	}
	return nil
}

// clock is the time that packages carry.
func (m *maker) clock() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		var err error
		if text, err = m.git("log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, err
		}
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func (m *maker) git(args ...string) (string, error) {
	out, err := exec.CommandContext(m.ctx, "git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// program builds handout for a system, in the scratch folder.
func (m *maker) program(goos, goarch string) (string, error) {
	name := "handout"
	if goos == "windows" {
		name += ".exe"
	}
	to := filepath.Join(m.scratch, goos+"-"+goarch, name)
	cmd := m.command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+m.version.text, "-o", to, "./cmd/handout")
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build for %s/%s: %w", goos, goarch, err)
	}
	return to, os.Chtimes(to, m.epoch, m.epoch)
}

// command is a program whose clock is the package's.
func (m *maker) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(m.ctx, name, args...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+strconv.FormatInt(m.epoch.Unix(), 10), "TZ=UTC", "LC_ALL=C.UTF-8")
	cmd.Stderr = os.Stderr
	return cmd
}

// needs says which Debian package a missing program is in.
func needs(program, pkg string) error {
	if _, err := exec.LookPath(program); errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s is not here: install the Debian package %s", program, pkg)
	}
	return nil
}

package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"syscall"

	"handout/agent/atomicfile"
)

const (
	serviceUser = "handout"
	serviceName = "handout.service"
	unitDir     = "/etc/systemd/system"
)

//go:embed service/handout.service
var unit string

//go:embed service/ufw.profile
var ufwProfile string

//go:embed service/firewalld.xml
var firewalldService string

func mayInstall() error {
	if os.Geteuid() == 0 {
		return nil
	}
	return advisedError{errors.New("this needs root"), "Try it with sudo."}
}

func programPlace() string { return "/usr/local/bin/handout" }

func isProgramPlace(program string) bool {
	return strings.HasPrefix(program, "/usr/") || strings.HasPrefix(program, "/opt/")
}

// install is idempotent: what is there already is set as it should be.
func (in *installation) install() error {
	program, err := in.place()
	if err != nil {
		return err
	}
	uid, gid, err := ensureUser()
	if err != nil {
		return err
	}
	for _, dir := range in.own() {
		if err := in.ownFolder(dir, uid, gid); err != nil {
			return err
		}
	}
	for _, path := range []string{in.config, filepath.Join(filepath.Dir(in.config), "site.key")} {
		if err := guard(path, gid); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := in.writeUnit(program); err != nil {
		return err
	}
	in.adviseOnShared(uid, gid)
	if in.prepare {
		return nil
	}
	in.openFirewall()
	if !systemdRuns() {
		in.say("systemd does not run here: the service starts at the next boot, if it runs then")
		return systemctl("enable", "--quiet", serviceName)
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", "--quiet", serviceName}, {"restart", serviceName}} {
		if err := systemctl(args...); err != nil {
			return advisedError{err, "Why is in the journal: journalctl -u handout"}
		}
	}
	in.say("the service handout runs, as user %s", serviceUser)
	return nil
}

func systemdRuns() bool {
	_, err := os.Stat("/run/systemd/system") // sd_booted(3)
	return err == nil
}

func systemctl(args ...string) error { return command("systemctl", args...) }

func command(program string, args ...string) error {
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, printable(strings.TrimSpace(string(out))))
	}
	return nil
}

// ensureUser makes the service's user if need be. It is never removed: files elsewhere may be its own, and the next user would
// get its number.
func ensureUser() (uid, gid int, err error) {
	u, err := user.Lookup(serviceUser)
	if errors.As(err, new(user.UnknownUserError)) {
		err = command("useradd", "--system", "--user-group", "--home-dir", defaultStateDir(), "--no-create-home", "--shell", "/usr/sbin/nologin", serviceUser)
		if err == nil {
			u, err = user.Lookup(serviceUser)
		}
	}
	if err != nil {
		return 0, 0, fmt.Errorf("make the user %s: %w", serviceUser, err)
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return uid, gid, errors.Join(uidErr, gidErr)
}

// ownFolder makes a folder for the service. One that is there and has something in it is not given away.
func (in *installation) ownFolder(dir string, uid, gid int) error {
	mode := fs.FileMode(0o755)
	if dir == in.c.StateDir {
		mode = 0o750
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if int(info.Sys().(*syscall.Stat_t).Uid) == uid {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		in.say("%s belongs to somebody else and is not empty; if it is the agent's: chown -R %s: %s", dir, serviceUser, dir)
		return nil
	}
	return errors.Join(os.Chown(dir, uid, gid), os.Chmod(dir, mode))
}

// writeUnit writes the unit, if no package has, and what this machine has beside it.
func (in *installation) writeUnit(program string) error {
	own := filepath.Join(unitDir, serviceName)
	if packagedUnit(program) {
		if err := os.Remove(own); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a lone binary that was here before
			return err
		}
	} else {
		text := strings.Replace(unit, "/usr/bin/handout", program, 1)
		if err := os.MkdirAll(unitDir, 0o755); err != nil {
			return err
		}
		if err := atomicfile.Write(own, []byte(text), 0o644); err != nil {
			return err
		}
	}
	dir := own + ".d"
	text := in.dropIn(program)
	if text == "" {
		return removeDropIn(dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, dropInName), []byte(text), 0o644)
}

// dropInName is the drop-in that is ours; others beside it are the admin's.
const dropInName = "10-handout.conf"

func removeDropIn(dir string) error {
	err := os.Remove(filepath.Join(dir, dropInName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	os.Remove(dir) // if it is empty
	return err
}

// packagedUnit reports whether a package has brought the unit, for this program.
func packagedUnit(program string) bool {
	if program != "/usr/bin/handout" {
		return false
	}
	for _, dir := range []string{"/usr/lib/systemd/system", "/lib/systemd/system"} {
		if _, err := os.Stat(filepath.Join(dir, serviceName)); err == nil {
			return true
		}
	}
	return false
}

// dropIn is what the unit lacks for this machine's config: another config file, and folders that are written to. "": nothing.
func (in *installation) dropIn(program string) string {
	var b strings.Builder
	if in.config != defaultConfigFile() {
		fmt.Fprintf(&b, "ExecStart=\nExecStart=%s agent run --config %s\n", program, unitText(in.config))
	}
	home := false
	for _, dir := range append(in.own(), in.shared()...) {
		if dir == defaultStateDir() || dir == defaultCacheDir() {
			continue
		}
		// It may not be there yet, or be a mount that comes later.
		fmt.Fprintf(&b, "ReadWritePaths=%s\n", unitText("-"+dir))
		for _, h := range []string{"/home", "/root", "/run/user"} {
			home = home || dir == h || strings.HasPrefix(dir, h+"/")
		}
	}
	if home {
		b.WriteString("# It is above some of these.\nProtectHome=read-only\n")
	}
	if b.Len() == 0 {
		return ""
	}
	return "# By handout agent install, from " + strconv.Quote(in.config) + ": it is written anew each time.\n[Service]\n" + b.String()
}

// unitText is a word in a unit (systemd.syntax(7), systemd.unit(5)).
func unitText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$", "\n", `\n`).Replace(s) + `"`
}

// adviseOnShared names the folders in which the service cannot make a tree appear. Whose they are is not ours to change.
func (in *installation) adviseOnShared(uid, gid int) {
	for _, dir := range in.shared() {
		info, err := os.Stat(dir)
		if err == nil {
			st := info.Sys().(*syscall.Stat_t)
			mode := info.Mode().Perm()
			if int(st.Uid) == uid && mode&0o200 != 0 || int(st.Gid) == gid && mode&0o020 != 0 || mode&0o002 != 0 {
				continue
			}
		}
		in.say("the service cannot write in %s, where packages are wanted: give them a folder of their own (install -d -o %s /srv/handout), or: setfacl -m u:%s:rwx %s",
			dir, serviceUser, serviceUser, dir)
	}
}

// remove leaves nothing in the system but files.
func (in *installation) remove() error {
	if systemdRuns() {
		systemctl("disable", "--quiet", "--now", serviceName) // an error: it is not there
	} else {
		systemctl("disable", "--quiet", serviceName)
	}
	in.closeFirewall()
	own := filepath.Join(unitDir, serviceName)
	if err := os.Remove(own); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := removeDropIn(own + ".d"); err != nil {
		return err
	}
	if systemdRuns() {
		if err := systemctl("daemon-reload"); err != nil {
			return err
		}
	}
	in.say("the service handout is removed")
	return nil
}

// makeConfigDir makes the folder of the config.
func makeConfigDir(dir string) error { return os.MkdirAll(dir, 0o755) }

// writeGuarded writes a file that only root and the service may read: a config may hold passwords.
func (in *installation) writeGuarded(path string, content []byte) error {
	_, gid, err := ensureUser()
	if err != nil {
		return err
	}
	return atomicfile.Fill(path, 0o600, func(f *os.File) error {
		_, err := f.Write(content)
		return errors.Join(err, f.Chown(0, gid), f.Chmod(0o640))
	})
}

func guard(path string, gid int) error {
	return errors.Join(os.Lchown(path, 0, gid), os.Chmod(path, 0o640))
}

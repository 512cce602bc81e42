package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"handout/agent/atomicfile"
)

// Installation. Packages only put files into place and call these two verbs, which do the rest through the system's own means
// (agent_install_linux.go, agent_install_windows.go): so a package, an MSI and a lone binary leave a machine in the same state.
// Installing again is the way to make a changed config count: the folders it names are opened to the service.

// installation is what a machine becomes.
type installation struct {
	config  string      // the file
	c       agentConfig // what is in it
	prepare bool        // nothing is switched on or started
	say     func(format string, args ...any)
}

func (a *app) agentInstallCommand() *cobra.Command {
	var file string
	var prepare bool
	var given []string
	values := map[string]*[]string{}
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Make the agent a service of this machine, and start it",
		Long: `install makes the agent a service that starts with the machine, under a user of its own with no more rights than it needs
(systemd: handout; Windows: NT SERVICE\handout), and opens the firewall's ports for it. It needs root, or an administrator.

The settings that are given are written into the config. A public key becomes part of it, a site's key is copied beside it, so
that both may come from a share. Do it again after a change of the folders that the config names: they are opened to the
service, and it is started again.`,
		Example: `  handout agent install --trust lab.pub --site room12 --site-key room12.site
  handout agent install`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(cmd *cobra.Command, _ []string) error {
			if err := mayInstall(); err != nil {
				return err
			}
			if file == "" {
				file = defaultConfigFile()
			}
			in := &installation{prepare: prepare, say: func(format string, args ...any) { fmt.Fprintf(a.out, format+"\n", args...) }}
			var err error
			if in.config, err = filepath.Abs(file); err != nil {
				return err
			}
			for _, s := range installSettings {
				for _, v := range *values[s.key] {
					if v != "" { // an MSI gives every flag, most without a value
						given = append(given, s.key)
						break
					}
				}
			}
			if err := in.configure(given, values); err != nil {
				return err
			}
			return in.install()
		}),
	}
	cmd.Flags().StringVar(&file, "config", "", "the agent's config `FILE` (default "+defaultConfigFile()+")")
	cmd.Flags().BoolVar(&prepare, "prepare", false, "for packages and images: make user, folders and rights, but start nothing, now or at boot, and leave the firewall alone")
	for _, s := range installSettings {
		values[s.key] = cmd.Flags().StringArray(s.flag, nil, s.about)
	}
	return cmd
}

func (a *app) agentRemoveCommand() *cobra.Command {
	var file string
	var purge bool
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "Make the agent no service any more",
		Long: `remove stops the service and takes it from the system, with what was set for it: its firewall rules, its event source. The
program, the config, the cache and the state stay, so that an agent that is installed again goes on. --purge removes them too
(not the program), as far as they lie in their default folders.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(cmd *cobra.Command, _ []string) error {
			if err := mayInstall(); err != nil {
				return err
			}
			if file == "" {
				file = defaultConfigFile()
			}
			in := &installation{config: file, c: defaultConfig(), say: func(format string, args ...any) { fmt.Fprintf(a.out, format+"\n", args...) }}
			if err := in.c.readFile(file); err != nil {
				in.c = defaultConfig() // what is installed must be removable with any config
			}
			if err := in.remove(); err != nil || !purge {
				return err
			}
			return in.purge()
		}),
	}
	cmd.Flags().StringVar(&file, "config", "", "the agent's config `FILE` (default "+defaultConfigFile()+")")
	cmd.Flags().BoolVar(&purge, "purge", false, "remove config, cache and state too")
	return cmd
}

// installSettings are what can be set at installation.
var installSettings = []struct{ key, flag, about string }{
	{"site.name", "site", "`NAME` of the site"},
	{"site.key", "site-key", "`FILE` with the site's key; it is copied beside the config"},
	{"site.origin_connections", "origin-connections", "connections to the origin of the whole site, at most `K`"},
	{"trust", "trust", "a publisher's public key: `FILE` or the one line itself; repeatable, or with commas"},
	{"cache_dir", "cache-dir", "`DIR` for packages without a dest"},
	{"state_dir", "state-dir", "`DIR` for what must outlive a restart"},
}

// configHead is what a config begins with that installation made.
const configHead = `# The agent's config. "handout config reference" prints every setting there is, "handout config check" says whether this is right.
# When the folders it names have changed, let "handout agent install" open them to the service.
`

// configure makes the config, with the settings given, and reads it. One that is there keeps all else.
func (in *installation) configure(given []string, values map[string]*[]string) error {
	text, err := os.ReadFile(in.config)
	if errors.Is(err, os.ErrNotExist) {
		text = []byte(configHead)
	} else if err != nil {
		return err
	}
	before := text
	if err := makeConfigDir(filepath.Dir(in.config)); err != nil {
		return err
	}
	for _, key := range given {
		value, err := in.configValue(key, *values[key])
		if err != nil {
			return err
		}
		text = setInConfig(text, key, value)
	}
	if err != nil || string(before) != string(text) {
		if err := in.writeGuarded(in.config, text); err != nil {
			return err
		}
	}
	in.c = defaultConfig()
	if err := in.c.readFile(in.config); err != nil {
		if string(before) != string(text) {
			return errors.Join(err, in.writeGuarded(in.config, before))
		}
		return err
	}
	return in.absolute()
}

// absolute refuses folders that a service, which has no folder of its own, would look for elsewhere.
func (in *installation) absolute() error {
	for _, dir := range in.own() {
		if !filepath.IsAbs(dir) {
			return usagef("%s: %s is not an absolute path", in.config, dir)
		}
	}
	return nil
}

// configValue is a setting as TOML.
func (in *installation) configValue(key string, values []string) (string, error) {
	last := values[len(values)-1]
	switch key {
	case "trust":
		var lines []string
		for _, v := range values {
			keys, err := publicKeys(listFrom(v))
			if err != nil {
				return "", usageError{err}
			}
			for _, k := range keys {
				lines = append(lines, tomlText(k.String()))
			}
		}
		return "[" + strings.Join(lines, ", ") + "]", nil
	case "site.key":
		// From a share perhaps, which the service can't read, and not at every boot.
		if _, err := readSiteKey(last); err != nil {
			return "", err
		}
		text, err := os.ReadFile(last)
		if err != nil {
			return "", err
		}
		beside := filepath.Join(filepath.Dir(in.config), "site.key")
		return tomlText(beside), in.writeGuarded(beside, text)
	case "site.origin_connections":
		n, err := number(values[len(values)-1:], 8)
		if err != nil {
			return "", usagef("--origin-connections: %w", err)
		}
		return fmt.Sprint(n), nil
	}
	return tomlText(last), nil
}

// own are the folders that are the agent's alone.
func (in *installation) own() []string {
	dirs := []string{in.c.StateDir, in.c.CacheDir}
	if in.c.StageDir != "" {
		dirs = append(dirs, in.c.StageDir)
	}
	return dirs
}

// shared are the folders that the agent must be able to write to beside others: a tree grows beside its destination, and
// appears there by a rename.
func (in *installation) shared() (dirs []string) {
	add := func(dir string) {
		if dir = filepath.Clean(dir); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, p := range in.c.Packages {
		if p.Dest != "" && filepath.IsAbs(p.Dest) {
			add(filepath.Dir(p.Dest))
		}
	}
	if in.c.Log != "" && filepath.IsAbs(in.c.Log) {
		add(filepath.Dir(in.c.Log))
	}
	return dirs
}

// purge removes what the agent has kept, in the places that are its own by default: a folder that a config names may hold
// more than that.
func (in *installation) purge() error {
	defaults := []string{defaultStateDir(), defaultCacheDir(), filepath.Dir(defaultConfigFile())}
	for _, dir := range append(in.own(), filepath.Dir(in.config)) {
		if !slices.Contains(defaults, dir) {
			in.say("left as it is: %s", dir)
		}
	}
	var failed error
	for _, dir := range defaults {
		failed = errors.Join(failed, os.RemoveAll(dir))
	}
	return failed
}

// place is where the program is for the service: here, if only admins can change what is here, or a copy where that is so.
func (in *installation) place() (string, error) {
	program, err := os.Executable()
	if err != nil {
		program, err = exec.LookPath(os.Args[0]) // an image that is being made may have no /proc
	}
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if program, err = filepath.EvalSymlinks(program); err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if isProgramPlace(program) {
		return program, nil
	}
	to := programPlace()
	content, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return "", err
	}
	if err := atomicfile.Write(to, content, 0o644); err != nil {
		return "", err
	}
	in.say("copied to %s, where only admins may change it", to)
	return to, os.Chmod(to, 0o755)
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"handout/agent"
	"handout/agent/plan"
	"handout/agent/store"
	"handout/manifest"
)

// cacheFlags say which cache a verb is about: that of the config, or a folder.
type cacheFlags struct{ config string }

func (f *cacheFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "read the config from `FILE` (or $HANDOUT_CONFIG; default "+defaultConfigFile()+", if it is there)")
	for _, s := range settings {
		if s.key == "cache_dir" {
			cmd.Flags().StringArray(s.flag, nil, "the cache is `DIR`")
		}
	}
}

// load reads the config. A cache that is not there is the caller's mistake.
func (f *cacheFlags) load(cmd *cobra.Command) (agentConfig, error) {
	c, err := loadConfig(f.config, cmd.Flags())
	if err == nil {
		_, err = os.Stat(c.CacheDir)
	}
	return c, err
}

// hasCache reports whether the cache is there, or a package will lie in it.
func (c *agentConfig) hasCache() bool {
	_, err := os.Stat(c.CacheDir)
	return err == nil || c.takesPushes() || slices.ContainsFunc(c.Packages, func(p packageConfig) bool { return p.Dest == "" })
}

// cache is c's, for the agent package.
func (c *agentConfig) cache(trust manifest.Trust) (agent.Cache, error) {
	size, _, err := store.Disk(c.CacheDir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	named := c.namedDests()
	return agent.Cache{
		Named:  func(dest string) bool { return named[dest] },
		Dir:    c.CacheDir,
		Budget: plan.Budget{MaxBytes: c.Cache.MaxBytes.of(size), MinFree: c.Cache.MinFree.of(size)},
		Trust:  trust,
	}, err
}

// packageTitle is what an entry of the cache is called.
func packageTitle(e store.Entry) (name, version string) {
	m := e.Standing
	if m == nil {
		m = e.Growing
	}
	if m == nil {
		return filepath.Base(e.Dest), ""
	}
	return m.Name, m.Version
}

// showing is the trust of verbs that only show what is there: whose it is makes no difference.
var showing = manifest.Trust{AllowUnsigned: true}

// resolve finds the place in the cache that a person means by DIR or NAME.
func resolve(cacheDir, what string) (dest string, err error) {
	if abs, err := filepath.Abs(what); err == nil && strings.ContainsAny(what, `/\`) {
		return abs, nil
	}
	entries, err := store.List(cacheDir, showing)
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		if name, _ := packageTitle(e); name == what || filepath.Base(e.Dest) == what {
			found = append(found, e.Dest)
		}
	}
	slices.Sort(found)
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%s has no package %q: handout list shows what it has", cacheDir, what)
	case 1:
		return found[0], nil
	}
	return "", usagef("%q is %s: name one of these folders", what, strings.Join(found, " and "))
}

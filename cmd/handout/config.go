package main

import (
	"encoding"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"handout/agent"
	"handout/agent/api"
	"handout/agent/plan"
	"handout/manifest"
	"handout/sources/origin"
	"handout/sources/smborigin"
)

// agentConfig is what "agent run" obeys. Rising order: the defaults, the file, the environment, the flags. The tags are what
// "config reference" prints.
type agentConfig struct {
	PeerPort    uint16     `toml:"peer_port" about:"TCP port for neighbours, the one after it is for members of the site; 0: any free one"`
	Seeds       []seedAddr `toml:"seeds" about:"neighbours known beforehand: HOST or HOST:PORT"`
	Site        siteConfig `toml:"site"`
	Connections uint8      `toml:"connections" about:"connections of this machine to an origin, at most; 0: as many as the site may have"`
	EnoughSeeds uint8      `toml:"enough_seeds" about:"so many complete neighbours that deliver spare the origin; 0: 4"`
	CacheDir    string     `toml:"cache_dir" about:"packages without a dest go here"`
	StageDir    string     `toml:"stage_dir" about:"packages for network mounts are fetched there first; empty: to a folder in cache_dir"`
	StateDir    string     `toml:"state_dir" about:"what must outlive a restart"`
	Trust       []string   `toml:"trust" about:"whose packages are taken: public keys, or files with one"`
	API         string     `toml:"api" about:"the agent's door: host:port on loopback, with a token; empty: a socket in the state folder, on Windows any port"`
	Log         string     `toml:"log" about:"JSON lines go there; empty: readable lines to standard error"`
	Refresh     interval   `toml:"refresh" about:"how often manifests are read again"`

	Cache  cacheConfig  `toml:"cache"`
	Limits limitsConfig `toml:"limits"`
	Verify verifyConfig `toml:"verify"`

	Push    pushConfig        `toml:"push" about:"who may push packages to this machine"`
	Roots   map[string]string `toml:"roots" about:"folders that a push may name, beside the cache, such as apps = \"/srv/apps\""`
	Origins originsConfig     `toml:"origins"`

	Packages []packageConfig `toml:"package"`
	Accounts []accountConfig `toml:"account" about:"who this machine is on servers with shares, looked through in order"`

	accounts smborigin.Accounts // what they and the environment come to
}

type siteConfig struct {
	Name        string         `toml:"name" about:"machines of one name share the origin connections"`
	Key         string         `toml:"key" about:"a file that keygen --site wrote; empty: whoever is on the LAN may join"`
	Domain      string         `toml:"domain" about:"whose SRV record names neighbours; empty: this machine's search domains; none: not asked"`
	Connections uint8          `toml:"origin_connections" about:"connections to the origin of the whole site, the same on all machines; 0: 4"`
	Use         string         `toml:"origin_use" about:"auto, fallback, never or fastest; empty: auto"`
	CIDRs       []netip.Prefix `toml:"cidrs" about:"who is a neighbour; none: private addresses and this machine's own subnets"`
}

// cacheConfig is what cache_dir may take.
type cacheConfig struct {
	MaxBytes room `toml:"max_bytes" about:"of everything in it; none: whatever fits"`
	MinFree  room `toml:"min_free" about:"what must stay free on its disk"`
}

// limitsConfig is how fast the agent may be, where nobody decided otherwise while it ran.
type limitsConfig struct {
	Up   speed `toml:"up" about:"to neighbours, such as 20MB/s; none: no limit"`
	Down speed `toml:"down" about:"from neighbours and origins together"`
}

// verifyConfig is how what is here is read again.
type verifyConfig struct {
	Rate   speed    `toml:"rate" about:"what is here is read again, to find what the disk lost; none: it is not"`
	Period interval `toml:"period" about:"each package once in this time"`
}

// packageConfig is a package the agent keeps here.
type packageConfig struct {
	Manifest string   `toml:"manifest" about:"a file or an http(s) URL"`
	Name     string   `toml:"name" about:"the package's own name; empty: that of the first one that came: another package under the same manifest is refused"`
	Dest     string   `toml:"dest" about:"where the tree stands; empty: in cache_dir, under the tree's own name"`
	Reuse    []string `toml:"reuse" about:"folders that may have parts of it"`
	Priority string   `toml:"priority" about:"low, normal or high, empty is normal: a package waits while one above it arrives"`
	Follow   bool     `toml:"follow" about:"dest may be a symbolic link or a junction: the package goes to where it leads; false: a link is refused"`
	Replace  bool     `toml:"replace" about:"whatever stands at dest gives way; false: only what the agent itself put there"`
}

func defaultConfig() agentConfig {
	return agentConfig{
		PeerPort: agent.DefaultPeerPort,
		CacheDir: defaultCacheDir(),
		StateDir: defaultStateDir(),
		Refresh:  interval{10 * time.Minute},
		Verify:   verifyConfig{Rate: 20e6, Period: interval{30 * 24 * time.Hour}},
	}
}

// agent is c for the agent package.
func (c *agentConfig) agent(log *slog.Logger) (agent.Config, error) {
	seeds := make([]string, len(c.Seeds))
	for i, s := range c.Seeds {
		seeds[i] = s.text
	}
	config := agent.Config{
		PeerPort:     int(c.PeerPort),
		Seeds:        seeds,
		CIDRs:        c.Site.CIDRs,
		Connections:  int(c.Connections),
		EnoughSeeds:  int(c.EnoughSeeds),
		Installed:    true,
		StageDirs:    []string{c.stageDir()},
		Verify:       agent.Verify{BytesPerSec: int64(c.Verify.Rate), Period: c.Verify.Period.Duration},
		Origins:      c.origins(),
		CacheDir:     c.CacheDir,
		StateDir:     c.StateDir,
		AllowOrigins: c.Origins.Allow,
		Limits:       agent.Limits{Up: int64(c.Limits.Up), Down: int64(c.Limits.Down)},
		Log:          log,
	}
	var err error
	if config.Pushes, err = c.pushes(); err != nil {
		return config, err
	}
	site := c.siteFlags()
	return config, site.apply(&config)
}

// siteFlags are the settings of the site, as the flags of a fetch would say them.
func (c *agentConfig) siteFlags() siteFlags {
	return siteFlags{name: c.Site.Name, keyFile: c.Site.Key, domain: c.Site.Domain, connections: c.Site.Connections, use: c.Site.Use}
}

// stageDir is where trees for network mounts grow.
func (c *agentConfig) stageDir() string {
	if c.StageDir != "" {
		return c.StageDir
	}
	return filepath.Join(c.CacheDir, ".staging")
}

// trusted are the keys whose packages the agent takes.
func (c *agentConfig) trusted() ([]manifest.PublicKey, error) {
	keys, err := publicKeys(c.Trust)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 && len(c.Packages) > 0 && c.Push.RootKey == "" {
		return nil, usageError{advisedError{errors.New("the config trusts no key, and the agent takes no package unsigned"),
			`Put the publisher's public key into the config: trust = ["F.pub"]`}}
	}
	return keys, nil
}

// readFile lays the file over c. Every mistake is named with its line.
func (c *agentConfig) readFile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return usagef("read the config: %w", err)
	}
	wrong := decodeConfig(text, c)
	unread := len(wrong) > 0
	wrong = append(wrong, c.packageMistakes(lines(text, "[[package]]"), unread)...)
	wrong = append(wrong, c.accountMistakes(lines(text, "[[account]]"))...)
	if err := api.CheckAddress(c.API); err != nil {
		wrong = append(wrong, mistake{keyLine(text, "api"), fmt.Sprintf("api: %v", err)})
	}
	for _, w := range c.rootMistakes() {
		wrong = append(wrong, mistake{lineOf(text, "[roots]"), w})
	}
	if !plan.Use(c.Site.Use).Valid() {
		wrong = append(wrong, mistake{keyLine(text, "origin_use"), fmt.Sprintf("site.origin_use: %q is not auto, fallback, never or fastest", c.Site.Use)})
	}
	if len(wrong) > 0 {
		return usagef("%s: %s", path, mistakesText(wrong))
	}
	return nil
}

// packageMistakes says which packages cannot be kept as the config wants them. unread says that some of the file was not
// understood, so that what lacks may be there.
func (c *agentConfig) packageMistakes(at []int, unread bool) (wrong []mistake) {
	for i, p := range c.Packages {
		sameAs := func(q packageConfig) bool {
			return p.Manifest != "" && q.Manifest == p.Manifest || p.Dest != "" && q.Dest == p.Dest
		}
		say := func(format string, args ...any) {
			what := fmt.Sprintf("[[package]] number %d", i+1) + fmt.Sprintf(format, args...)
			wrong = append(wrong, mistake{lineFor(at, i), what})
		}
		if p.Manifest == "" && !unread {
			say(" has no manifest")
		}
		if p.Priority != "" && !slices.Contains(api.Priorities, api.Priority(p.Priority)) {
			say(": priority %q is not low, normal or high", p.Priority)
		}
		if slices.ContainsFunc(c.Packages[:i], sameAs) {
			say(" has the manifest or the dest of one before it")
		}
	}
	return wrong
}

// accountMistakes says which accounts cannot be used, and takes over those that can.
func (c *agentConfig) accountMistakes(at []int) (wrong []mistake) {
	for i, ac := range c.Accounts {
		a, err := ac.account()
		if err != nil {
			wrong = append(wrong, mistake{lineFor(at, i), fmt.Sprintf("[[account]] number %d: %v", i+1, err)})
		}
		c.accounts = append(c.accounts, a)
	}
	return wrong
}

// origins is c for opening origins.
func (c *agentConfig) origins() origin.Options { return origin.Options{Accounts: c.accounts} }

// lines are those, from 1 on, that hold such a heading.
func lines(text []byte, heading string) (at []int) {
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if strings.HasPrefix(strings.TrimSpace(line), heading) {
			at = append(at, n)
		}
	}
	return at
}

// keyLine is the first line that sets a key.
func keyLine(text []byte, key string) int {
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if name, _, ok := strings.Cut(line, "="); ok && strings.TrimSpace(name) == key {
			return n
		}
	}
	return 1
}

// lineOf is the first line that holds such a heading.
func lineOf(text []byte, heading string) int {
	if at := lines(text, heading); len(at) > 0 {
		return at[0]
	}
	return 1
}

// lineFor is the line of the ith table; 0: inline tables have none of their own.
func lineFor(at []int, i int) int {
	if i >= len(at) {
		return 0
	}
	return at[i]
}

// readVariables lays the environment over c.
func (c *agentConfig) readVariables(look func(string) string) error {
	accounts, err := accountsFrom(look)
	if err != nil {
		return err
	}
	c.accounts = append(append(accounts, c.accounts...), lastAccounts(look)...)
	var wrong []error
	for _, s := range settings {
		name := "HANDOUT_" + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
		if value := look(name); value != "" {
			if err := s.set(c, listFrom(value)); err != nil {
				wrong = append(wrong, usagef("%s: %w", name, err))
			}
		}
	}
	return errors.Join(wrong...)
}

// settings are the keys of the file that a variable or a flag can set as well. A list in a variable is separated by
// commas.
var settings = []struct {
	key, flag, about string
	set              func(c *agentConfig, values []string) error
}{
	{"peer_port", "port", "TCP `PORT` for neighbours; 0: any free one", func(c *agentConfig, v []string) error {
		n, err := number(v, 16)
		c.PeerPort = uint16(n)
		return err
	}},
	{"seeds", "seed", "`HOST[:PORT]` of a neighbour known beforehand; repeatable", func(c *agentConfig, v []string) error {
		c.Seeds = make([]seedAddr, len(v))
		for i, s := range v {
			if err := c.Seeds[i].UnmarshalText([]byte(s)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"site.cidrs", "cidr", "`NETWORK` that neighbours are in, such as 10.20.0.0/16; repeatable", func(c *agentConfig, v []string) error {
		c.Site.CIDRs = make([]netip.Prefix, len(v))
		for i, s := range v {
			if err := c.Site.CIDRs[i].UnmarshalText([]byte(s)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"site.name", "site", "`NAME` of the site; machines of one name share the origin connections", func(c *agentConfig, v []string) error { return one(&c.Site.Name, v) }},
	{"site.key", "site-key", "`FILE` with the site's key", func(c *agentConfig, v []string) error { return one(&c.Site.Key, v) }},
	{"site.domain", "site-domain", "`DOMAIN` whose record SRV _handout._tcp names neighbours; none: not asked", func(c *agentConfig, v []string) error { return one(&c.Site.Domain, v) }},
	{"site.origin_connections", "origin-connections", "connections to the origin of the whole site, at most `K`", func(c *agentConfig, v []string) error {
		n, err := number(v, 8)
		c.Site.Connections = uint8(n)
		return err
	}},
	{"site.origin_use", "origin-use", "auto, fallback, never or fastest", func(c *agentConfig, v []string) error { return one(&c.Site.Use, v) }},
	{"connections", "connections", "connections of this machine to the origin, at most `N`", func(c *agentConfig, v []string) error {
		n, err := number(v, 8)
		c.Connections = uint8(n)
		return err
	}},
	{"enough_seeds", "enough-seeds", "`N` complete neighbours spare the origin", func(c *agentConfig, v []string) error {
		n, err := number(v, 8)
		c.EnoughSeeds = uint8(n)
		return err
	}},
	{"cache_dir", "cache-dir", "`DIR` for packages without a dest", func(c *agentConfig, v []string) error { return one(&c.CacheDir, v) }},
	{"stage_dir", "stage-dir", "packages for network mounts are fetched to `DIR` first, then moved", func(c *agentConfig, v []string) error { return one(&c.StageDir, v) }},
	{"state_dir", "state-dir", "`DIR` for what must outlive a restart", func(c *agentConfig, v []string) error { return one(&c.StateDir, v) }},
	{"cache.max_bytes", "cache-max-bytes", "the cache may take `SIZE`, such as 200GB or 50%; 0: whatever fits", func(c *agentConfig, v []string) error {
		return sized(&c.Cache.MaxBytes, v)
	}},
	{"cache.min_free", "cache-min-free", "the cache leaves `SIZE` of its disk free, such as 20GB or 10%", func(c *agentConfig, v []string) error {
		return sized(&c.Cache.MinFree, v)
	}},
	{"verify.rate", "verify-rate", "read what is here again, at `RATE`, such as 20MB/s; 0: never", func(c *agentConfig, v []string) error {
		return oneText(&c.Verify.Rate, v)
	}},
	{"verify.period", "verify-period", "read each package again every `DURATION`, such as 30d", func(c *agentConfig, v []string) error {
		return oneText(&c.Verify.Period, v)
	}},
	{"trust", "trust", "a publisher's public key: `FILE` or the one line itself; repeatable", func(c *agentConfig, v []string) error {
		c.Trust = v
		return nil
	}},
	{"push.keys", "push-key", "the public key of somebody whose orders are obeyed: `FILE` or the one line itself; repeatable", func(c *agentConfig, v []string) error {
		c.Push.Keys = v
		return nil
	}},
	{"push.root_key", "push-root-key", "the public key that signs the list of keys: `FILE` or the one line itself", func(c *agentConfig, v []string) error { return one(&c.Push.RootKey, v) }},
	{"push.floor", "push-floor", "refuse orders from before `DATE`, such as 2026-11-28", func(c *agentConfig, v []string) error { return oneText(&c.Push.Floor, v) }},
	{"roots", "root", "`NAME=FOLDER` that a push may name; repeatable", (*agentConfig).setRoots},
	{"origins.allow", "allow-origin", "read packages only beneath `URL`; repeatable", func(c *agentConfig, v []string) error {
		c.Origins.Allow = v
		return nil
	}},
	{"limits.up", "up", "give to neighbours at most `RATE`, such as 20MB/s", func(c *agentConfig, v []string) error { return oneText(&c.Limits.Up, v) }},
	{"limits.down", "down", "receive from neighbours and origins together at most `RATE`", func(c *agentConfig, v []string) error { return oneText(&c.Limits.Down, v) }},
	{"api", "api", "open the door for status and other verbs at `ADDRESS`, a port of the loopback such as 127.0.0.1:4749", func(c *agentConfig, v []string) error {
		if err := one(&c.API, v); err != nil {
			return err
		}
		return api.CheckAddress(c.API)
	}},
	{"log", "log", "write JSON lines to `FILE`", func(c *agentConfig, v []string) error { return one(&c.Log, v) }},
	{"refresh", "refresh", "read manifests again every `DURATION`", func(c *agentConfig, v []string) error {
		return oneText(&c.Refresh, v)
	}},
}

func one(to *string, values []string) error {
	if len(values) != 1 {
		return fmt.Errorf("one value is needed, not %d", len(values))
	}
	*to = values[0]
	return nil
}

func sized(to *room, values []string) error {
	var s string
	if err := one(&s, values); err != nil {
		return err
	}
	return to.UnmarshalText([]byte(s))
}

// oneText is one for what has a text of its own.
func oneText(to encoding.TextUnmarshaler, values []string) error {
	var s string
	if err := one(&s, values); err != nil {
		return err
	}
	return to.UnmarshalText([]byte(s))
}

func number(values []string, bits int) (uint64, error) {
	var s string
	if err := one(&s, values); err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number from 0 to %d", s, uint64(1)<<bits-1)
	}
	return n, nil
}

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"handout/agent"
	"handout/agent/orders"
	"handout/manifest"
)

// pushConfig is who may push to this machine.
type pushConfig struct {
	Keys    []string `toml:"keys" about:"whose orders are obeyed: public keys, or files with one; none, and no root_key: nobody's"`
	RootKey string   `toml:"root_key" about:"the public key, or a file with it, that signs the list of keys (handout keys)"`
	Floor   floor    `toml:"floor" about:"orders with a smaller serial are refused: the date this machine was installed, such as 2026-11-28"`
}

// originsConfig fences where packages may come from.
type originsConfig struct {
	Allow []string `toml:"allow" about:"a manifest's origins are read only beneath these: URLs or paths; none: all are"`
}

// floor is a serial below which orders are refused, written as a number, a date or a time (RFC 3339).
type floor uint64

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *floor) UnmarshalText(b []byte) error {
	s := string(b)
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		*f = floor(n)
		return nil
	}
	when, err := time.Parse(time.RFC3339, s)
	if err != nil {
		when, err = time.Parse(time.DateOnly, s)
	}
	if err != nil || when.Year() < 1970 {
		return fmt.Errorf("%q is no date (2026-11-28), time (2026-11-28T18:00:00Z) or serial", s)
	}
	*f = floor(serialAt(when))
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (f floor) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(f), 10), nil }

// serialAt is the serial of an order that is made at a time: two desks need nothing in common but a clock.
func serialAt(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 1)) }

// pushes are what the config says about orders.
func (c *agentConfig) pushes() (p agent.Pushes, err error) {
	var wrong [3]error
	if p.Rules.Push, err = publicKeys(c.Push.Keys); err != nil {
		wrong[0] = usageError{fmt.Errorf("push.keys: %w", err)}
	}
	p.Rules.Publish, wrong[1] = publicKeys(c.Trust)
	if c.Push.RootKey != "" {
		if p.Rules.Root, err = publicKeys([]string{c.Push.RootKey}); err != nil {
			wrong[2] = usageError{fmt.Errorf("push.root_key: %w", err)}
		}
	}
	if err := errors.Join(wrong[:]...); err != nil {
		return p, err
	}
	for _, k := range p.Rules.Root {
		if slices.ContainsFunc(p.Rules.Push, k.Equal) {
			return p, usagef("push.root_key is among push.keys: whoever pushes could then change who may")
		}
	}
	if len(p.Rules.Push) > 0 && len(p.Rules.Publish) == 0 && len(p.Rules.Root) == 0 {
		return p, usageError{advisedError{errors.New("the config says who may push and trusts no publisher, so no pushed package could be taken"),
			`Put the publisher's public key into the config: trust = ["F.pub"]`}}
	}
	p.Rules.Site, p.Rules.Floor = c.siteName(), uint64(c.Push.Floor)
	p.Roots = c.Roots
	return p, nil
}

// siteName is the site the machine belongs to.
func (c *agentConfig) siteName() string {
	if c.Site.Name == "" {
		return agent.DefaultSite
	}
	return c.Site.Name
}

// takesPushes reports whether anybody may push here.
func (c *agentConfig) takesPushes() bool { return len(c.Push.Keys) > 0 || c.Push.RootKey != "" }

// rootMistakes says which roots cannot be used.
func (c *agentConfig) rootMistakes() (wrong []string) {
	for name, dir := range c.Roots {
		switch {
		case !orders.IsRootName(name):
			wrong = append(wrong, fmt.Sprintf("roots: %q is no name: letters, digits, - and _", name))
		case !filepath.IsAbs(dir):
			wrong = append(wrong, fmt.Sprintf("roots.%s: %q is not an absolute path", name, dir))
		case filepath.Dir(filepath.Clean(dir)) == filepath.Clean(dir):
			wrong = append(wrong, fmt.Sprintf("roots.%s: %q is the whole disk", name, dir))
		}
	}
	slices.Sort(wrong)
	return wrong
}

// setRoots takes NAME=FOLDER from a variable or flags.
func (c *agentConfig) setRoots(values []string) error {
	c.Roots = map[string]string{}
	for _, v := range values {
		name, dir, ok := strings.Cut(v, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=FOLDER", v)
		}
		c.Roots[strings.TrimSpace(name)] = strings.TrimSpace(dir)
	}
	if wrong := c.rootMistakes(); len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// atRest is trust and what is named as an agent that does not run would have it: with the list of keys it has taken, and
// the packages that were pushed to it.
func (c *agentConfig) atRest(cache *agent.Cache) error {
	p, err := c.pushes()
	if err != nil {
		return err
	}
	if !c.takesPushes() {
		return nil
	}
	book, err := agent.OpenBook(c.StateDir, p.Rules)
	if err != nil {
		return err
	}
	here, err := agent.PushedHere(c.StateDir)
	if err != nil {
		return err
	}
	cache.Trust = manifest.Trust{Keys: append(slices.Clone(cache.Trust.Keys), book.Publishers()...)}
	named := cache.Named
	cache.Named = func(dest string) bool {
		_, pushed := here[dest]
		return pushed || named(dest)
	}
	return nil
}

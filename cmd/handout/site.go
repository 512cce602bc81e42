package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/spf13/cobra"

	"handout/agent"
	"handout/agent/plan"
)

// siteFlags are what fetch and agent run know of the site.
type siteFlags struct {
	name        string
	keyFile     string
	domain      string
	connections uint8
	enoughSeeds uint8
	use         string
}

func (s *siteFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&s.name, "site", "", "`NAME` of the site; machines of one name share the origin connections (default \"default\")")
	fs.StringVar(&s.keyFile, "site-key", "", "`FILE` with the site's key (handout keygen --site); without one whoever is on the LAN may join")
	fs.StringVar(&s.domain, "site-domain", "", "`DOMAIN` whose record SRV _handout._tcp names neighbours (default: this machine's search domains); none: not asked")
	fs.Uint8Var(&s.connections, "origin-connections", 0, "connections to the origin of the whole site, at most `K`; the same on all machines (default 4)")
	fs.Uint8Var(&s.enoughSeeds, "enough-seeds", 0, "so many seeds `M` that deliver spare the origin (default 4)")
	fs.StringVar(&s.use, "origin-use", string(plan.Auto), "auto, fallback (only where neighbours give nothing), never, or fastest")
}

// apply lays what was said over c.
func (s *siteFlags) apply(c *agent.Config) error {
	if s.name != "" {
		c.Site = s.name
	}
	switch s.domain {
	case "":
	case "none":
		c.Domains = []string{}
	default:
		c.Domains = []string{s.domain}
	}
	if s.connections != 0 {
		c.SiteConnections = int(s.connections)
	}
	if s.enoughSeeds != 0 {
		c.EnoughSeeds = int(s.enoughSeeds)
	}
	if use := plan.Use(s.use); use != "" {
		if !use.Valid() {
			return usagef("--origin-use %s: it is auto, fallback, never or fastest", printable(s.use))
		}
		c.OriginUse = use
	}
	if s.keyFile != "" {
		key, err := readSiteKey(s.keyFile)
		if err != nil {
			return err
		}
		c.SiteKey = key
	}
	return nil
}

const siteKeyBytes = 32

// readSiteKey reads what keygen --site wrote: one line of base64.
func readSiteKey(file string) ([]byte, error) {
	text, err := readNamed("site key", file)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != siteKeyBytes {
		return nil, usagef("%s is no site key: make one with handout keygen --site", file)
	}
	return key, nil
}

// siteKeygen writes a new site key to name.site.
func (a *app) siteKeygen(name string) error {
	key := make([]byte, siteKeyBytes)
	rand.Read(key)
	file := name + ".site"
	if err := writeNew(file, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(a.out, `%s  is the key of a site: whoever has it is a member. Copy it to its machines, readable by nobody else
Next: handout fetch PKG.torrent --site-key %s
`, file, file)
	return nil
}

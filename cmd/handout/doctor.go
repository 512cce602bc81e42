package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"handout/agent"
	"handout/agent/api"
	"handout/agent/store"
	"handout/manifest"
	"handout/sources/origin"
)

// doctorFlags are what the flags of doctor say, besides those it shares with agent run.
type doctorFlags struct {
	config  string
	account accountFlags
	dest    string
	origins []string
	json    bool
}

// errFindings: something is wrong with this machine, its network or an origin.
var errFindings = errors.New("something is wrong")

// doctorKeys are the settings that doctor obeys as agent run does.
var doctorKeys = []string{"peer_port", "seeds", "site.cidrs", "site.name", "site.key", "site.domain"}

func (a *app) doctorCommand() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [PKG.torrent|URL]",
		Short: "Tell why this machine stands alone, and what to do about it",
		Long: `doctor looks at what keeps a machine from its neighbours and from the origin, and says what to do about each finding:
multicast out and in, the name service, whether others can come in and are of the same site, the clock, the disk, whether the
keys that are trusted have signed the packages, who may push, and the origins of a package if one is named. It takes some six seconds.

It reads the agent's config, if there is one, and takes the same flags. Others must run for it to see much: an agent, or a
fetch. Exit code: 0 all is well, 1 something is wrong.`,
		Example: `  handout doctor
  handout doctor http://files.example/win11.torrent --seed depot.example`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(f.config, cmd.Flags())
			if err != nil {
				return err
			}
			return a.doctor(cmd.Context(), args, c, f)
		}),
	}
	f.account.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.config, "config", "", "read the config from `FILE` (or $HANDOUT_CONFIG; default "+defaultConfigFile()+", if it is there)")
	fs.StringVar(&f.dest, "dest", "", "`DIR` that is to be written (default: the agent's cache, or here)")
	fs.StringArrayVar(&f.origins, "origin", nil, "`URL` of an origin to look at as well; repeatable")
	fs.BoolVar(&f.json, "json", false, "one JSON object on standard output")
	for _, s := range settings {
		if slices.Contains(doctorKeys, s.key) {
			fs.StringArray(s.flag, nil, s.about)
		}
	}
	return cmd
}

// originTime is what reading from an origin may take.
const originTime = 5 * time.Second

func (a *app) doctor(ctx context.Context, packages []string, c agentConfig, f doctorFlags) error {
	keys := keyFindings(&c)
	config, err := c.agent(nil)
	if err != nil {
		return err
	}
	options, err := f.account.options(ctx, a, append(packages, f.origins...)...)
	if err != nil {
		return err
	}
	options.Accounts = append(options.Accounts, c.origins().Accounts...)
	for _, p := range c.Packages {
		packages = append(packages, p.Manifest)
	}
	found := []agent.Finding{clockFinding(time.Now()), a.diskFinding(c, f.dest)}
	found = append(append(found, asideFindings(c.StateDir)...), keys...)
	var trust, origins []agent.Finding
	var g sync.WaitGroup
	g.Go(func() {
		trust = trustFindings(ctx, c, packages, options)
		origins = originsFindings(ctx, packages, f.origins, options)
	})
	found = append(found, agent.Examine(ctx, config)...)
	g.Wait()
	found = append(found, trust...)
	found = append(found, origins...)
	if ctx.Err() != nil {
		return ended(ctx, ctx.Err())
	}
	return a.showFindings(found, f.json)
}

func (a *app) showFindings(found []agent.Finding, asJSON bool) error {
	wrong := 0
	for i, x := range found {
		found[i].What, found[i].Remedy = manifest.ShownIn(x.What), manifest.ShownIn(x.Remedy)
		if x.State == agent.Trouble {
			wrong++
		}
	}
	if asJSON {
		for i := range found {
			found[i].What = printable(found[i].What)
		}
		err := json.NewEncoder(a.out).Encode(struct {
			Findings []agent.Finding `json:"findings"`
			Wrong    int             `json:"wrong"`
		}{found, wrong})
		if err != nil {
			return err
		}
	} else {
		listFindings(a.out, found)
	}
	if wrong > 0 {
		return fmt.Errorf("%w: %s", errFindings, countText(wrong, "finding"))
	}
	return nil
}

func listFindings(w io.Writer, found []agent.Finding) {
	for _, x := range found {
		fmt.Fprintf(w, "%-8s %-10s %s\n", x.State, x.Check, printable(x.What))
		if x.Remedy != "" {
			fmt.Fprintf(w, "%20s%s\n", "", printable(x.Remedy))
		}
	}
}

// oldest is a day before which no handout was built. A clock that says less has lost its battery.
var oldest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func clockFinding(now time.Time) agent.Finding {
	f := agent.Finding{Check: "clock", State: agent.Fine, What: now.UTC().Format("2006-01-02 15:04:05 UTC")}
	if now.Before(oldest) {
		f.State, f.What = agent.Trouble, f.What+": that is before this program was built"
		f.Remedy = "Set the clock: certificates of servers and expiries of packages are judged by it."
	}
	return f
}

// spaceWorth is how little room on a disk is worth a word, in bytes.
const spaceWorth = 1 << 30

func (a *app) diskFinding(c agentConfig, dest string) agent.Finding {
	f := agent.Finding{Check: "disk", State: agent.Fine}
	if dest == "" {
		dest = "."
		if len(c.Packages) > 0 {
			dest = c.CacheDir
		}
	}
	free, there, err := store.Probe(dest)
	switch {
	case err != nil:
		f.State, f.What = agent.Trouble, fmt.Sprintf("%s cannot be written: %v", dest, err)
		f.Remedy = "Let this user write there, or choose another place with --dest."
	case free >= 0 && free < spaceWorth:
		f.State, f.What = agent.Trouble, fmt.Sprintf("%s has only %s left", there, sizeText(free))
		f.Remedy = "Make room, or choose another place with --dest."
	case free < 0:
		f.What = there + " can be written"
	default:
		f.What = fmt.Sprintf("%s can be written, %s free", there, sizeText(free))
	}
	return f
}

// originsFindings reads a little from every origin of the packages, and from those that were named.
func originsFindings(ctx context.Context, packages, named []string, o origin.Options) (found []agent.Finding) {
	ctx, cancel := context.WithTimeout(ctx, originTime)
	defer cancel()
	type place struct{ origin, pkg string }
	var places []place
	for _, url := range named {
		if len(packages) == 0 {
			places = append(places, place{url, ""})
		}
		for _, p := range packages {
			places = append(places, place{url, p})
		}
	}
	for _, p := range packages {
		m, err := untrusted(ctx, p, o)
		if err != nil {
			found = append(found, agent.Finding{Check: "origin", State: agent.Trouble, What: fmt.Sprintf("%s: %s", manifest.Shown(p), errorText(err)),
				Remedy: "Does the server answer, is the path right, is this a package?"})
			continue
		}
		for _, url := range m.Origins {
			places = append(places, place{url, p})
		}
	}
	lone, err := agent.New(agent.Config{NoPeers: true, Connections: 1, Origins: o})
	if err != nil {
		return append(found, agent.Finding{Check: "origin", State: agent.Trouble, What: errorText(err)})
	}
	defer lone.Close()
	for _, p := range places { // one connection at a time, as it is not counted among the site's
		found = append(found, originFinding(ctx, lone, p.origin, p.pkg, o))
	}
	return found
}

// untrusted opens a manifest whoever signed it: what it says is only tried here.
func untrusted(ctx context.Context, where string, o origin.Options) (*manifest.Manifest, error) {
	raw, err := readManifest(ctx, where, o)
	if err != nil {
		return nil, err
	}
	return manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
}

// originFinding reads a byte from an origin: of a file of the package, where one is given.
func originFinding(ctx context.Context, lone *agent.Agent, location, pkg string, o origin.Options) agent.Finding {
	t := api.OriginTest{Origin: location, Milliseconds: 1}
	if pkg != "" {
		if err := largestOf(ctx, pkg, o, &t); err != nil {
			return agent.Finding{Check: "origin", State: agent.Trouble, What: fmt.Sprintf("%s: %s", manifest.Shown(pkg), errorText(err))}
		}
		t.Bytes = min(t.Bytes, 1) // too little to take its rate
	}
	got, err := lone.TestOrigin(ctx, t)
	switch {
	case err != nil && got.Origin == "":
		return agent.Finding{Check: "origin", State: agent.Trouble, What: errorText(err)}
	case got.Error != "":
		return agent.Finding{Check: "origin", State: agent.Trouble, What: got.Origin + ": " + got.Error, Remedy: got.Advice}
	default:
		return agent.Finding{Check: "origin", State: agent.Fine, What: got.Origin + " can be read"}
	}
}

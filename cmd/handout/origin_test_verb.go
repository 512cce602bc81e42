package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"handout/agent"
	"handout/agent/api"
	"handout/manifest"
	"handout/sources/origin"
)

// originTestFlags are what the flags of origin test say.
type originTestFlags struct {
	site     siteFlags
	account  accountFlags
	agent    agentFlags
	seeds    []string
	cidrs    []string
	noPeers  bool
	asAgent  bool
	manifest string
	seconds  time.Duration
	json     bool
}

func (a *app) originCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "origin",
		Short: "Look at an origin",
		Args:  cobra.NoArgs,
		RunE:  a.verb(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.AddCommand(a.originTestCommand())
	return cmd
}

func (a *app) originTestCommand() *cobra.Command {
	var f originTestFlags
	cmd := &cobra.Command{
		Use:   "test URL",
		Short: "Tell whether an origin can be read from here, how fast, and what to change",
		Long: `test reads from an origin as fetch would, and says in a few seconds what an admin needs to know: is it reachable, who are
we there, may we read, how fast with one, two and four connections. Of a share it also tells the dialect, and whether
the server signs and encrypts.

From a share it picks a large file by itself. Elsewhere files cannot be listed: URL names one file, or --package a
package that lies there.

The machine joins the site for that time, and opens no more connections than the site has left. With --as-agent the
agent of this machine makes the test, which may be somebody else on the server.`,
		Example: `  handout origin test smb://files.example/images/win11 --credentials lab.cred
  sudo handout origin test smb://files.example/images/win11 --as-agent
  handout origin test http://files.example/win11 --package win11.torrent`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			if f.asAgent {
				for _, flag := range []string{"credentials", "keytab", "no-peers", "seed", "cidr", "site", "site-key", "site-domain", "origin-connections"} {
					if cmd.Flags().Changed(flag) {
						return usagef("--%s and --as-agent exclude each other: the agent's own settings count", flag)
					}
				}
			}
			return a.originTest(cmd.Context(), args[0], f)
		}),
	}
	f.site.add(cmd)
	f.account.add(cmd)
	f.agent.add(cmd)
	fs := cmd.Flags()
	fs.StringArrayVar(&f.seeds, "seed", nil, "`HOST[:PORT]` of a neighbour known beforehand; repeatable")
	fs.StringArrayVar(&f.cidrs, "cidr", nil, "`NETWORK` that neighbours are in, such as 10.20.0.0/16; repeatable")
	fs.BoolVar(&f.noPeers, "no-peers", false, "join no site: all connections are opened, whoever else reads from the origin")
	fs.BoolVar(&f.asAgent, "as-agent", false, "have the agent of this machine make the test, with its accounts")
	fs.StringVar(&f.manifest, "package", "", "read the largest file of the package whose manifest `PKG.torrent|URL` is")
	periodFlag(fs, &f.seconds, "seconds", time.Second, "read for so long with each number of connections, 5s at most")
	fs.BoolVar(&f.json, "json", false, "one JSON object on standard output")
	return cmd
}

func (a *app) originTest(ctx context.Context, location string, f originTestFlags) error {
	t := api.OriginTest{Origin: location, Milliseconds: f.seconds.Milliseconds()}
	options, err := f.account.options(ctx, a, location)
	if err != nil {
		return err
	}
	if f.manifest != "" {
		if err := largestOf(ctx, f.manifest, options, &t); err != nil {
			return ended(ctx, err)
		}
	}
	var found api.OriginFindings
	if f.asAgent {
		err = f.agent.withAgent(ctx, func(ctx context.Context, c *api.Client) (err error) {
			found, err = c.TestOrigin(ctx, t)
			return err
		})
		if p, ok := errors.AsType[*api.Problem](err); ok && p.Status == http.StatusBadRequest {
			err = usageError{err}
		}
	} else {
		found, err = f.test(ctx, t, options)
	}
	switch {
	case ctx.Err() != nil:
		return ended(ctx, err)
	case err != nil && found.Origin == "": // there was no test
		return err
	}
	if f.json {
		if err := json.NewEncoder(a.out).Encode(found); err != nil {
			return err
		}
	} else {
		printFindings(a.out, found)
	}
	if found.Error != "" {
		return advisedError{fmt.Errorf("%w: %s", agent.ErrNoSource, printable(found.Error)), found.Advice}
	}
	return nil
}

// test has an agent of its own make the test, which joins the site for that long.
func (f *originTestFlags) test(ctx context.Context, t api.OriginTest, options origin.Options) (found api.OriginFindings, err error) {
	fetch := fetchFlags{site: f.site, seeds: f.seeds, cidrs: f.cidrs, noPeers: f.noPeers, port: agent.DefaultPeerPort}
	config, err := fetch.config()
	if err != nil {
		return found, err
	}
	config.Origins = options
	ag, err := agent.New(config)
	if err != nil {
		return found, err
	}
	running := make(chan error, 1)
	runCtx, stop := context.WithCancel(ctx)
	go func() { running <- ag.Run(runCtx) }()
	defer func() {
		stop()
		<-running
	}()
	found, err = ag.TestOrigin(ctx, t)
	if errors.Is(err, api.ErrBadTest) {
		err = usageError{err}
	}
	return found, err
}

// largestOf has the test read the largest file of a package.
func largestOf(ctx context.Context, pkg string, options origin.Options, t *api.OriginTest) error {
	raw, err := readManifest(ctx, pkg, options)
	if err != nil {
		return err
	}
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true}) // what it says is only tried here
	if err != nil {
		return err
	}
	for _, file := range m.Files {
		if file.Length >= t.Bytes {
			t.File, t.Bytes = file.Path, file.Length
		}
	}
	if m.Single {
		t.File = ""
	}
	return nil
}

func printFindings(w io.Writer, f api.OriginFindings) {
	line := func(key, format string, args ...any) {
		fmt.Fprintf(w, "  %-13s %s\n", key, printable(fmt.Sprintf(format, args...)))
	}
	yes := map[bool]string{true: "yes", false: "no"}
	fmt.Fprintln(w, printable(f.Origin))
	if f.ConnectMS > 0 {
		line("reachable", "yes, in %.1f ms", f.ConnectMS)
	} else {
		line("reachable", "%s", yes[f.Reachable])
	}
	if f.Dialect != "" {
		line("dialect", "SMB %s", f.Dialect)
	}
	if f.As != "" {
		line("we are", "%s", f.As)
	}
	if f.Signed != nil && f.Encrypted != nil {
		line("signed", "%s", yes[*f.Signed])
		line("encrypted", "%s", yes[*f.Encrypted])
	}
	switch {
	case f.Readable && f.File != "":
		line("may read", "yes: %s, %s", f.File, sizeText(f.Bytes))
	case f.Readable && f.Bytes > 0:
		line("may read", "yes, %s", sizeText(f.Bytes))
	default:
		line("may read", "%s", yes[f.Readable])
	}
	if f.NoRanges {
		line("ranges", "no")
	}
	for i, rate := range f.Rates {
		if i < len(f.Connections) {
			line(countText(f.Connections[i], "connection"), "%s", rateText(rate))
		}
	}
	switch {
	case !f.Readable || f.Error != "":
	case f.Unrated:
		line("rate", "not taken: no file of %s or more is known (--package names one)", sizeText(1<<20))
	case f.Left:
		line("more", "not tried: other machines of the site have the other connections")
	}
	if f.Error == "" && f.Advice != "" {
		fmt.Fprintln(w, printable(f.Advice))
	}
}

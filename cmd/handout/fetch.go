package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"handout/agent"
	"handout/agent/store"
	"handout/manifest"
	"handout/sources/origin"
)

// fetchFlags are what fetch's flags say.
type fetchFlags struct {
	trust       trustFlags
	site        siteFlags
	account     accountFlags
	part        partFlags
	dest        string
	follow      bool // dest is where a link leads
	replace     bool
	repair      bool // what stands at dest, and is this package
	reuse       []string
	stage       string
	direct      bool
	origins     []string
	seeds       []string
	cidrs       []string
	noOrigin    bool
	noPeers     bool
	port        uint16
	portGiven   bool // that port or none
	connections uint8
	timeout     time.Duration
	linger      linger
	json        bool
	log         string
}

func (a *app) fetchCommand() *cobra.Command {
	var f fetchFlags
	cmd := &cobra.Command{
		Use:   "fetch PKG.torrent|URL",
		Short: "Fetch a package from its origin and the neighbours at once",
		Long: `fetch brings a package to this machine: from its origin and from the neighbours that have parts of it, both at once.
Nothing has to be installed. While it runs it gives what it has to the neighbours.

When it is done it stays for machines that start late, 30 seconds or as long as --linger says. Without --linger it goes at
once if it has met no other machine; --linger auto stays only while a neighbour lacks something.

The tree appears at its destination when all of it is here and checked, not before. A fetch that was interrupted goes
on where it was when it is run again.

A destination that can't be renamed is filled in place instead, its entries one by one at the end: the root of a volume, a
folder of an overlay's lower layer, the current directory, or a folder of one's own in one that may not be written to.
After a crash just then the next run finishes it. A symbolic link is followed only with --follow.

What of the package lies here already is not fetched: files, and parts of large files, of the tree that --replace
replaces and of the folders named with --reuse, whatever they are called there.

--include and --exclude fetch a part of the package: the tree then has the selected files and nothing else. The whole
fetched to the same place later needs --replace, and takes from the part what is there.

A destination on a network mount gets the package in order: it is fetched to this machine's disk, then copied, read back
and compared. Where no local disk has room for it, it is fetched to the mount itself, which is slower.`,
		Example: `  handout fetch http://files.example/win11.torrent --trust lab.pub --dest D:\win11`,
		Args:    cobra.ExactArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			f.portGiven = cmd.Flags().Changed("port")
			return a.fetch(cmd.Context(), args[0], f)
		}),
	}
	f.add(cmd, linger{defaultLinger, ifMet})
	f.part.add(cmd)
	cmd.Flags().StringVar(&f.dest, "dest", "", "`DIR` becomes the tree (default: the tree's own name, here)")
	cmd.Flags().BoolVar(&f.replace, "replace", false, "take the place of what stands at the destination")
	return cmd
}

// add gives cmd the flags that say where a package comes from and what is told of it. stay is how long it stays for
// others if nothing else is said.
func (f *fetchFlags) add(cmd *cobra.Command, stay linger) {
	f.trust.add(cmd)
	f.site.add(cmd)
	f.account.add(cmd)
	fs := cmd.Flags()
	fs.StringArrayVar(&f.reuse, "reuse", nil, "`DIR`, or a file, with parts of the package, an older version for example; repeatable")
	fs.StringVar(&f.stage, "stage", "", "fetch to this `DIR` first, then move the tree to its destination (default: only if that is on a network mount)")
	fs.BoolVar(&f.follow, "follow", false, "if the destination is a symbolic link or a junction, go to where it leads (default: refuse it)")
	fs.BoolVar(&f.direct, "direct", false, "fetch straight to the destination, even if it is on a network mount")
	fs.StringArrayVar(&f.origins, "origin", nil, "`URL` of the tree, tried before the package's own origins; repeatable")
	fs.StringArrayVar(&f.seeds, "seed", nil, "`HOST[:PORT]` of a neighbour known beforehand; repeatable")
	fs.StringArrayVar(&f.cidrs, "cidr", nil, "`NETWORK` that neighbours are in, such as 10.20.0.0/16, and the network cards to look on; repeatable (default: private addresses and this machine's own subnets)")
	fs.BoolVar(&f.noOrigin, "no-origin", false, "take it from neighbours only")
	fs.BoolVar(&f.noPeers, "no-peers", false, "take it from the origin only; look for no neighbours and give them nothing")
	fs.Uint16Var(&f.port, "port", agent.DefaultPeerPort, "TCP `PORT` for neighbours; 0: any (default: that one, or any if it is taken)")
	fs.Uint8Var(&f.connections, "connections", 0, "connections to the origin, at most `N` (default 4)")
	periodFlag(fs, &f.timeout, "timeout", 0, "give up after this time, 0: never")
	f.linger = stay
	fs.Var(&f.linger, "linger", "when done, stay for machines that start late, for `TIME`; auto: only while a neighbour lacks something, 30s at most, auto:10m: 10m at most")
	fs.BoolVar(&f.json, "json", false, "one JSON object per line on standard output")
	fs.StringVar(&f.log, "log", "", "write the log to `FILE`, as JSON lines (default: warnings to standard error)")
}

// fetch brings one package here, in the agent's engine and one process.
func (a *app) fetch(ctx context.Context, where string, f fetchFlags) (err error) {
	r := a.newReporter(f.json)
	defer func() {
		r.close()
		if err != nil {
			r.failed(err)
		}
	}()
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, f.timeout, errTimedOut)
		defer cancel()
	}
	config, err := f.config()
	if err != nil {
		return err
	}
	if config.Origins, err = f.account.options(ctx, a, append([]string{where}, f.origins...)...); err != nil {
		return err
	}
	m, err := a.fetchManifest(ctx, where, f.trust, config.Origins, r)
	if err != nil {
		return err
	}
	only, err := f.part.of(m)
	if err != nil {
		return err
	}
	dest := f.dest
	if dest == "" {
		dest = m.Root
	}
	at, err := whither(dest, f.follow)
	if err != nil {
		return advise(ctx, err, f.repair)
	}
	log, closeLog, err := openLog(f.log, newRemarks(r, slog.LevelWarn))
	if err != nil {
		return err
	}
	defer closeLog()
	config.Log = log

	began := time.Now()
	ag, err := agent.New(config)
	if err != nil {
		return advise(ctx, err, f.repair)
	}
	if port := ag.PeerPort(); !f.noPeers && config.AnyPort && port != config.PeerPort {
		r.notice(fmt.Sprintf("TCP port %d is taken here; neighbours reach this machine at port %d", config.PeerPort, port))
	}
	running := make(chan error, 1)
	runCtx, stop := context.WithCancel(ctx)
	go func() { running <- ag.Run(runCtx) }()
	defer func() {
		stop()
		<-running
	}()

	result, err := ag.Fetch(ctx, m, at, agent.FetchOptions{
		Origins:  f.origins,
		NoOrigin: f.noOrigin,
		Replace:  f.replace,
		Repair:   f.repair,
		Only:     only,
		Reuse:    f.reuse,
		Stage:    f.stage,
		Direct:   f.direct,
		Wait:     f.timeout,
		Progress: r.progress,
	})
	if err != nil {
		return advise(ctx, err, f.repair)
	}
	stay := f.linger.after(ag)
	r.published(time.Since(began), stay)
	stay.wait(ctx, ag)
	r.done(outcome{result, ag.Totals().ToPeers, dest, f.repair})
	return nil
}

// whither is where a destination is: dest itself, or where it leads as a link, if that is to be followed.
func whither(dest string, follow bool) (string, error) {
	_, err := store.Follow(dest, false)
	if err == nil {
		return dest, nil
	}
	if !follow {
		return dest, err
	}
	return store.Follow(dest, true)
}

// config is the agent these flags ask for.
func (f *fetchFlags) config() (agent.Config, error) {
	c := agent.Config{
		PeerPort:    int(f.port),
		AnyPort:     !f.portGiven,
		NoPeers:     f.noPeers,
		Seeds:       f.seeds,
		Connections: int(f.connections),
	}
	if err := f.site.apply(&c); err != nil {
		return c, err
	}
	if f.stage != "" && f.direct {
		return c, usagef("--stage and --direct contradict each other")
	}
	if f.noOrigin && f.noPeers {
		return c, usagef("--no-origin and --no-peers together leave nothing to fetch from")
	}
	for _, s := range f.cidrs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return c, usagef("--cidr %s: it is a network such as 10.20.0.0/16", printable(s))
		}
		c.CIDRs = append(c.CIDRs, p.Masked())
	}
	for _, s := range f.seeds {
		if err := new(seedAddr).UnmarshalText([]byte(s)); err != nil {
			return c, usagef("--seed: %w", err)
		}
	}
	if f.noPeers {
		f.linger = linger{}
	}
	return c, nil
}

// fetchManifest reads and opens the manifest. One that has expired is used all the same: whoever typed the command
// asked for it.
func (a *app) fetchManifest(ctx context.Context, where string, f trustFlags, o origin.Options, r reporter) (*manifest.Manifest, error) {
	t, err := f.trust()
	if err != nil {
		return nil, err
	}
	raw, err := awaitManifest(ctx, where, o, r.waits)
	if err != nil {
		return nil, ended(ctx, err)
	}
	m, err := openTrusted(raw, where, t)
	if err != nil {
		return nil, err
	}
	if m.Expired(time.Now()) {
		r.notice(fmt.Sprintf("handout: warning: this package expired on %s; ask the publisher for a newer one", m.Expires.Format(time.DateTime)))
	}
	return m, nil
}

// advise adds to the error of a fetch, or of a repair, what whoever called can do about it.
func advise(ctx context.Context, err error, repair bool) error {
	switch {
	case ctx.Err() != nil:
		return advisedError{ended(ctx, err), "What is here so far is kept: run the same command again to go on."}
	case errors.Is(err, store.ErrLink):
		return advisedError{err, "To go to where it leads: --follow. To leave it: name another place."}
	case isOccupied(err) != nil && isOccupied(err).Same && !repair:
		return advisedError{err, "To fetch only what is wrong there: handout repair. To put the package there anew: --replace."}
	case errors.Is(err, store.ErrExists) && repair:
		return advisedError{err, "To remove what does not belong there: --replace."}
	case isOccupied(err) != nil:
		return advisedError{err, "--replace puts " + printable(isOccupied(err).Comes) + " there. To leave what is there: choose another place with --dest."}
	case errors.Is(err, store.ErrExists):
		return advisedError{err, "To put the package in its place: --replace. To leave it: choose another place with --dest."}
	case errors.Is(err, store.ErrInUse):
		return advisedError{err, "Close what uses it, then run the same command again: what was fetched is kept."}
	case errors.Is(err, agent.ErrOriginCorrupt):
		return advisedError{err, "The origin does not have what was published, or something on the way changes it. Publish the tree anew if it was meant to change,\n" +
			"or name a place that has it as it was: --origin URL. What is right is kept: the same command goes on with it."}
	case errors.Is(err, agent.ErrNoSource):
		return advisedError{err, "Name a place that has it: --origin URL, or a machine that has it: --seed HOST."}
	case errors.Is(err, agent.ErrPortInUse):
		return advisedError{err, "Without --port a free one is taken."}
	default:
		return err
	}
}

func isOccupied(err error) *store.Occupied {
	o, _ := errors.AsType[*store.Occupied](err)
	return o
}

func (a *app) newReporter(asJSON bool) reporter {
	if asJSON {
		return &jsonReporter{out: a.out, err: a.err, every: time.Second}
	}
	return &textReporter{meter: newMeter(a.err), out: a.out}
}

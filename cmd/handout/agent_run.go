package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"handout/agent"
	"handout/agent/api"
	"handout/agent/atomicfile"
	"handout/manifest"
)

func (a *app) agentRunCommand() *cobra.Command {
	var file string
	var service bool
	var child childFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Fetch the packages the config names, and give them to neighbours, until stopped",
		Long: `run stays. It fetches every package its config names, gives what it has to the neighbours, and reads the manifests
again from time to time to see whether there is something newer.

Every setting of the config can be given as a variable or a flag too: peer_port, HANDOUT_PEER_PORT, --port. A variable
counts more than the file, a flag more than both. A signal (Ctrl-C, SIGTERM) stops it; that is its ordinary end: exit 0.`,
		Example: `  handout agent run --config agent.toml

  # agent.toml
  trust = ["/etc/handout/lab.pub"]
  [[package]]
  manifest = "http://files.example/win11.torrent"
  dest = "/srv/win11"`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(cmd *cobra.Command, _ []string) error {
			load := func() (c agentConfig, log *slog.Logger, closeLog func(), err error) {
				if c, err = loadConfig(file, cmd.Flags()); err != nil {
					return c, nil, nil, err
				}
				if err := os.MkdirAll(c.StateDir, 0o755); err != nil {
					return c, nil, nil, fmt.Errorf("make the state folder: %w", err)
				}
				log, closeLog, err = agentLog(c.Log, service, a.err)
				return c, log, closeLog, err
			}
			if child.number >= 0 {
				ctx := onLeash(leashed(cmd.Context(), service), a.in)
				c, log, closeLog, err := load()
				if err == nil {
					defer closeLog()
					err = a.agentRun(ctx, c, child, log)
				}
				tellEnd(service, err)
				return err
			}
			return a.managed(cmd.Context(), service, func(ctx context.Context, m manager) error {
				c, log, closeLog, err := load()
				if err != nil {
					return err
				}
				defer closeLog()
				return a.supervise(ctx, c.StateDir, child.beat, m, log)
			})
		}),
	}
	cmd.Flags().StringVar(&file, "config", "", "read the config from `FILE` (or $HANDOUT_CONFIG; default "+defaultConfigFile()+", if it is there)")
	for _, s := range settings {
		cmd.Flags().StringArray(s.flag, nil, s.about)
	}
	cmd.Flags().BoolVar(&service, "service", false, "be a service of Windows (systemd says by itself that it manages this)")
	cmd.Flags().IntVar(&child.number, "child", -1, "")
	cmd.Flags().StringVar(&child.after, "child-after", "", "")
	cmd.Flags().DurationVar(&child.beat, "child-beat", defaultBeat, "")
	for _, f := range []string{"child", "child-after", "child-beat"} {
		cmd.Flags().MarkHidden(f)
	}
	return cmd
}

// loadConfig puts together the file, the environment and the flags. The error names all that is wrong; what is not counts in c.
func loadConfig(file string, flags *pflag.FlagSet) (agentConfig, error) {
	c := defaultConfig()
	file, err := configFile(file)
	if err != nil {
		return c, err
	}
	var wrong []error
	if file != "" {
		wrong = append(wrong, c.readFile(file))
	}
	wrong = append(wrong, c.readVariables(os.Getenv))
	for _, s := range settings {
		if !flags.Changed(s.flag) {
			continue
		}
		values, err := flags.GetStringArray(s.flag)
		if err == nil {
			err = s.set(&c, values)
		}
		if err != nil {
			wrong = append(wrong, usagef("--%s: %w", s.flag, err))
		}
	}
	return c, errors.Join(wrong...)
}

// configFile is the file to read, file being what a flag says; "": there is none.
func configFile(file string) (string, error) {
	if file == "" {
		file = os.Getenv("HANDOUT_CONFIG")
	}
	if file != "" {
		return file, nil
	}
	_, err := os.Stat(defaultConfigFile())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", usagef("look for the config: %w", err)
	}
	return defaultConfigFile(), nil
}

func (a *app) agentRun(ctx context.Context, c agentConfig, child childFlags, log *slog.Logger) error {
	keys, err := c.trusted()
	if err != nil {
		return err
	}
	atomicfile.Sweep(c.StateDir)
	if err := reportCrash(c.StateDir); err != nil {
		log.Warn("a crash would leave no report", "error", err)
	}
	journal := agent.OpenJournal(c.StateDir, log)
	defer journal.Close()

	log.Info("agent started", "packages", len(c.Packages), "version", versionText())
	defer log.Info("agent stopped")
	if child.after != "" {
		journal.Record(agent.Event{Kind: agent.EngineRestarted, Detail: child.after})
	}
	journal.Record(agent.Event{Kind: agent.Started, Detail: versionText()})
	defer journal.Record(agent.Event{Kind: agent.Stopped})
	return a.serve(ctx, c, manifest.Trust{Keys: keys}, journal, child, log)
}

// serve keeps the packages until ctx ends.
func (a *app) serve(ctx context.Context, c agentConfig, trust manifest.Trust, journal *agent.Journal, child childFlags, log *slog.Logger) error {
	config, err := c.agent(log)
	if err != nil {
		return err
	}
	config.Journal, config.Version, config.Restarts = journal, versionText(), int64(child.number)
	if c.hasCache() {
		if err := os.MkdirAll(c.CacheDir, 0o755); err != nil {
			return fmt.Errorf("make the cache folder: %w", err)
		}
		if config.Cache, err = c.cache(trust); err != nil {
			return err
		}
		tellResets(c.StateDir, c.CacheDir, log)
	}
	ag, err := agent.New(config)
	if err != nil {
		return err
	}
	door, err := api.Open(api.Options{Dir: doorDir(c.StateDir), Address: c.API, Machine: ag, Log: log})
	if err != nil {
		return errors.Join(err, ag.Close())
	}
	log.Info("open to neighbours", "peer_port", ag.PeerPort())
	runCtx, cancel := context.WithCancel(ctx)
	var keepers sync.WaitGroup
	// Not waited for: what is on its way through the locks of an agent that hangs never comes back.
	go life(runCtx, a.out, child.beat, func() {
		ag.Totals()
		ag.Site()
	})
	if err := ag.OpenCache(ctx); err != nil && ctx.Err() == nil {
		log.Warn("the cache can't be opened: only what the config names is given to neighbours", "error", err)
	}
	keepers.Go(func() {
		if err := door.Serve(runCtx); err != nil {
			log.Error("the agent's door is closed: status and other verbs get no answer until the next start", "error", err)
		}
	})
	for _, p := range c.Packages {
		k := &keeper{
			agent:    ag,
			pkg:      p,
			cacheDir: c.CacheDir,
			record:   filepath.Join(c.StateDir, recordName(p)),
			trust:    ag.Trust,
			refresh:  c.Refresh.Duration,
			origins:  config.Origins,
			log:      log.With("manifest", manifest.Shown(p.Manifest)),
		}
		keepers.Go(func() { k.run(runCtx) })
	}
	err = ag.Run(runCtx)
	cancel()
	keepers.Wait()
	if ctx.Err() != nil {
		err = nil // a signal is the ordinary end
	}
	return err
}

// agentLog is JSON lines in a file, or what the service manager keeps, or readable lines on standard error.
func agentLog(file string, service bool, stderr *os.File) (*slog.Logger, func(), error) {
	if file != "" {
		return openLog(file, nil)
	}
	if log, closeLog, err := serviceLog(service, stderr); log != nil || err != nil {
		return log, closeLog, err
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{ReplaceAttr: printableAttr})), func() {}, nil
}

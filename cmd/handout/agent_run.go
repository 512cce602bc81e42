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
	"handout/manifest"
)

func (a *app) agentRunCommand() *cobra.Command {
	var file string
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
			c, err := loadConfig(file, cmd.Flags())
			if err != nil {
				return err
			}
			if err := os.MkdirAll(c.StateDir, 0o755); err != nil {
				return fmt.Errorf("make the state folder: %w", err)
			}
			if child.number >= 0 {
				return a.agentRun(onLeash(cmd.Context(), a.in), c, child)
			}
			log, closeLog, err := agentLog(c.Log, a.err)
			if err != nil {
				return err
			}
			defer closeLog()
			return a.supervise(cmd.Context(), c.StateDir, log)
		}),
	}
	cmd.Flags().StringVar(&file, "config", "", "read the config from `FILE` (or $HANDOUT_CONFIG; default "+defaultConfigFile()+", if it is there)")
	for _, s := range settings {
		cmd.Flags().StringArray(s.flag, nil, s.about)
	}
	cmd.Flags().IntVar(&child.number, "child", -1, "")
	cmd.Flags().StringVar(&child.after, "child-after", "", "")
	cmd.Flags().MarkHidden("child")
	cmd.Flags().MarkHidden("child-after")
	return cmd
}

// loadConfig puts together the file, the environment and the flags.
func loadConfig(file string, flags *pflag.FlagSet) (agentConfig, error) {
	c := defaultConfig()
	file, err := configFile(file)
	if err != nil {
		return c, err
	}
	if file != "" {
		if err := c.readFile(file); err != nil {
			return c, err
		}
	}
	if err := c.readVariables(os.Getenv); err != nil {
		return c, err
	}
	for _, s := range settings {
		if !flags.Changed(s.flag) {
			continue
		}
		values, err := flags.GetStringArray(s.flag)
		if err == nil {
			err = s.set(&c, values)
		}
		if err != nil {
			return c, usagef("--%s: %w", s.flag, err)
		}
	}
	return c, nil
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

func (a *app) agentRun(ctx context.Context, c agentConfig, child childFlags) error {
	keys, err := c.trusted()
	if err != nil {
		return err
	}
	if err := reportCrash(c.StateDir); err != nil {
		return err
	}
	log, closeLog, err := agentLog(c.Log, a.err)
	if err != nil {
		return err
	}
	defer closeLog()
	journal, err := agent.OpenJournal(c.StateDir, log)
	if err != nil {
		return err
	}
	defer journal.Close()

	log.Info("agent started", "packages", len(c.Packages), "version", versionText())
	defer log.Info("agent stopped")
	if child.after != "" {
		journal.Record(agent.Event{Kind: agent.EngineRestarted, Detail: child.after})
	}
	journal.Record(agent.Event{Kind: agent.Started, Detail: versionText()})
	defer journal.Record(agent.Event{Kind: agent.Stopped})
	return serve(ctx, c, manifest.Trust{Keys: keys}, journal, int64(child.number), log)
}

// serve keeps the packages until ctx ends.
func serve(ctx context.Context, c agentConfig, trust manifest.Trust, journal *agent.Journal, restarts int64, log *slog.Logger) error {
	config, err := c.agent(log)
	if err != nil {
		return err
	}
	config.Journal, config.Version, config.Restarts = journal, versionText(), restarts
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
	if err := ag.OpenCache(ctx); err != nil && ctx.Err() == nil {
		log.Warn("the cache can't be opened: only what the config names is given to neighbours", "error", err)
	}
	runCtx, cancel := context.WithCancel(ctx)
	var keepers sync.WaitGroup
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
			origins:  c.origins(),
			log:      log.With("manifest", p.Manifest),
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

// agentLog is JSON lines in a file, or readable lines on standard error for a terminal and the journal.
func agentLog(file string, stderr *os.File) (*slog.Logger, func(), error) {
	if file != "" {
		return openLog(file, stderr)
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{ReplaceAttr: printableAttr})), func() {}, nil
}

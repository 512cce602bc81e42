package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"handout/agent/api"
)

// doorDir is the folder of the agent's door.
func doorDir(stateDir string) string { return filepath.Join(stateDir, "door") }

// agentFlags say which agent of this machine is meant: the one that keeps its state in a folder.
type agentFlags struct{ config, state string }

func (f *agentFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "the agent's config `FILE` (or $HANDOUT_CONFIG; default "+defaultConfigFile()+", if it is there)")
	cmd.Flags().StringVar(&f.state, "state-dir", "", "the agent's state `DIR`, rather than what its config says (or $HANDOUT_STATE_DIR)")
}

// stateDir is where that agent keeps its state. Nothing else of its config is looked at: who asks need not be able to
// read the files it names.
func (f *agentFlags) stateDir() (string, error) {
	if f.state != "" {
		return f.state, nil
	}
	if s := os.Getenv("HANDOUT_STATE_DIR"); s != "" {
		return s, nil
	}
	c := struct {
		StateDir string `toml:"state_dir"`
	}{defaultStateDir()}
	file, err := configFile(f.config)
	if err != nil || file == "" {
		return c.StateDir, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", usagef("read the config: %w", err)
	}
	if err := toml.NewDecoder(bytes.NewReader(text)).Decode(&c); err != nil {
		return "", usagef("%s: %w", file, err)
	}
	return c.StateDir, nil
}

// client is a way to that agent, which need not run.
func (f *agentFlags) client() (*api.Client, error) {
	dir, err := f.stateDir()
	if err != nil {
		return nil, err
	}
	c, err := api.Find(doorDir(dir))
	return c, adviseOnDoor(err)
}

// adviseOnDoor adds what to do where the agent can't be asked.
func adviseOnDoor(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, api.ErrNoAgent):
		return advisedError{err, "Start one with handout agent run; if it runs with a config or state folder of its own, name that with --config or --state-dir."}
	case errors.Is(err, fs.ErrPermission):
		return advisedError{fmt.Errorf("%w: %w", errClosedDoor, err),
			"Only the agent's own user and the machine's admins may speak to it: try with sudo, or as administrator."}
	}
	return err
}

// withAgent calls do with the agent's client.
func (f *agentFlags) withAgent(ctx context.Context, do func(context.Context, *api.Client) error) error {
	c, err := f.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return adviseOnDoor(do(ctx, c))
}

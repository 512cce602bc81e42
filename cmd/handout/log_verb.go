package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"handout/agent"
	"handout/agent/api"
)

func (a *app) logCommand() *cobra.Command {
	var f agentFlags
	var follow, asJSON bool
	cmd := &cobra.Command{
		Use:   "log",
		Short: "What has happened on this machine: packages, refusals, orders",
		Long: `log prints the agent's audit log, oldest first: starts and stops, packages fetched or not, pieces refused, trouble with
origins, and what operators decided. It reads the files in the agent's state folder, so the agent need not run. With
--follow it goes on with what happens, also across a restart of the agent, until it is interrupted.`,
		Example: `  sudo handout log
  sudo handout log --follow --json`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(cmd *cobra.Command, _ []string) error {
			dir, err := f.stateDir()
			if err != nil {
				return err
			}
			var last uint64
			show := func(e api.Event) bool {
				last = max(last, e.Seq)
				a.showEvent(e, asJSON)
				return true
			}
			if err := agent.ReadAudit(dir, show); errors.Is(err, fs.ErrPermission) {
				return adviseOnDoor(err)
			} else if err != nil {
				return fmt.Errorf("read the audit log: %w", err)
			}
			if !follow {
				return nil
			}
			return a.follow(cmd.Context(), &f, &last, show)
		}),
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&follow, "follow", false, "go on with what happens")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return cmd
}

func (a *app) showEvent(e api.Event, asJSON bool) {
	if asJSON {
		line, err := json.Marshal(e)
		if err != nil {
			panic(err) // a plain struct of plain values
		}
		fmt.Fprintf(a.out, "%s\n", line)
		return
	}
	fmt.Fprintf(a.out, "%s  %s\n", e.Time.Local().Format(time.DateTime), printable(e.Text))
}

// followAgain is how long to wait for an agent that has gone away: it may be restarting.
const followAgain = time.Second

// follow shows events until ctx ends. No agent at the start is an error, one that goes away is waited for.
func (a *app) follow(ctx context.Context, f *agentFlags, last *uint64, show func(api.Event) bool) error {
	for met := false; ; {
		err := f.withAgent(ctx, func(ctx context.Context, c *api.Client) error {
			if !met {
				if _, err := c.Status(ctx); err != nil {
					return err
				}
				met = true
			}
			return c.Follow(ctx, last, func(e api.Event) error {
				show(e)
				return nil
			})
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		gone := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, api.ErrNoAgent)
		if !met || !gone {
			return err
		}
		select {
		case <-time.After(followAgain):
		case <-ctx.Done():
		}
	}
}

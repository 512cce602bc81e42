package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"handout/agent/api"
)

func (a *app) pauseCommand() *cobra.Command {
	return a.pausing("pause", "Let the agent fetch and give nothing until resume",
		`pause makes the agent of this machine stop at once: nothing more of the package, or of any, is fetched or given to
neighbours until "handout resume". What is here stays, and the machine stays a member of its site.`, (*api.Client).Pause)
}

func (a *app) resumeCommand() *cobra.Command {
	return a.pausing("resume", "Let the agent go on after pause",
		"resume ends what pause began, for one package or for all.", (*api.Client).Resume)
}

func (a *app) pausing(verb, short, long string, do func(*api.Client, context.Context, string) (api.Status, error)) *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use:   verb + " [PKG]",
		Short: short,
		Long:  long + "\n\nPKG is the package's name, its info-hash or its destination.",
		Example: `  sudo handout ` + verb + `
  sudo handout ` + verb + ` win11`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			pkg := ""
			if len(args) > 0 {
				pkg = args[0]
			}
			return f.withAgent(cmd.Context(), func(ctx context.Context, c *api.Client) error {
				s, err := do(c, ctx, pkg)
				if err != nil {
					return err
				}
				writeStatus(a.out, s, time.Now())
				return nil
			})
		}),
	}
	f.add(cmd)
	return cmd
}

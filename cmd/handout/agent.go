package main

import "github.com/spf13/cobra"

func (a *app) agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "The agent that stays on a machine",
		Args:  cobra.NoArgs,
		RunE:  a.verb(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.AddCommand(a.agentRunCommand(), a.agentInstallCommand(), a.agentRemoveCommand())
	return cmd
}

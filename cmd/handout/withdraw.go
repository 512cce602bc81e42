package main

import (
	"github.com/spf13/cobra"

	"handout/agent/orders"
)

func (a *app) withdrawCommand() *cobra.Command {
	var d deskFlags
	var keyFile, expires string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "withdraw NAME",
		Short: "Take back what was pushed under this name",
		Long: `withdraw signs the order that a package is no longer to be kept up, and hands it to one agent of the site, which passes it
on. A fetch under way ends. Nothing is deleted: in the cache the package stays, and is given to neighbours, until its room is
needed; what stands beneath a root stays there. An older push does not come back, whoever kept it.

Exit code 11: the agent refused the order, and said why, or no agent that was asked knows a push of this name.`,
		Example: `  handout withdraw win11 --key push.key`,
		Args:    cobra.ExactArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			return a.order(cmd, &d, keyFile, expires, asJSON, orders.Order{Kind: orders.Withdraw, Name: args[0]}, nil)
		}),
	}
	d.add(cmd)
	addOrderFlags(cmd, &keyFile, &expires, &asJSON)
	return cmd
}

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"handout/agent/plan"
)

func (a *app) repairCommand() *cobra.Command {
	var f fetchFlags
	cmd := &cobra.Command{
		Use:   "repair DIR PKG.torrent|URL",
		Short: "Bring a folder back to what the package says, fetching only what is wrong",
		Long: `repair reads every file in DIR and fetches the pieces that are not as they were published: from neighbours first, from
the origin what no neighbour has. The repaired folder then takes the place of the old one, whole. Where nothing is
wrong nothing is written. Of a folder that can't be renamed, see handout help fetch, the files are exchanged one by one.

A folder that holds something the package does not have is left alone, unless --replace says that it may go.`,
		Example: `  handout repair /srv/win11 http://files.example/win11.torrent --trust lab.pub`,
		Args:    cobra.ExactArgs(2),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			f.portGiven = cmd.Flags().Changed("port")
			f.dest, f.repair = args[0], true
			if !cmd.Flags().Changed("origin-use") {
				f.site.use = string(plan.Fallback)
			}
			if _, err := os.Lstat(f.dest); err != nil {
				return fmt.Errorf("%w: nothing to repair; handout fetch brings the package", err)
			}
			return a.fetch(cmd.Context(), args[1], f)
		}),
	}
	f.add(cmd, linger{})
	cmd.Flags().BoolVar(&f.replace, "replace", false, "remove what the package does not have")
	return cmd
}

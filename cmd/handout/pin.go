package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"handout/agent/store"
)

func (a *app) pinCommand() *cobra.Command {
	var where cacheFlags
	var remove bool
	cmd := &cobra.Command{
		Use:   "pin DIR|NAME",
		Short: "Keep a package in the cache, however scarce the room becomes",
		Long: `pin keeps a package in the cache: it is never removed to make room for another. DIR is the folder of the package, NAME the
package's name. It counts at once, also for an agent that runs.`,
		Example: "  handout pin win11\n  handout pin win11 --remove",
		Args:    cobra.ExactArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			c, err := where.load(cmd)
			if err != nil {
				return err
			}
			dest, err := resolve(c.CacheDir, args[0])
			if err != nil {
				return err
			}
			err = store.Pin(dest, !remove)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: no agent keeps a package there", err)
			}
			if err != nil {
				return err
			}
			state := "pinned"
			if remove {
				state = "no longer pinned"
			}
			fmt.Fprintf(a.out, "%s: %s\n", printable(dest), state)
			return nil
		}),
	}
	where.add(cmd)
	cmd.Flags().BoolVar(&remove, "remove", false, "let it go again")
	return cmd
}

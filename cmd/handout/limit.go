package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"handout/agent/api"
	"handout/manifest/amount"
)

func (a *app) limitCommand() *cobra.Command {
	var f agentFlags
	var up, down, priority string
	cmd := &cobra.Command{
		Use:   "limit [--up RATE] [--down RATE] | limit PKG --priority PRIORITY",
		Short: "Change the agent's rates, or which package comes first, while it runs",
		Long: `limit changes how fast the agent of this machine gives to neighbours (--up) and receives from them and from origins
(--down). It counts at once, and until it is changed again, also after a restart. RATE is written like 20MB/s, 512KiB/s or
100Mbit/s; "none" is no limit, "config" what the config says. Without a flag the limits are shown.

With PKG, a package's name, info-hash or destination, it changes the package's priority: low, normal or high. A package waits
while one of a higher priority arrives; it is given to neighbours all the same.`,
		Example: `  sudo handout limit --up 20MB/s --down 100Mbit/s
  sudo handout limit --down none
  sudo handout limit win11 --priority high`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			var l api.LimitsRequest
			for _, o := range []struct {
				flag, text string
				to         **int64
			}{{"up", up, &l.Up}, {"down", down, &l.Down}} {
				if !cmd.Flags().Changed(o.flag) {
					continue
				}
				n, err := limitOrder(o.text)
				if err != nil {
					return usagef("--%s: %w", o.flag, err)
				}
				*o.to = &n
			}
			rates := l.Up != nil || l.Down != nil
			switch {
			case len(args) == 0 && cmd.Flags().Changed("priority"):
				return usagef("--priority is of a package: name it")
			case len(args) == 1 && (rates || priority == ""):
				return usagef("of a package, the priority can be changed, and nothing else: --priority low, normal or high")
			}
			return f.withAgent(cmd.Context(), func(ctx context.Context, c *api.Client) (err error) {
				var s api.Status
				switch {
				case len(args) == 1:
					s, err = c.Prioritise(ctx, args[0], api.Priority(priority))
				case rates:
					s, err = c.Limit(ctx, l)
				default:
					s, err = c.Status(ctx)
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(a.out, "up %s, down %s\n", amount.Limit(s.UpLimit), amount.Limit(s.DownLimit))
				for _, p := range s.Packages {
					if p.Priority != api.Normal {
						fmt.Fprintf(a.out, "%s: %s priority\n", printable(p.Name), printable(string(p.Priority)))
					}
				}
				return nil
			})
		}),
	}
	f.add(cmd)
	cmd.Flags().StringVar(&up, "up", "", "give to neighbours at most `RATE`")
	cmd.Flags().StringVar(&down, "down", "", "receive from neighbours and origins together at most `RATE`")
	cmd.Flags().StringVar(&priority, "priority", "", "`PRIORITY` of PKG: low, normal or high")
	return cmd
}

// limitOrder is what a flag orders, in the words of the wire.
func limitOrder(text string) (int64, error) {
	if text == "config" {
		return api.AsConfigured, nil
	}
	var s speed
	err := s.UnmarshalText([]byte(text))
	return int64(s), err
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"handout/agent/api"
	"handout/manifest/amount"
)

func (a *app) statusCommand() *cobra.Command {
	var f agentFlags
	var asJSON, watch, site bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What the agent of this machine is doing, or those of the whole site",
		Long: `status asks the agent of this machine: which packages it has, how far the others are, where they come from and how fast,
who is near, and what does not work. Only the agent's user and the machine's admins may ask.

With --site that agent asks all machines of its site, and shows them with their packages. A machine that says nothing
within two seconds is named too.`,
		Example: `  sudo handout status
  sudo handout status --watch
  sudo handout status --site --json`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(cmd *cobra.Command, _ []string) error {
			return f.withAgent(cmd.Context(), func(ctx context.Context, c *api.Client) error {
				show := func(ctx context.Context) (any, func(io.Writer), error) {
					s, err := c.Status(ctx)
					return s, func(w io.Writer) { writeStatus(w, s, time.Now()) }, err
				}
				if site {
					show = func(ctx context.Context) (any, func(io.Writer), error) {
						s, err := c.Survey(ctx)
						return s, func(w io.Writer) { writeSite(w, s) }, err
					}
				}
				return a.showStatus(ctx, show, watch, asJSON)
			})
		}),
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object; with --watch one a second")
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again every second, until interrupted")
	cmd.Flags().BoolVar(&site, "site", false, "show all machines of the site")
	return cmd
}

const watchEvery = time.Second

// clearScreen moves to the upper left and clears what is below (ECMA-48: CUP, ED).
const clearScreen = "\x1b[H\x1b[J"

// showStatus shows what the agent answers, as JSON or for a person; with watch again and again until ctx ends, which is
// the ordinary end. An agent that is gone is an error.
func (a *app) showStatus(ctx context.Context, ask func(context.Context) (any, func(io.Writer), error), watch, asJSON bool) error {
	onTerminal := term.IsTerminal(int(a.out.Fd()))
	for asked := false; ; asked = true {
		s, write, err := ask(ctx)
		switch {
		case err != nil && asked && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case asJSON:
			if err := json.NewEncoder(a.out).Encode(s); err != nil {
				return err
			}
		default:
			if watch && onTerminal {
				fmt.Fprint(a.out, clearScreen)
			}
			write(a.out)
		}
		if !watch {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// writeStatus shows a machine to a person.
func writeStatus(w io.Writer, s api.Status, now time.Time) {
	fmt.Fprintf(w, "%s\nrunning for %s, site %q: %s, steward %s\n", printable(s.Version), timeText(now.Sub(s.Started)),
		printable(s.Site), countText(s.Members, "member"), printable(s.Steward))
	fmt.Fprintf(w, "%s; origin connections: %d of this machine, %d of the site\n", countText(s.Neighbours, "neighbour"),
		s.Connections, s.SiteConnections)
	fmt.Fprintf(w, "since it started: from origins %s, from neighbours %s, given to neighbours %s\n",
		sizeText(s.FromOrigin), sizeText(s.FromPeers), sizeText(s.ToPeers))
	writeMachines(w, s.Machines, now)
	if s.Restarts > 0 {
		fmt.Fprintf(w, "started again after a crash: %s (handout log says why)\n", timesText(s.Restarts))
	}
	if s.UpLimit > 0 || s.DownLimit > 0 {
		fmt.Fprintf(w, "limits: up %s, down %s\n", amount.Limit(s.UpLimit), amount.Limit(s.DownLimit))
	}
	if s.Paused {
		fmt.Fprintln(w, "paused: nothing is fetched or given (handout resume)")
	}
	for _, p := range s.Packages {
		writePackage(w, p)
	}
	if len(s.Packages) == 0 {
		fmt.Fprintln(w, "\nno packages")
	}
	for _, t := range s.Errors {
		fmt.Fprintf(w, "\n%s, for %s: %s\n", printable(t.What), timeText(now.Sub(t.Since)), printable(t.Error))
	}
}

// writeMachines shows the others of the site: of many the first, and whoever matters. This machine is among them only if
// nobody can reach it.
func writeMachines(w io.Writer, all []api.Member, now time.Time) {
	const shown = 12
	left := 0
	for i, m := range all {
		line := fmt.Sprintf("  %s, met %s ago", printable(m.Address), timeText(now.Sub(m.Since)))
		switch {
		case m.Mine && m.Blocked == "":
			continue
		case m.Mine:
			line = "  this machine"
		case m.Steward:
			line += ", steward"
		case i > shown && m.Blocked == "":
			left++
			continue
		}
		if m.Blocked != "" {
			line += fmt.Sprintf(": inbound %s is blocked", printable(m.Blocked))
		}
		fmt.Fprintln(w, line)
	}
	if left > 0 {
		fmt.Fprintf(w, "  and %d more\n", left)
	}
}

func timesText(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func writePackage(w io.Writer, p api.Package) {
	name := strings.TrimSpace(p.Name + " " + p.Version)
	state := string(p.State)
	if p.Paused {
		state = "paused"
	}
	fmt.Fprintf(w, "\n%s  %s %s  %s\n", printable(name), state, percentText(p.Done, p.Total), shareText(p.Done, p.Total))
	fmt.Fprintf(w, "  at %s\n", printable(p.Dest))
	if o := p.Pushed; o != nil {
		from := ""
		if o.From != "" {
			from = ", from " + printable(o.From)
		}
		fmt.Fprintf(w, "  pushed by the key %s on %s%s\n", printable(o.Key), o.Issued.Local().Format(time.DateTime), from)
	}
	if p.State == api.Fetching {
		left := ""
		if p.Remaining != nil {
			left = ", " + timeText(time.Duration(*p.Remaining*float64(time.Second))) + " left"
		}
		fmt.Fprintf(w, "  origin %s over %s, neighbours %s%s: %s\n", rateText(p.OriginRate), countText(p.Connections, "connection"),
			rateText(p.PeerRate), left, printable(p.Why))
	}
	fmt.Fprintf(w, "  from origin %s, from neighbours %s, given %s to %s\n", sizeText(p.FromOrigin), sizeText(p.FromPeers),
		sizeText(p.ToPeers), countText(p.Neighbours, "neighbour"))
	if p.Error != "" {
		fmt.Fprintf(w, "  error: %s\n", printable(p.Error))
	}
}

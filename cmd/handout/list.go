package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"handout/agent"
	"handout/agent/store"
)

func (a *app) listCommand() *cobra.Command {
	var where cacheFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "What is in the cache",
		Long: `list shows the packages in the cache: complete ones, unfinished ones, and remains that gc would clean. What is listed was
not read through: handout verify does that.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(cmd *cobra.Command, _ []string) error {
			c, err := where.load(cmd)
			if err != nil {
				return err
			}
			entries, err := store.List(c.CacheDir, showing)
			if err != nil {
				return err
			}
			pushed, err := agent.PushedHere(c.StateDir)
			if err != nil {
				return err
			}
			if asJSON {
				return a.listJSON(entries, pushed)
			}
			return a.listText(entries, pushed)
		}),
	}
	where.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line on standard output")
	return cmd
}

func (a *app) listText(entries []store.Entry, orders map[string]agent.Placed) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVERSION\tSIZE\tSTATE\tPUSHED\tPINNED\tLAST USED\tFOLDER")
	for _, e := range entries {
		name, version := packageTitle(e)
		pushed, pinned, used := "no", "no", "-"
		if _, ok := orders[e.Dest]; ok {
			pushed = "yes"
		}
		if e.Pinned {
			pinned = "yes"
		}
		if !e.Used.IsZero() {
			used = e.Used.Format("2006-01-02 15h")
		}
		if version == "" {
			version = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(name), printable(version), sizeText(e.Bytes+e.Growth),
			e.State, pushed, pinned, used, printable(e.Dest))
	}
	return w.Flush()
}

func (a *app) listJSON(entries []store.Entry, orders map[string]agent.Placed) error {
	out := json.NewEncoder(a.out)
	for _, e := range entries {
		name, version := packageTitle(e)
		line := struct {
			Event    string      `json:"event"`
			Name     string      `json:"name"`
			Version  string      `json:"version"`
			Dest     string      `json:"dest"`
			Bytes    int64       `json:"bytes"`
			State    store.State `json:"state"`
			Pinned   bool        `json:"pinned"`
			Pushed   uint64      `json:"pushed_serial,omitempty"` // of the order that asked for it
			LastUsed *time.Time  `json:"last_used,omitempty"`
		}{"package", name, version, e.Dest, e.Bytes + e.Growth, e.State, e.Pinned, orders[e.Dest].Serial, nil}
		if !e.Used.IsZero() {
			line.LastUsed = &e.Used
		}
		if err := out.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

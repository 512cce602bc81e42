package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"handout/agent"
	"handout/agent/store"
	"handout/manifest"
)

func (a *app) gcCommand() *cobra.Command {
	var where cacheFlags
	abandoned := age{interval{7 * 24 * time.Hour}}
	var dry, asJSON bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Clean the cache: what died runs left, and what is beyond the budget",
		Long: `gc removes from the cache what nobody will need again: what runs that died have left, downloads in which nothing has come
for a week (--abandoned), and, where the cache is larger than the config's cache.max_bytes or the disk has less room than
cache.min_free, the packages that were not asked for for longest. Packages that the config names or that are pinned
stay, and so does whatever a running agent holds: the agent keeps to the budget by itself.

What was fetched here for a network mount and never got there it finds too. It cleans any other folder of what died runs
left, for example one into which a fetch was interrupted: --cache-dir.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(cmd *cobra.Command, _ []string) error {
			c, err := where.load(cmd)
			if err != nil {
				return err
			}
			folders := []string{c.CacheDir}
			if cmd.Flags().Changed("cache-dir") {
				c.Cache = cacheConfig{} // it is for the config's own cache
			} else {
				folders = append(append(folders, c.stageDir()), agent.DefaultStageDirs()...)
			}
			return a.gc(cmd.Context(), c, folders, abandoned.Duration, dry, a.newCleaning(dry, asJSON))
		}),
	}
	where.add(cmd)
	fs := cmd.Flags()
	fs.TextVar(&abandoned, "abandoned", abandoned, "a download in which nothing has come for `DURATION` will not go on, such as 36h or 7d")
	fs.BoolVar(&dry, "dry-run", false, "show what would go, and remove nothing")
	fs.BoolVar(&asJSON, "json", false, "one JSON object per line on standard output")
	return cmd
}

func (a *app) gc(ctx context.Context, c agentConfig, folders []string, abandoned time.Duration, dry bool, r *cleaning) error {
	for i, folder := range folders {
		found, err := store.Clean(ctx, folder, abandoned, dry)
		for _, f := range found {
			r.tell("clean", f.Dest, f.What, f.Bytes, f.Err)
		}
		if err != nil && (i == 0 || !errors.Is(err, fs.ErrNotExist)) {
			return ended(ctx, err)
		}
	}
	keys, err := publicKeys(c.Trust)
	if err != nil {
		return err
	}
	cache, err := c.cache(manifest.Trust{Keys: keys})
	if err == nil {
		err = c.atRest(&cache)
	}
	if err != nil {
		return err
	}
	gone, short, err := cache.Shrink(ctx, dry)
	for _, e := range gone {
		r.tell("evict", e.Dest, evictionText(e), e.Bytes, e.Err)
	}
	if err != nil {
		return ended(ctx, err)
	}
	r.end()
	if short > 0 && !r.busy {
		return advisedError{fmt.Errorf("%s is %s beyond its budget: %w", c.CacheDir, sizeText(short), store.ErrNoSpace),
			"Nothing more may go: what is left is named by the config, pinned or in use (handout list)."}
	}
	return nil
}

func evictionText(e agent.Eviction) string {
	if e.Used.IsZero() {
		return "over the budget"
	}
	return "over the budget, last used " + e.Used.Format(time.DateOnly)
}

// cleaning tells what gc does, to a person or as JSON.
type cleaning struct {
	*app
	json  *json.Encoder // nil: text
	dry   bool
	freed int64
	busy  bool // somebody holds something that could go otherwise
}

func (a *app) newCleaning(dry, asJSON bool) *cleaning {
	r := &cleaning{app: a, dry: dry}
	if asJSON {
		r.json = json.NewEncoder(a.out)
	}
	return r
}

// tell says what became of one thing.
func (r *cleaning) tell(event, dest, what string, bytes int64, err error) {
	if err == nil {
		r.freed += bytes
	}
	r.busy = r.busy || errors.Is(err, store.ErrInUse)
	if r.json != nil {
		problem := ""
		if err != nil {
			problem = errorText(err)
		}
		r.json.Encode(struct {
			Event string `json:"event"` // clean or evict
			Dest  string `json:"dest"`
			What  string `json:"what"`
			Bytes int64  `json:"bytes"`
			Dry   bool   `json:"dry_run"`
			Error string `json:"error,omitempty"` // why it is still there
		}{event, dest, what, bytes, r.dry, problem})
		return
	}
	done := "removed"
	switch {
	case errors.Is(err, store.ErrInUse):
		done = "in use, left alone"
	case err != nil:
		done = "not removed (" + errorText(err) + ")"
	case r.dry:
		done = "would be removed"
	}
	fmt.Fprintf(r.out, "%s: %s, %s: %s\n", printable(dest), what, sizeText(bytes), done)
}

func (r *cleaning) end() {
	if r.json != nil {
		r.json.Encode(struct {
			Event string `json:"event"`
			Freed int64  `json:"freed"`
			Dry   bool   `json:"dry_run"`
		}{"cleaned", r.freed, r.dry})
		return
	}
	if r.dry {
		fmt.Fprintf(r.out, "%s would be freed\n", sizeText(r.freed))
	} else {
		fmt.Fprintf(r.out, "%s freed\n", sizeText(r.freed))
	}
}

package main

import (
	"bufio"
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

func (a *app) verifyCommand() *cobra.Command {
	var trust trustFlags
	var account accountFlags
	var part partFlags
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "verify DIR PKG.torrent|URL",
		Short: "Compare a folder with a package, file by file",
		Long: `verify reads every file in DIR and says which are not as they were published: missing, another size, other content,
another kind, unreadable, not executable where it should be, or not in the package at all; also, whether DIR itself has the
mode it was published with. It changes nothing; handout repair does.

With --include and --exclude, as they were given to handout fetch, DIR is compared with that part of the package: what is
not of it is too much there.

Exit code 0: all as published. 1: something differs.`,
		Args: cobra.ExactArgs(2),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			return a.verify(cmd.Context(), args[0], args[1], trust, account, part, asJSON, all)
		}),
	}
	trust.add(cmd)
	account.add(cmd)
	part.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line on standard output")
	cmd.Flags().BoolVar(&all, "all", false, "name the files that are as published, too")
	return cmd
}

func (a *app) verify(ctx context.Context, dir, where string, trust trustFlags, account accountFlags, part partFlags, asJSON, all bool) error {
	t, err := trust.trust()
	if err != nil {
		return err
	}
	o, err := account.options(ctx, a, where)
	if err != nil {
		return err
	}
	raw, err := awaitManifest(ctx, where, o, a.say())
	if err != nil {
		return ended(ctx, err)
	}
	m, err := openTrusted(raw, where, t)
	if err != nil {
		return err
	}
	only, err := part.of(m)
	if err != nil {
		return err
	}
	at, err := whither(dir, true)
	if err != nil {
		return err
	}
	if at != dir {
		fmt.Fprintf(a.err, "%s is a symbolic link: what is at %s is compared\n", printable(dir), printable(at))
	}
	meter := newMeter(a.err)
	if asJSON {
		meter = &jsonMeter{out: a.out, every: time.Second}
	}
	began := time.Now()
	report, err := store.Check(ctx, m, only, at, func(done, total int64) {
		meter.show(done, total, string(agent.Checking)+" "+shareText(done, total))
	})
	meter.close()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: nothing to verify", err)
	}
	if err != nil {
		return ended(ctx, err)
	}
	differences := differences(m, report)
	files, bytes := len(m.Files), m.Length
	if only != nil {
		files, bytes = only.Count, only.Bytes
	}
	if all {
		a.tellRight(m, only, report, asJSON)
	}
	if asJSON {
		a.tellVerdictJSON(files, bytes, differences, time.Since(began))
	} else {
		for _, d := range differences {
			line := fmt.Sprintf("%-13s  %s", d.verdict, printable(d.path))
			if d.why != nil {
				line += ": " + errorText(d.why)
			}
			fmt.Fprintln(a.out, line)
		}
	}
	if len(differences) > 0 {
		noun := "files differ"
		if len(differences) == 1 {
			noun = "file differs"
		}
		return fmt.Errorf("%s: %d %s from what was published", dir, len(differences), noun)
	}
	if !asJSON {
		fmt.Fprintf(a.out, "%s: all as published: %s, %s\n", dir, countText(files, "file"), sizeText(bytes))
	}
	return nil
}

// difference is one path of a folder that is not as it was published.
type difference struct {
	path, verdict string
	why           error // why a file is unreadable
}

func differences(m *manifest.Manifest, r store.Report) []difference {
	var list []difference
	for i, v := range r.Files {
		if v != store.OK {
			list = append(list, difference{m.Files[i].Path, v.String(), r.Why[i]})
		}
	}
	if r.Top != store.OK {
		list = append(list, difference{"./", r.Top.String(), nil})
	}
	for i, v := range r.Dirs {
		if v != store.OK {
			list = append(list, difference{m.Dirs[i].Path + "/", v.String(), nil})
		}
	}
	for _, path := range r.Extra {
		list = append(list, difference{path, "extra", nil})
	}
	return list
}

// tellRight names the files that are as they were published.
func (a *app) tellRight(m *manifest.Manifest, only *manifest.Selection, r store.Report, asJSON bool) {
	out := bufio.NewWriter(a.out)
	defer out.Flush()
	e := json.NewEncoder(out)
	for i, v := range r.Files {
		switch {
		case v != store.OK || !only.Has(i):
		case asJSON:
			e.Encode(fileEvent{"file", m.Files[i].Path, v.String()})
		default:
			fmt.Fprintf(out, "%-13s  %s\n", v, printable(m.Files[i].Path))
		}
	}
}

// fileEvent is the verdict of one file.
type fileEvent struct {
	Event   string `json:"event"`
	Path    string `json:"path"`
	Verdict string `json:"verdict"`
}

func (a *app) tellVerdictJSON(files int, bytes int64, differences []difference, took time.Duration) {
	e := json.NewEncoder(a.out)
	for _, d := range differences {
		e.Encode(fileEvent{"differs", d.path, d.verdict})
	}
	exit := exitDone
	if len(differences) > 0 {
		exit = exitFailed
	}
	e.Encode(struct {
		Event       string  `json:"event"`
		Seconds     float64 `json:"seconds"`
		Files       int     `json:"files"`
		Bytes       int64   `json:"bytes"`
		Differences int     `json:"differences"`
		Exit        int     `json:"exit"`
	}{"verified", seconds(took), files, bytes, len(differences), exit})
}

package agent

import (
	"context"
	"fmt"
	"log/slog"

	"handout/agent/store"
	"handout/manifest"
)

// OwnTrees say by what an agent knows a tree that it put there itself, and so may replace (store.Own).
type OwnTrees struct {
	Trust manifest.Trust      // who signs packages: the record beside a tree counts only for theirs
	Known []manifest.InfoHash // packages that this agent knows it put there
	Newer bool                // none is replaced by an older one of its name
}

// check is an error if m must not take the place of what stands at dest.
func (o *OwnTrees) check(ctx context.Context, m *manifest.Manifest, dest string, options store.Options, log *slog.Logger) error {
	was, err := store.Own(ctx, dest, store.Claim{Known: o.Known, Name: m.Name, Trust: o.Trust, Stage: options.Stage}, options.Progress)
	if err != nil {
		return err
	}
	if o.Newer && was.Name == m.Name && m.Serial < was.Serial {
		return fmt.Errorf("serial %d is older than %d, which is here: somebody may be handing out an old version", m.Serial, was.Serial)
	}
	log.Info("what an agent put here before is replaced", "dest", dest, "was", was.Name, "version", was.Version, "serial", was.Serial)
	return nil
}

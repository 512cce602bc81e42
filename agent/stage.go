package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"handout/agent/store"
	"handout/manifest"
)

// DefaultStageDirs are where a tree for a network mount may grow, the best first: this user's cache folder, and a folder of
// his own in the temporary one.
func DefaultStageDirs() (dirs []string) {
	if cache, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, filepath.Join(cache, "handout", "staging"))
	}
	return append(dirs, filepath.Join(os.TempDir(), fmt.Sprintf("handout-staging-%d", max(os.Getuid(), 0))))
}

// stageFor is store.Options.Stage for a fetch. Where a network mount is the only place with room, the tree grows there: slow
// is better than not at all.
func (a *Agent) stageFor(m *manifest.Manifest, dest string, o FetchOptions) (string, error) {
	if o.Stage != "" || o.Direct {
		return o.Stage, nil
	}
	stage, err := store.StageFor(m, dest, a.c.StageDirs)
	switch {
	case errors.Is(err, store.ErrNoStage):
		a.log.Warn("the package is fetched straight to a network mount, which is slow", "reason", err)
		return "", nil
	case err == nil && stage != "":
		a.log.Info("the package is fetched to this machine first, and then moved to a network mount", "stage", stage, "dest", dest)
	}
	return stage, err
}

// moving shows how the way of a tree to its network mount goes, and how long it will take if it goes on like that.
func moving(show func(Progress)) func(done, total int64) {
	var once sync.Once
	var began time.Time
	var first int64
	return func(done, total int64) {
		once.Do(func() { began, first = time.Now(), done })
		p := Progress{Phase: Moving, Done: done, Total: total, Remaining: -1}
		if moved := done - first; moved > 0 {
			left := float64(total-done) / float64(moved) * float64(time.Since(began))
			p.Remaining = time.Duration(left).Round(time.Second)
		}
		show(p)
	}
}

package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"handout/manifest"
)

// Others can write a record, and change a tree under it, where permissions let them: such a record says nothing to an agent
// that knows nothing itself.
func TestRecordThatOthersMayWriteToDoesNotCount(t *testing.T) {
	for what, open := range map[string]func(dest, mark string) error{
		"the tree":                func(dest, _ string) error { return os.Chmod(dest, 0o777) },
		"the tree, to a group":    func(dest, _ string) error { return os.Chmod(dest, 0o775) },
		"the record":              func(_, mark string) error { return os.Chmod(mark, 0o777) },
		"the record's manifest":   func(_, mark string) error { return os.Chmod(filepath.Join(mark, standingName), 0o666) },
		"the record's database":   func(_, mark string) error { return os.Chmod(filepath.Join(mark, recordName), 0o620) },
		"another user's tree":     func(dest, _ string) error { return chown(dest) },
		"another user's record":   func(_, mark string) error { return chown(mark) },
		"another user's manifest": func(_, mark string) error { return chown(filepath.Join(mark, standingName)) },
		"another user's database": func(_, mark string) error { return chown(filepath.Join(mark, recordName)) },
	} {
		old, _, dest := twoVersions(t)
		old, trust := old.signed(t)
		old.publish(t, dest, Options{Keep: true})
		mark := filepath.Join(filepath.Dir(dest), stagingName(filepath.Base(dest)))
		err := open(dest, mark)
		if os.IsPermission(err) && os.Geteuid() != 0 {
			t.Logf("%s: left out, as only root can give a file away", what)
			continue
		}
		must(t, err)
		if err := own(t, dest, Claim{Name: old.m.Name, Trust: trust}); err == nil {
			t.Errorf("%s: it counts as the agent's own", what)
		}
		// Who knows what he put there has every byte looked at, and may then replace it; a folder of another mode was changed.
		if !strings.HasPrefix(what, "the tree") {
			must(t, own(t, dest, Claim{Known: []manifest.InfoHash{old.m.InfoHash}}))
		}
	}
}

func chown(path string) error { return os.Lchown(path, 4711, 4711) }

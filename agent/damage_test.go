package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"handout/agent/api"
	"handout/agent/atomicfile"
	"handout/agent/orders"
)

// damages are what disks, power cuts and people make of a file.
var damages = map[string]func(path string) error{
	"zero-length": func(path string) error { return os.WriteFile(path, nil, 0o640) },
	"half": func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, info.Size()/2)
	},
	"garbage": func(path string) error { return os.WriteFile(path, []byte("\x7fELF\x02\x01\x01"), 0o640) },
	"NULs":    func(path string) error { return os.WriteFile(path, make([]byte, 3<<20), 0o640) },
	"foreign": func(path string) error { return os.WriteFile(path, []byte(`{"editor.fontSize": 12}`), 0o640) },
	"a folder in its place": func(path string) error {
		return errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Join(path, "x"), 0o755))
	},
	"unreadable": func(path string) error { // also to root: a link that leads to itself
		return errors.Join(os.Remove(path), os.Symlink(filepath.Base(path), path))
	},
}

// Whatever became of the files in its state folder, a machine starts, hears orders, and keeps up what was pushed to it: from
// the copies, and where those are spoilt too from its neighbours and from what lies beside the trees.
func TestDamagedStateSilencesNobody(t *testing.T) {
	for what, damage := range damages {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			damagedState(t, damage)
		})
	}
}

func damagedState(t *testing.T, damage func(string) error) {
	d := newAdmin(t)
	neighbour := run(t, d.machine(t))
	state, root := t.TempDir(), t.TempDir()
	config := d.machine(t, neighbour)
	config.StateDir = state
	config.Pushes.Roots = map[string]string{"apps": root}
	push := func(a *Agent, version string) {
		t.Helper()
		raw, o, _ := d.pack(t, version, 1000)
		o.Root, o.Path = "apps", "tools"
		if err := d.give(t, a, d.sign(t, o), raw); err != nil {
			t.Fatal(err)
		}
		soon(t, "version "+version+" stands", func() bool { return versionAt(filepath.Join(root, "tools")) == version })
	}
	up := int64(20_000_000)
	a, stop := begin(t, config)
	push(a, "1")
	if err := a.Limit(api.LimitsRequest{Up: &up}); err != nil {
		t.Fatal(err)
	}
	raw, gone, _ := d.packNamed(t, "gone", "1", 1000)
	gone.Root, gone.Path = "apps", "gone"
	old := d.sign(t, gone)
	if err := d.give(t, a, old, raw); err != nil {
		t.Fatal(err)
	}
	soon(t, "the neighbour has heard of it", func() bool { return neighbour.orders.book.Knows("gone") })
	if err := d.give(t, neighbour, d.sign(t, orders.Order{Kind: orders.Withdraw, Name: "gone"}), nil); err != nil {
		t.Fatal(err)
	}
	soon(t, "the withdrawal is heard of", func() bool { return len(a.Orders()) == 2 })
	stop()

	files := []string{"pushed.json", "settings.json", "orders/book.json", "audit.jsonl"}
	for version, copies := range map[string]bool{"2": false, "3": true} {
		for _, file := range files {
			path := filepath.Join(state, filepath.FromSlash(file))
			err := damage(path)
			if _, absent := os.Lstat(path + ".copy"); copies && absent == nil {
				err = errors.Join(err, damage(path+".copy"))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		a, stop := begin(t, config)
		push(a, version)
		if l := a.Status().UpLimit; l != up && !copies {
			t.Errorf("what was decided is forgotten: up %d", l)
		}
		if err := a.Limit(api.LimitsRequest{Up: &up}); err != nil {
			t.Errorf("settings can't be changed: %v", err)
		}
		soon(t, "what was withdrawn is known", func() bool { return len(a.Orders()) == 2 })
		if r, ok := errors.AsType[*orders.Refusal](d.give(t, a, old, raw)); !ok || r.Reason != orders.TooOld {
			t.Errorf("a withdrawn order comes back: %v", r)
		}
		soon(t, "status is clean", func() bool { return len(a.Status().Errors) == 0 })
		stop()
		for _, file := range files[:3] {
			dir := filepath.Dir(filepath.Join(state, filepath.FromSlash(file)))
			if !slices.ContainsFunc(atomicfile.Aside(dir), func(s string) bool { return strings.HasPrefix(filepath.Base(s), filepath.Base(file)) }) {
				t.Errorf("%s was not set aside", file)
			}
		}
	}
}

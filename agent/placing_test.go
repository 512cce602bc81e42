package agent

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"handout/agent/api"
	"handout/agent/orders"
	"handout/manifest"
)

// An order for a package takes the place of the one before wherever that had it go: the package is given from the new place, and
// no error is left.
func TestNewestOrderSaysWhereAPackageStands(t *testing.T) {
	d := newAdmin(t)
	config := d.machine(t)
	rootA, rootB := t.TempDir(), t.TempDir()
	config.Pushes.Roots = map[string]string{"A": rootA, "B": rootB}
	a := run(t, config)
	raw, o, served := d.pack(t, "1", 200_000)
	next, o2, _ := d.pack(t, "2", 200_000)
	for i, step := range []struct {
		root, path string
		order      orders.Order
		raw        []byte
	}{
		{"A", "tools", o, raw},
		{"", "", o, raw}, // without a root after one with it
		{"B", "tools", o, raw},
		{"A", "tools", o, raw}, // back to where the agent left it
		{"A", "lab/tools", o, raw},
		{"B", "tools", o2, next}, // another version, where the agent left an older one
		{"", "", o2, next},       // likewise, in the cache
		{"A", "tools", o2, next},
		{"A", "tools", o2, next}, // once more the same
	} {
		step.order.Root, step.order.Path = step.root, step.path
		if err := d.give(t, a, d.sign(t, step.order), step.raw); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		at := filepath.Join(config.Pushes.Roots[step.root], filepath.FromSlash(step.path))
		if step.root == "" {
			at = filepath.Join(config.Cache.Dir, "apps")
		}
		soon(t, "it stands at "+at, func() bool {
			s := a.Status()
			here := 0
			for _, p := range s.Packages {
				if p.Pushed != nil && p.Dest == at && p.State == api.Here && p.Error == "" && p.Pushed.Serial == d.serial {
					here++
				} else if p.Pushed != nil || p.Error != "" {
					return false
				}
			}
			return here == 1 && len(s.Errors) == 0 && versionAt(at) == step.order.Version
		})
	}
	if n := served.bytes.Load(); n > 300_000 {
		t.Errorf("the origin gave %d bytes of version 1: it was here all the time", n)
	}
}

// What can never come about is refused at once, by the machine that the order is handed to.
func TestPlaceThatIsTakenIsRefusedAtOnce(t *testing.T) {
	d := newAdmin(t)
	config := d.machine(t)
	root := t.TempDir()
	config.Pushes.Roots = map[string]string{"apps": root}
	a := run(t, config)
	raw, o, _ := d.pack(t, "1", 1000)
	other := func(name string) ([]byte, orders.Order) {
		raw, o, _ := d.packNamed(t, name, "1", 1000)
		return raw, o
	}
	if err := d.give(t, a, d.sign(t, o), raw); err != nil {
		t.Fatal(err)
	}
	soon(t, "it stands", func() bool { return versionAt(filepath.Join(config.Cache.Dir, "apps")) == "1" })
	want := func(what string, o orders.Order, raw []byte) {
		t.Helper()
		r, ok := errors.AsType[*orders.Refusal](d.give(t, a, d.sign(t, o), raw))
		if !ok || r.Reason != orders.Taken {
			t.Errorf("%s: %v", what, r)
		}
	}
	twinRaw, twin := other("twin") // whose folder is called apps too
	want("the same folder of the cache", twin, twinRaw)
	o.Root, o.Path = "apps", "lab/tools"
	if err := d.give(t, a, d.sign(t, o), raw); err != nil {
		t.Fatal(err)
	}
	twin.Root = "apps"
	for _, path := range []string{"lab/tools", "LAB/Tools", "lab", "lab/tools/inside"} {
		twin.Path = path
		want("at "+path, twin, twinRaw)
	}
	// What the config has here, orders leave alone.
	configRaw, c := other("configured")
	m, err := manifest.Open(configRaw, anybody)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Fetch(t.Context(), m, filepath.Join(root, "configured"), FetchOptions{Keep: true}); err != nil {
		t.Fatal(err)
	}
	c.Root, c.Path = "apps", "elsewhere"
	want("the config has it at another place", c, configRaw)
	twin.Path = "configured"
	want("the config has another package there", twin, twinRaw)
	if r, ok := errors.AsType[*orders.Refusal](d.give(t, a, d.sign(t, orders.Order{Kind: orders.Withdraw, Name: "nosuch"}), nil)); !ok || r.Reason != orders.Unknown {
		t.Errorf("a withdrawal of what nobody knows: %v", r)
	}
}

// What was withdrawn stays where it is, and gives way to the next version: as long as nobody else has made it his own.
func TestPushAfterAWithdrawal(t *testing.T) {
	for what, c := range map[string]struct {
		between func(dest string, c *Config) error
		stays   bool
	}{
		"nothing happened":     {func(string, *Config) error { return nil }, false},
		"the state was reset":  {func(_ string, c *Config) error { return os.RemoveAll(c.StateDir) }, false},
		"the tree was removed": {func(dest string, _ *Config) error { return os.RemoveAll(dest) }, false},
		"the place was reset":  {func(dest string, _ *Config) error { return os.RemoveAll(filepath.Dir(dest)) }, false},
		"both were reset": {func(dest string, c *Config) error {
			return errors.Join(os.RemoveAll(filepath.Dir(dest)), os.RemoveAll(c.StateDir))
		}, false},
		"somebody put files there": {func(dest string, _ *Config) error { return os.WriteFile(filepath.Join(dest, "mine"), nil, 0o644) }, true},
		"… and the state was reset": {func(dest string, c *Config) error {
			return errors.Join(os.WriteFile(filepath.Join(dest, "mine"), nil, 0o644), os.RemoveAll(c.StateDir))
		}, true},
		"somebody changed a file": {func(dest string, _ *Config) error {
			return os.WriteFile(filepath.Join(dest, "file"), []byte("mine"), 0o644)
		}, true},
		"somebody's tree stands here": {func(dest string, _ *Config) error {
			return errors.Join(os.RemoveAll(dest), os.Mkdir(dest, 0o755), os.WriteFile(filepath.Join(dest, "file"), []byte("mine"), 0o644))
		}, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			d := newAdmin(t)
			config := d.machine(t)
			root := t.TempDir()
			config.Pushes.Roots = map[string]string{"apps": root}
			at := filepath.Join(root, "lab", "tools")
			push := func(a *Agent, version string) {
				t.Helper()
				raw, o, _ := d.pack(t, version, 1000)
				o.Root, o.Path = "apps", "lab/tools"
				if err := d.give(t, a, d.sign(t, o), raw); err != nil {
					t.Fatal(err)
				}
			}
			a, stop := begin(t, config)
			push(a, "1")
			soon(t, "version 1 stands", func() bool { return versionAt(at) == "1" && len(a.orders.placed.names()) == 1 })
			if err := d.give(t, a, d.sign(t, orders.Order{Kind: orders.Withdraw, Name: "apps"}), nil); err != nil {
				t.Fatal(err)
			}
			soon(t, "it is withdrawn", func() bool { return len(a.events(OrderEnded)) > 0 })
			stop()
			if err := c.between(at, &config); err != nil {
				t.Fatal(err)
			}
			a, stop = begin(t, config)
			defer stop()
			push(a, "2")
			if !c.stays {
				soon(t, "version 2 stands", func() bool { return versionAt(at) == "2" })
				return
			}
			soon(t, "status says why not", func() bool {
				s := a.Status()
				return len(s.Packages) == 1 && s.Packages[0].Error != "" && len(s.Errors) == 0
			})
			if versionAt(at) == "2" {
				t.Error("it was replaced")
			}
		})
	}
}

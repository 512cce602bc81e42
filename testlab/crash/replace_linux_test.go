package crash

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"handout/agent/store"
)

// smallTree is a tree with little in it, so that every step can be tried.
func smallTree(t testing.TB, version string) string {
	t.Helper()
	dir := filepath.Join(folder(t), "tree")
	for path, text := range map[string]string{"file": "file of " + version, "sub/same": "same", version + "/only": version} {
		path = filepath.Join(dir, path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

// TestReplaceKilledAtEveryStep: a fetch with --replace is killed at every operation from the moment the swap is noted (in
// the long form: from the first) to its end. The old tree stands or the new one, or stands again as soon as the destination
// is opened; and the next fetch leaves the new tree and nothing else.
func TestReplaceKilledAtEveryStep(t *testing.T) {
	mount(t) // or skip, before anything is built
	old, young := publish(t, smallTree(t, "old")), publish(t, smallTree(t, "young"))
	first, died := 1, 0
	for n := 1; ; n++ {
		dir := folder(t)
		d, err := newDisk(dir)
		must(t, err)
		if out, err := exec.Command("cp", "-a", old.dir, filepath.Join(d.Path, "dest")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		began := d.Ops()
		dest := filepath.Join(d.Path, "dest")
		fetch := func(p parcel) *exec.Cmd { return bin(t).Fetch(t.Context(), p.Package, dest, "--replace", "--no-peers") }
		step := ""
		killed, err := run(t, fetch(young), d, func(op Op) bool {
			if !soak && n == 1 && first == 1 && op.Path == ".dest.handout/swap" {
				first = op.N - began
			}
			if op.N == began+max(n, first) && (soak || n > 1) {
				step = name(op)
				return true
			}
			return false
		}, 0)
		must(t, err)
		if n == 1 && !soak { // a look at how it goes
			n = first - 1
		} else if killed {
			died++
			afterKill(t, d, old, young, step)
		}
		_, err = run(t, fetch(young), d, nil, 0)
		must(t, err)
		same(t, young.dir, dest)
		onlyDest(t, d)
		must(t, d.Close())
		must(t, os.RemoveAll(dir))
		if t.Failed() {
			t.Fatalf("killed at %s", step)
		}
		if !killed && n > first {
			break
		}
	}
	t.Logf("killed at %d operations: always the old tree or the new", died)
	if died < 10 {
		t.Error("a swap has more steps than that")
	}
}

// afterKill looks at the destination as it is, and as the next who opens it, for whatever version, finds it.
func afterKill(t *testing.T, d *Disk, old, young parcel, step string) {
	t.Helper()
	if _, err := os.Lstat(filepath.Join(d.Backing, "dest")); err == nil {
		oldOrYoung(t, old, young, filepath.Join(d.Backing, "dest"), step)
	}
	for _, p := range []parcel{old, young} {
		dir := folder(t)
		if out, err := exec.Command("cp", "-a", d.Backing+"/.", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		tree, err := store.Open(t.Context(), p.m, filepath.Join(dir, "dest"), store.Options{Replace: true})
		must(t, err)
		oldOrYoung(t, old, young, filepath.Join(dir, "dest"), step)
		must(t, tree.Close())
		must(t, os.RemoveAll(dir))
	}
}

func oldOrYoung(t *testing.T, old, young parcel, dest, step string) {
	t.Helper()
	if !isTree(t, old.dir, dest) && !isTree(t, young.dir, dest) {
		entries, _ := os.ReadDir(dest)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		t.Errorf("killed at %s: neither the old nor the new tree, but %s", step, strings.Join(names, ", "))
	}
}

package store

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"handout/manifest"
)

// tamper does in the staging folder what no student can, but a program of our own account: entries become links.
func tamper(shared string) {
	staging, err := os.OpenRoot(filepath.Join(shared, stagingName("dest")))
	if err != nil {
		return
	}
	defer staging.Close()
	targets := []string{filepath.Join(filepath.Dir(shared), "outside"), "..", "../../victim", "../../../outside", "a"}
	entries := []string{"tree", "old", "verified", "tree/small", "tree/a", "tree/a/b", "tree/big.img", "tree/small/07", "tree/bin"}
	target, spot := targets[rand.IntN(len(targets))], entries[rand.IntN(len(entries))]
	if staging.Rename(spot, spot+".away") == nil {
		staging.Symlink(target, spot)
		if rand.IntN(4) > 0 {
			staging.Remove(spot)
			staging.Rename(spot+".away", spot)
		}
	}
}

// TestStudentWhilePublishing: where students may write to the folder around a destination, one plants symlinks there,
// swaps the staging folder and the destination for links, and the folder itself once it is open, while trees are fetched,
// replaced and published. Nothing of it leads us to anything but this package's own: neither out of that folder, nor to
// what else lies in it.
func TestStudentWhilePublishing(t *testing.T) {
	rounds := 150
	if os.Getenv("HANDOUT_SOAK") != "" {
		rounds = 5000
	}
	for _, c := range []struct {
		name   string
		attack attack
	}{
		{"another account", otherAccount},
		{"our own account", ourAccount},
	} {
		t.Run(c.name, func(t *testing.T) { publishAgainst(t, c.attack, rounds) })
	}
}

// attack begins to attack the tree in folder shared. In opening is held while a tree is opened: where a path leads at that
// moment is for whoever gives it to know.
type attack func(t *testing.T, shared string, opening sync.Locker) (stop func())

func publishAgainst(t *testing.T, attack attack, rounds int) {
	old, young := pack(t, map[string]entry{"a": file(20_000, 1)}), pack(t, variety())
	top := fastDir(t)
	must(t, os.Chmod(top, 0o777))
	shared, outside := filepath.Join(top, "shared"), filepath.Join(top, "outside")
	must(t, os.Mkdir(shared, 0o755))
	must(t, os.Chmod(shared, 0o777))
	// What we must not touch looks like what we work on.
	for _, dir := range []string{outside, filepath.Join(shared, "victim"), filepath.Join(shared, ".victim.handout")} {
		must(t, os.Mkdir(dir, 0o755))
		writeTree(t, dir, map[string]entry{
			"tree/a": file(100, 1), "tree/small/07": file(10, 2), "old/a": file(100, 3), "verified": file(8, 4), "dest/a": file(100, 5),
			stagingName("dest") + "/tree/a": file(100, 6), "big.img": file(200, 7), "small/07": file(10, 8),
		})
		must(t, os.Chtimes(dir, when, when))
	}
	held, err := os.OpenRoot(shared)
	must(t, err)
	defer held.Close()
	watched := map[string]map[string]entry{outside: readTree(t, outside)}
	for _, name := range []string{"victim", ".victim.handout"} {
		watched[name] = readTree(t, filepath.Join(shared, name))
	}
	var opening sync.Mutex
	stop := attack(t, shared, &opening)
	published := 0
	for round := range rounds {
		p := old
		if round%2 == 1 {
			p = young
		}
		opening.Lock()
		tree, err := Open(t.Context(), p.m, filepath.Join(shared, "dest"), Options{Replace: true, Keep: round%3 == 0})
		opening.Unlock()
		if err != nil {
			if round%10 == 0 { // what the student left is cleared away, so that the next rounds get further
				removeAll(held, "dest")
				removeAll(held, stagingName("dest"))
			}
			continue
		}
		for i := range p.m.NumPieces() {
			tree.Put(manifest.PieceIndex(i), p.piece(i)) // may fail
		}
		if tree.Publish(t.Context()) == nil {
			published++
		}
		tree.Close()
	}
	stop()
	for dir, before := range watched {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(shared, dir)
		}
		sameEntries(t, before, readTree(t, dir))
	}
	t.Logf("%d of %d rounds published", published, rounds)
	if published == 0 {
		t.Error("no round came to publication: the attack keeps us from what is tested")
	}
}

// otherAccount runs a student who is not us; as root, since only root has another account to give.
func otherAccount(t *testing.T, shared string, _ sync.Locker) (stop func()) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: sudo go test ./agent/store")
	}
	// Where the program lies a student may not look; it is read through a descriptor.
	self, err := os.Open("/proc/self/exe")
	must(t, err)
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Env = append(os.Environ(), studentVariable+"="+shared)
	cmd.Stderr = os.Stderr
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL,
	}
	must(t, cmd.Start())
	return func() {
		cmd.Process.Kill()
		if err := cmd.Wait(); cmd.ProcessState.Exited() {
			t.Errorf("the student went home: %v", err)
		}
	}
}

// ourAccount tampers with the staging folder, and swaps the folder around the destination for a link.
func ourAccount(t *testing.T, shared string, opening sync.Locker) (stop func()) {
	done := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			tamper(shared)
			if rand.IntN(10) == 0 {
				opening.Lock()
				err := errors.Join(os.Rename(shared, shared+".real"), os.Symlink("outside", shared))
				tamper(shared + ".real")
				err = errors.Join(err, os.Remove(shared), os.Rename(shared+".real", shared))
				opening.Unlock()
				if err != nil {
					t.Error(err)
				}
			}
		}
	})
	return func() { close(done); work.Wait() }
}

// sameEntries fails where anything was changed, made or removed.
func sameEntries(t *testing.T, before, after map[string]entry) {
	t.Helper()
	for path, e := range before {
		g, ok := after[path]
		if !ok {
			t.Errorf("%s is gone", path)
		} else if g.mode != e.mode || !g.mtime.Equal(e.mtime) || string(g.data) != string(e.data) || g.target != e.target {
			t.Errorf("%s was changed", path)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%s was made", path)
		}
	}
}

// TestStagingIsNoLink: a link in the staging folder's place that leads to another folder beside the destination, which
// os.Root follows, is not taken for ours.
func TestStagingIsNoLink(t *testing.T) {
	p := pack(t, variety())
	dir := fastDir(t)
	victim := filepath.Join(dir, "victim")
	must(t, os.Mkdir(victim, 0o755))
	writeTree(t, victim, map[string]entry{"tree/a": file(100, 1), "old": file(10, 2)})
	before := readTree(t, victim)
	must(t, os.Symlink("victim", filepath.Join(dir, stagingName("dest"))))
	if tree, err := Open(t.Context(), p.m, filepath.Join(dir, "dest"), Options{}); err == nil {
		tree.Close()
		t.Error("worked in a folder that a link leads to")
	} else if errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error does not say what is wrong: %v", err)
	}
	sameEntries(t, before, readTree(t, victim))
}

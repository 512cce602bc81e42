package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// ageAt makes entries of a folder so old.
func ageAt(t *testing.T, d time.Duration, folder string, names ...string) {
	t.Helper()
	for _, name := range names {
		must(t, os.Chtimes(filepath.Join(folder, name), time.Time{}, time.Now().Add(-d)))
	}
}

// TestCleanOfStage: what was fetched here for a destination elsewhere and never got there goes when it is abandoned, the
// record of a tree goes with the tree; what grows, what stands, and the record of what a mount has that is away stay.
func TestCleanOfStage(t *testing.T) {
	p := pack(t, variety())
	far, stage := fastDir(t), fastDir(t)
	half := func(name string) string {
		dest := filepath.Join(far, name)
		tree := p.open(t, dest, Options{Stage: stage})
		must(t, tree.Put(0, p.piece(0)))
		must(t, tree.Close())
		return dest
	}
	kept := func(name string) string {
		dest := filepath.Join(far, name)
		p.publish(t, dest, Options{Stage: stage, Keep: true})
		return dest
	}
	half("recent")
	abandoned := half("abandoned")
	ageAt(t, 48*time.Hour, filepath.Join(stage, stageName(abandoned)), treeName, growingName, journalName)
	kept("stands")
	lost := kept("lost")
	must(t, removeDest(lost))
	away := kept("away")
	must(t, removeDest(away))
	must(t, os.WriteFile(filepath.Join(stage, stageName(away), destinationName), []byte(away+"\nnfs\n"), 0o600))

	for _, dry := range []bool{true, false} {
		found, err := Clean(t.Context(), stage, 24*time.Hour, dry)
		must(t, err)
		if len(found) != 2 || found[0].Dest != abandoned || found[1].Dest != lost || found[0].Err != nil || found[1].Err != nil ||
			found[0].Bytes == 0 {
			t.Errorf("dry %v: found %+v", dry, found)
		}
	}
	left, err := os.ReadDir(stage)
	must(t, err)
	if len(left) != 3 {
		t.Errorf("left: %v", left)
	}
}

// TestCleanOfLanding: a tree that another machine copies to its destination at this moment is left alone, also one that
// may go on; what is abandoned goes, and a swap that was interrupted is ended.
func TestCleanOfLanding(t *testing.T) {
	old, young, _ := twoVersions(t)
	for _, c := range []struct {
		name     string
		arriving time.Duration // how old what arrives is
		owner    time.Duration // how long ago its owner beat
		swap     bool
		want     error
		found    bool
	}{
		{"being copied", 0, 0, false, nil, false},
		{"being copied for long", 48 * time.Hour, 0, false, nil, false},
		{"died lately", time.Hour, time.Hour, false, nil, false},
		{"died long ago", 48 * time.Hour, 48 * time.Hour, false, nil, true},
		{"died in the swap", 48 * time.Hour, 48 * time.Hour, true, nil, true},
	} {
		far, stage := fastDir(t), fastDir(t)
		dest := filepath.Join(far, "dest")
		old.publish(t, dest, Options{})
		tree := young.open(t, dest, Options{Stage: stage, Replace: true})
		young.fill(t, tree)
		must(t, tree.enterLanding(t.Context(), "dest"))
		to, err := tree.openArrival()
		must(t, err)
		_, err = tree.carry(t.Context(), to)
		must(t, err)
		to.close()
		if c.swap {
			must(t, tree.land.beginSwap(tree.arrival()))
			must(t, tree.land.rename(t.Context(), tree.land.destination(), tree.land.in(oldName)))
		}
		landing, arrival := filepath.Join(far, stagingName("dest")), tree.arrival()
		tree.owner.stopBeating()
		must(t, tree.land.root.Close())
		tree.land, tree.owner = nil, nil
		tree.abandon()
		ageAt(t, c.arriving, landing, arrival)
		ageAt(t, c.owner, landing, ownerName)

		found, err := Clean(t.Context(), far, 24*time.Hour, false)
		must(t, err)
		if c.found != (len(found) == 1) || c.found && found[0].Err != nil {
			t.Errorf("%s: found %+v", c.name, found)
		}
		if _, err := os.Lstat(landing); (err == nil) == c.found {
			t.Errorf("%s: the landing: %v", c.name, err)
		}
		if c.swap {
			sameTree(t, young.dir, dest)
		} else {
			sameTree(t, old.dir, dest)
		}
		if c.name == "being copied for long" { // even for whoever takes everything for abandoned
			found, err = Clean(t.Context(), far, 0, false)
			must(t, err)
			if len(found) > 0 {
				wantErr(t, found[0].Err, ErrInUse)
			}
			sameTree(t, young.dir, filepath.Join(landing, arrival))
		}
	}
}

// TestOwnerWithoutName: a machine died, or its disk was full, before it had written who copies. Nobody waits for it as
// long as for one that beat.
func TestOwnerWithoutName(t *testing.T) {
	p := pack(t, variety())
	far, stage := fastDir(t), fastDir(t)
	dest := filepath.Join(far, "dest")
	must(t, os.Mkdir(filepath.Join(far, stagingName("dest")), 0o700))
	must(t, os.WriteFile(filepath.Join(far, stagingName("dest"), ownerName), nil, 0o600))
	const beat = 100 * time.Millisecond
	tree := p.open(t, dest, Options{Stage: stage, beat: beat})
	p.fill(t, tree)
	began := time.Now()
	must(t, tree.Publish(t.Context()))
	if waited := time.Since(began); waited < namelessBeats*beat || waited > silentBeats*beat {
		t.Errorf("it waited %v", waited)
	}
	must(t, tree.Close())
	sameTree(t, p.dir, dest)
	onlyThis(t, dest)
}

package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"handout/manifest"
	"handout/manifest/amount"
)

// ErrNoStage: the destination is on a network mount, and no local disk has room for the tree to grow on.
var ErrNoStage = errors.New("no local disk has room")

// StageFor chooses where the tree of m for dest should grow, for Options.Stage. folders are those that may be used, the
// best first; none need exist. The outcomes:
//   - "": beside the destination, which is on a disk of this machine;
//   - one of folders, because the destination is on a network mount: the one where an earlier run began, else the first on
//     a disk of this machine that has room;
//   - ErrNoStage: it is on a network mount, but none of folders will do. What can still be done is to let the tree grow
//     there, slowly;
//   - ErrNotWritable: an earlier run began for a network mount, and there is none now. Whatever lies under its name would
//     be taken for the destination.
func StageFor(m *manifest.Manifest, dest string, folders []string) (string, error) {
	abs, err := filepath.Abs(dest)
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", dest, err)
	}
	volume, foreign := foreignVolume(nearest(abs))
	for _, folder := range folders {
		switch was, begun := stagedFor(filepath.Join(folder, stageName(abs))); {
		case begun && was != "" && !foreign:
			return "", fmt.Errorf("%w: %s was on a network mount (%s) and is not now: mount it again, or remove %s to have it on this machine's disk",
				ErrNotWritable, abs, was, filepath.Join(folder, stageName(abs)))
		case begun && foreign:
			return folder, nil
		}
	}
	if !foreign {
		return "", nil
	}
	var unfit []string
	for _, folder := range folders {
		reason := unfitToStage(folder, m.Length)
		if reason == "" {
			return folder, nil
		}
		unfit = append(unfit, folder+": "+reason)
	}
	return "", fmt.Errorf("%w: %s is on a network mount (%s), and its %s cannot be kept here meanwhile: %s",
		ErrNoStage, abs, volume, amount.Bytes(m.Length), strings.Join(unfit, "; "))
}

// unfitToStage says why a tree of so many bytes should not grow in folder; "": it may.
func unfitToStage(folder string, bytes int64) string {
	at := nearest(folder)
	if volume, foreign := foreignVolume(at); foreign {
		return "on a network mount too (" + volume + ")"
	}
	if inMemory(at) {
		return "in memory"
	}
	if err := ours(folder); err != nil {
		return err.Error()
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		return err.Error()
	}
	defer root.Close()
	if free := freeSpace(root); free >= 0 && free < bytes {
		return amount.Bytes(free) + " free"
	}
	return ""
}

// nearest is path, or the nearest folder above it that is there.
func nearest(path string) string {
	for {
		_, err := os.Stat(path)
		if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path {
			return path
		}
		path = filepath.Dir(path)
	}
}

// destinationName is, in a staging folder that does not lie beside its destination, the file that says which that is, and
// on a second line the kind of network mount it was on, if it was.
const destinationName = "destination"

// stageName names the staging folder of a destination, an absolute path, in Options.Stage: always the same, so that a run
// after a crash finds it.
func stageName(abs string) string {
	const enough = 40 // bytes of the name, for whoever looks into the folder
	base := filepath.Base(abs)
	sum := sha256.Sum256([]byte(abs))
	return stagingName(fmt.Sprintf("%s-%x", strings.ToValidUTF8(base[:min(len(base), enough)], ""), sum[:8]))
}

// stagedFor reports whether a staging folder is there, and the kind of network mount its destination was on.
func stagedFor(folder string) (volume string, begun bool) {
	root, err := os.OpenRoot(folder) // in a folder that is this user's own
	if err != nil {
		return "", false
	}
	defer root.Close()
	_, volume, begun = destinationOf(root)
	return volume, begun
}

// destinationOf is what a staging folder says that does not lie beside its destination.
func destinationOf(stage *os.Root) (dest, volume string, ok bool) {
	const longest = 64 << 10
	text, err := readAtMost(stage, destinationName, longest)
	dest, volume, _ = strings.Cut(strings.TrimSpace(string(text)), "\n")
	return dest, volume, err == nil && filepath.IsAbs(dest)
}

// elsewhere reports whether the tree grows in Options.Stage.
func (t *Tree) elsewhere() bool { return t.around != t.parent }

// chooseStage settles where the staging folder is.
func (t *Tree) chooseStage(base string) error {
	t.around, t.stageName = t.parent, stagingName(base)
	if t.o.Stage == "" {
		return nil
	}
	// What an earlier run fetched beside the destination is not fetched again.
	begun, err := exists(t.parent, path.Join(stagingName(base), treeName))
	if begun || err != nil {
		return explain(err, "look at", t.dest)
	}
	if err := os.MkdirAll(t.o.Stage, 0o700); err != nil {
		return explain(err, "make", t.o.Stage)
	}
	around, err := os.OpenRoot(t.o.Stage)
	if err != nil {
		return explain(err, "open", t.o.Stage)
	}
	t.around, t.stageName = around, stageName(t.dest)
	return nil
}

// signStage says in a staging folder elsewhere what it is for, and learns or makes up by what it is known to other machines.
func (t *Tree) signStage() error {
	t.token = string(t.stage.get(keyToken))
	if t.token == "" {
		t.token = newToken()
		if err := t.stage.put(map[string][]byte{keyToken: []byte(t.token)}); err != nil {
			return err
		}
	}
	text := t.dest + "\n"
	if volume, foreign := foreignVolume(t.parent.Name()); foreign {
		text += volume + "\n"
	}
	return explain(t.stage.root.WriteFile(destinationName, []byte(text), 0o600), "write", t.stage.path(destinationName))
}

// settle ends a swap of an earlier run that was interrupted.
func (t *Tree) settle(ctx context.Context, base string) error {
	if !t.elsewhere() {
		t.land = newLanding(t.parent, base, t.stage.root, t.o.Log)
		return errors.Join(t.land.dropVisitors(ctx, t.o), t.land.settle(ctx))
	}
	if err := t.signStage(); err != nil {
		return err
	}
	if on, err := t.landed(base); !on || err != nil {
		return explain(err, "look at", t.dest)
	}
	if err := t.enterLanding(ctx, base); err != nil {
		return err
	}
	return t.leaveLanding()
}

// landed reports whether what arrives at the destination was about to take its place when an earlier run ended.
func (t *Tree) landed(base string) (on bool, err error) {
	for _, name := range []string{swapName, fillName} {
		if !on && err == nil {
			on, err = exists(t.parent, path.Join(stagingName(base), name))
		}
	}
	return on, err
}

// roomFor is ErrNoSpace if what is missing cannot fit, less the bytes that are placed.
func (t *Tree) roomFor(placed int64) error {
	if err := nodesFor(t.around, path.Join(t.stageName, treeName), int64(len(t.goal.members)+len(t.goal.folders))); err != nil {
		return wrap(err, "open", t.dest)
	}
	here, all := t.Bytes()
	if err := fits(t.around, all-here-placed-t.missingZeros()); err != nil || !t.elsewhere() {
		return wrap(err, "open", t.dest)
	}
	arrived, err := diskUse(t.parent, path.Join(stagingName(t.base), t.arrival()))
	if err != nil {
		return explain(err, "look at what has arrived at", t.dest)
	}
	return wrap(fits(t.parent, t.goal.bytes-arrived), "open", t.dest)
}

// fits is ErrNoSpace if so many bytes cannot be written to the file system that folder is on.
func fits(folder *os.Root, bytes int64) error {
	if free := freeSpace(folder); free >= 0 && free < bytes {
		return fmt.Errorf("%w: %s to come, %s free in %s", ErrNoSpace, amount.Bytes(bytes), amount.Bytes(free), folder.Name())
	}
	return nil
}

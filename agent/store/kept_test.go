package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"handout/manifest"
)

// signed is p with a manifest that trust accepts.
func (p packed) signed(t *testing.T) (signed packed, trust manifest.Trust) {
	t.Helper()
	private, public, err := manifest.GenerateKey()
	must(t, err)
	raw, err := manifest.Sign(p.m.Raw(), private)
	must(t, err)
	trust.Keys = []manifest.PublicKey{public}
	p.m, err = manifest.Open(raw, trust)
	must(t, err)
	return p, trust
}

type manifestReader func(dest string, trust manifest.Trust) (*manifest.Manifest, error)

func wantManifest(t *testing.T, want *manifest.Manifest, dest string, read manifestReader, trust manifest.Trust) {
	t.Helper()
	m, err := read(dest, trust)
	if want == nil {
		wantErr(t, err, fs.ErrNotExist)
		return
	}
	must(t, err)
	if m.InfoHash != want.InfoHash || string(m.Raw()) != string(want.Raw()) {
		t.Errorf("the manifest is of %v, not of %v", m.InfoHash, want.InfoHash)
	}
}

// TestManifestsAreKept: whatever a machine holds it can also describe, also after a restart and with nobody to ask.
func TestManifestsAreKept(t *testing.T) {
	old, young, dest := twoVersions(t)
	old, _ = old.signed(t)
	young, trust := young.signed(t)
	anybody := manifest.Trust{AllowUnsigned: true}

	tree := old.open(t, dest, Options{Keep: true})
	wantManifest(t, nil, dest, Standing, anybody)
	wantManifest(t, old.m, dest, Growing, anybody)
	old.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	must(t, tree.Close())
	wantManifest(t, old.m, dest, Standing, anybody)
	wantManifest(t, nil, dest, Growing, anybody)

	// Another version grows, and stays unfinished: what stands is known all the while.
	tree = young.open(t, dest, Options{Keep: true, Replace: true})
	must(t, tree.Put(0, young.piece(0)))
	must(t, tree.Close())
	wantManifest(t, old.m, dest, Standing, anybody)
	wantManifest(t, young.m, dest, Growing, trust)
	tree = old.open(t, dest, Options{Keep: true, Progress: func(_, _ int64) { t.Error("a tree that is known was hashed") }})
	if !tree.Published() {
		t.Error("the old version is no longer known")
	}
	must(t, tree.Close())

	young.publish(t, dest, Options{Keep: true, Replace: true})
	wantManifest(t, young.m, dest, Standing, trust)
	wantManifest(t, nil, dest, Growing, trust)
	sameTree(t, young.dir, dest)
}

// TestNothingComeLeavesWhatStands: a new version of which not a piece came takes nothing from the record of the old one.
func TestNothingComeLeavesWhatStands(t *testing.T) {
	old, young, dest := twoVersions(t)
	old.publish(t, dest, Options{Keep: true})
	must(t, young.open(t, dest, Options{Keep: true, Replace: true}).Close())
	wantManifest(t, old.m, dest, Standing, manifest.Trust{AllowUnsigned: true})
	wantManifest(t, nil, dest, Growing, manifest.Trust{AllowUnsigned: true})
	tree := old.open(t, dest, Options{Keep: true, Progress: func(_, _ int64) { t.Error("a tree that is known was hashed") }})
	must(t, tree.Close())
}

// TestKeptManifestIsOnlyAFile: whoever can write to the cache can put anything in the kept manifest's place.
func TestKeptManifestIsOnlyAFile(t *testing.T) {
	p, trust := pack(t, variety()).signed(t)
	stranger, _ := pack(t, map[string]entry{"a": file(10, 1)}).signed(t)
	dest := filepath.Join(fastDir(t), "dest")
	p.publish(t, dest, Options{Keep: true})
	kept := filepath.Join(filepath.Dir(dest), ".dest.handout", standingName)

	must(t, os.WriteFile(kept, stranger.m.Raw(), 0o600))
	_, err := Standing(dest, trust)
	wantErr(t, err, manifest.ErrUntrusted)

	must(t, os.WriteFile(kept, p.m.Raw()[:100], 0o600))
	_, err = Standing(dest, trust)
	wantErr(t, err, manifest.ErrInvalid)

	must(t, os.Truncate(kept, manifest.MaxSize+1))
	if _, err = Standing(dest, trust); err == nil {
		t.Error("a manifest of any length is read")
	}
	must(t, os.Remove(kept))
	must(t, os.Mkdir(kept, 0o700))
	if _, err = Standing(dest, trust); err == nil {
		t.Error("a folder is read as a manifest")
	}

	// A tree that is known by its record is none the worse, and its manifest is written again.
	must(t, os.Remove(kept))
	must(t, p.open(t, dest, Options{Keep: true}).Close())
	wantManifest(t, p.m, dest, Standing, trust)
}

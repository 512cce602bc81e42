package store

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"handout/sources/sourcetest"
)

// mountSSHFS mounts an empty folder.
func mountSSHFS(t *testing.T) *sourcetest.SSHFS {
	t.Helper()
	s := &sourcetest.SSHFS{Export: fastDir(t), Dir: t.TempDir()}
	err := s.Start()
	if errors.Is(err, sourcetest.ErrNoSSHFS) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(s.Stop)
	return s
}

// sameContent is sameTree for a file system that keeps times to the second, and those of symlinks not at all.
func sameContent(t *testing.T, want, got string) {
	t.Helper()
	a, b := readTree(t, want), readTree(t, got)
	for path, e := range a {
		g := b[path]
		if g.mode != e.mode || g.target != e.target || !bytes.Equal(g.data, e.data) ||
			e.target == "" && g.mtime.Unix() != e.mtime.Unix() {
			t.Errorf("%s is %v %v %q, %d bytes", path, g.mode, g.mtime, g.target, len(g.data))
		}
	}
	if len(a) != len(b) {
		t.Errorf("%d entries, want %d", len(b), len(a))
	}
}

// TestSSHFS: a destination on a real sshfs mount is recognised, gets the package staged elsewhere, and can be replaced,
// checked and opened again there.
func TestSSHFS(t *testing.T) {
	s := mountSSHFS(t)
	volume, foreign := foreignVolume(s.Mount)
	if !foreign || volume != "fuse.sshfs" {
		t.Fatalf("%s is taken for %q, foreign %v", s.Mount, volume, foreign)
	}
	if _, foreign := foreignVolume(s.Export); foreign {
		t.Errorf("%s is taken for foreign", s.Export)
	}
	p := pack(t, variety())
	dest := filepath.Join(s.Mount, "new", "dest")
	stage := diskDir(t)
	got, err := StageFor(p.m, dest, []string{filepath.Join(s.Mount, "no"), stage})
	must(t, err)
	if got != stage {
		t.Fatalf("staged in %q", got)
	}
	_, err = StageFor(p.m, dest, []string{filepath.Join(s.Mount, "no")})
	wantErr(t, err, ErrNoStage)

	p.publish(t, dest, Options{Stage: stage})
	sameContent(t, p.dir, filepath.Join(s.Export, "new", "dest"))
	onlyThis(t, dest)
	empty(t, stage)
	again := p.open(t, dest, Options{Stage: stage})
	if !again.Published() {
		t.Error("not recognised")
	}
	p.readAll(t, again)
	must(t, again.Close())

	_, young, _ := twoVersions(t)
	_, err = Open(t.Context(), young.m, dest, Options{Stage: stage})
	wantErr(t, err, ErrExists)
	young.publish(t, dest, Options{Stage: stage, Replace: true, Keep: true})
	sameContent(t, young.dir, dest)
	onlyThis(t, dest)
	kept := young.open(t, dest, Options{Stage: stage, Keep: true, Progress: func(int64, int64) { t.Error("hashed again") }})
	young.readAll(t, kept)
	must(t, kept.Close())

	// Also without staging, which is slow but allowed.
	p.publish(t, filepath.Join(s.Mount, "direct"), Options{})
	sameContent(t, p.dir, filepath.Join(s.Export, "direct"))
}

// diskDir is a folder on a disk: StageFor takes none in memory.
func diskDir(t *testing.T) string {
	dir := t.TempDir()
	if inMemory(dir) {
		t.Skip("needs a temporary folder on a disk: TMPDIR=/var/tmp")
	}
	return dir
}

// TestMountDiesInMove: sshfs is killed while the tree is on its way, and then it is not even mounted. Each time the error
// says so, nothing is written to the mount point, and when the mount is back the move goes on where it was.
func TestMountDiesInMove(t *testing.T) {
	s := mountSSHFS(t)
	tree := map[string]entry{}
	for _, name := range strings.Split("abcdefghijklmnop", "") {
		tree[name] = file(copyBuffer+copyBuffer/2, uint64(name[0]))
	}
	p := pack(t, tree)
	dest, stage := filepath.Join(s.Mount, "dest"), diskDir(t)
	var kill sync.Once
	first := p.open(t, dest, Options{Stage: stage, beat: 10 * time.Millisecond, Moving: func(done, total int64) {
		if done > total/2 {
			kill.Do(s.Kill)
		}
	}})
	p.fill(t, first)
	err := first.Publish(t.Context())
	wantErr(t, err, ErrNotWritable)
	if !strings.Contains(err.Error(), stage) || first.Published() {
		t.Errorf("published %v; the error does not say where the package is: %v", first.Published(), err)
	}
	t.Log(err)
	p.readAll(t, first) // neighbours get it all the same
	must(t, first.Close())

	_, err = Open(t.Context(), p.m, dest, Options{Stage: stage}) // the mount answers nothing
	wantErr(t, err, ErrNotWritable)
	s.Unmount()
	_, err = StageFor(p.m, dest, []string{stage})
	wantErr(t, err, ErrNotWritable)
	empty(t, s.Mount)

	must(t, s.Remount())
	arrived, err := os.Stat(filepath.Join(s.Export, stagingName("dest"), first.arrival(), "a"))
	must(t, err)
	second := p.open(t, dest, Options{Stage: stage})
	if have := second.Have(); !have.Full() {
		t.Errorf("%d pieces of %d are still here", have.Count(), have.Len())
	}
	must(t, second.Publish(t.Context()))
	sameContent(t, p.dir, dest)
	onlyThis(t, dest)
	if now, err := os.Stat(filepath.Join(s.Export, "dest", "a")); err != nil || !os.SameFile(arrived, now) {
		t.Errorf("what had arrived was copied again: %v", err)
	}
	must(t, second.Close())
	empty(t, stage)
}

// TestServerGarbles: a byte that changes on the server after it was written is found out, although this machine has just
// written the right one; the file is copied again.
func TestServerGarbles(t *testing.T) {
	for _, options := range []string{"", "kernel_cache,dcache_timeout=100"} {
		s := &sourcetest.SSHFS{Export: fastDir(t), Dir: t.TempDir(), Options: options}
		if err := s.Start(); errors.Is(err, sourcetest.ErrNoSSHFS) {
			t.Skip(err)
		} else {
			must(t, err)
		}
		t.Cleanup(s.Stop)
		p := pack(t, variety())
		dest := filepath.Join(s.Mount, "dest")
		tree := p.open(t, dest, Options{Stage: fastDir(t)})
		p.fill(t, tree)
		must(t, tree.enterLanding(context.Background(), "dest"))
		to, err := tree.openArrival()
		must(t, err)
		_, err = tree.carry(t.Context(), to)
		must(t, err)
		flip(t, filepath.Join(s.Export, stagingName("dest"), tree.arrival(), "big.img"))
		var said bytes.Buffer
		tree.o.Log = slog.New(slog.NewTextHandler(&said, nil))
		_, err = tree.carry(t.Context(), to)
		must(t, err)
		if !strings.Contains(said.String(), "big.img (wrong content)") || strings.Count(said.String(), "not all") != 1 {
			t.Errorf("with options %q it was not noticed, or not mended at once: %s", options, &said)
		}
		to.close()
		must(t, tree.leaveLanding())
		must(t, tree.Publish(t.Context()))
		sameContent(t, p.dir, filepath.Join(s.Export, "dest"))
		must(t, tree.Close())
		if _, err := os.Lstat(filepath.Join(s.Export, stagingName("dest"))); err == nil {
			t.Error("the landing is still there")
		}
	}
}

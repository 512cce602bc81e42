package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"handout/manifest"
)

// childVariable makes this test binary the process that TestKilled kills: it names the source tree.
const childVariable = "HANDOUT_STORE_TEST_CHILD"

// stageVariable makes the child publish in the end, from a staging folder elsewhere.
const stageVariable = "HANDOUT_STORE_TEST_STAGE"

// putUntilKilled puts the missing pieces in random order and says after each that it is complete.
func putUntilKilled(source string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	raw, err := os.ReadFile(source + ".torrent")
	fail(err)
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
	fail(err)
	bytes, err := os.ReadFile(source + ".bytes")
	fail(err)
	o := Options{FlushEvery: 3 * time.Millisecond, Stage: os.Getenv(stageVariable)}
	if o.Stage != "" {
		o.Moving = func(int64, int64) { fmt.Println("moving") }
		o.Progress = func(int64, int64) { fmt.Println("reading") }
	}
	tree, err := Open(context.Background(), m, source+".dest", o)
	fail(err)
	p := packed{m: m, bytes: bytes}
	for _, i := range rand.Perm(m.NumPieces()) {
		if !tree.Has(manifest.PieceIndex(i)) {
			fail(tree.Put(manifest.PieceIndex(i), p.piece(i)))
			fmt.Println(i)
		}
	}
	if o.Stage != "" {
		fail(tree.Publish(context.Background()))
	}
	os.Exit(0) // without Close: to be killed would be no different
}

// TestKilled: kill -9 at any moment loses no piece that was said to be complete, and the tree gets whole in the end.
func TestKilled(t *testing.T) {
	tree := variety()
	for i := range 40 {
		tree[fmt.Sprintf("more/%02d", i)] = file(60_000, uint64(500+i))
	}
	p := pack(t, tree)
	must(t, os.WriteFile(p.dir+".torrent", p.m.Raw(), 0o600))
	must(t, os.WriteFile(p.dir+".bytes", p.bytes, 0o600))
	dest := p.dir + ".dest"
	complete := map[int]bool{}
	for round := 0; len(complete) < p.m.NumPieces(); round++ {
		if round == 50 {
			t.Fatal("the children get nowhere")
		}
		runAndKill(t, p.dir, 1+rand.IntN(40), complete)
		// Now and then, what was noted but not recorded must be found by the next run's own child.
		if round%2 == 0 {
			after := p.open(t, dest, Options{})
			for i := range complete {
				if !after.Has(manifest.PieceIndex(i)) {
					t.Fatalf("round %d: piece %d was complete and is lost", round, i)
				}
			}
			for i := range after.Have().All { // some may have been killed between Put and saying so
				complete[int(i)] = true
			}
			must(t, after.Close())
		}
	}
	last := p.open(t, dest, Options{})
	p.fill(t, last)
	must(t, last.Publish(t.Context()))
	sameTree(t, p.dir, dest)
	if _, err := os.Lstat(filepath.Join(filepath.Dir(dest), stagingName(filepath.Base(dest)))); err == nil {
		t.Error("the staging folder is still there")
	}
}

// runAndKill kills a child after it has reported n pieces, and adds all that it reported to complete.
func runAndKill(t *testing.T, source string, n int, complete map[int]bool) {
	cmd, lines := child(t, source)
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for lines.Scan() {
		i, err := strconv.Atoi(lines.Text())
		must(t, err)
		if complete[i] {
			t.Errorf("piece %d was complete and is lost", i)
		}
		complete[i] = true
		if n--; n == 0 {
			cmd.Process.Kill()
		}
	}
}

func child(t *testing.T, source string, variables ...string) (*exec.Cmd, *bufio.Scanner) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), childVariable+"="+source), variables...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	return cmd, bufio.NewScanner(out)
}

// TestKilledInMove: kill -9 at any moment while a tree is copied to its destination, read back and renamed costs no piece.
// The destination is there whole or not at all, and what has arrived is not copied again.
func TestKilledInMove(t *testing.T) {
	tree := variety()
	for i := range 40 {
		tree[fmt.Sprintf("more/%02d", i)] = file(60_000, uint64(500+i))
	}
	p := pack(t, tree)
	must(t, os.WriteFile(p.dir+".torrent", p.m.Raw(), 0o600))
	must(t, os.WriteFile(p.dir+".bytes", p.bytes, 0o600))
	dest, stage := p.dir+".dest", fastDir(t)
	first := p.open(t, dest, Options{Stage: stage})
	p.fill(t, first)
	must(t, first.Close())
	killed := 0
	for done := false; !done; {
		if killed == 200 {
			t.Fatal("the children get nowhere")
		}
		cmd, lines := child(t, p.dir, stageVariable+"="+stage)
		for n := rand.IntN(2*killed + 20); n > 0 && lines.Scan(); n-- {
			continue
		}
		cmd.Process.Kill()
		for lines.Scan() {
			continue
		}
		done = cmd.Wait() == nil
		if _, err := os.Lstat(dest); err == nil {
			sameTree(t, p.dir, dest)
		} else if done {
			t.Fatal(err)
		}
		killed++
	}
	t.Logf("%d children killed", killed-1)
	last := p.open(t, dest, Options{Stage: stage})
	if !last.Published() {
		t.Error("not recognised")
	}
	must(t, last.Close())
	if _, err := os.Lstat(filepath.Join(filepath.Dir(dest), stagingName(filepath.Base(dest)))); err == nil {
		t.Error("the landing is still there")
	}
	empty(t, stage)
}

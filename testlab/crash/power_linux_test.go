package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"handout/agent/store"
	"handout/manifest"
	"handout/testlab/payload"
)

// childVariable makes this test binary a process that fills a store: it holds an order. Not in the tests' own process:
// the store maps its record into memory, and a page fault on a file system must not wait for its own process.
const childVariable = "HANDOUT_CRASH_CHILD"

// order is what the child has to do.
type order struct {
	Tree, Dest    string
	Replace, Keep bool
	FlushBytes    int64
}

// fill puts the missing pieces in random order, publishes and closes. After every step it says so and waits for a line.
func fill(child string) {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	answers := bufio.NewReader(os.Stdin)
	say := func(what ...any) {
		fmt.Println(what...)
		_, err := answers.ReadString('\n')
		check(err)
	}
	var o order
	check(json.Unmarshal([]byte(child), &o))
	p, err := read(o.Tree, o.Tree+".torrent")
	check(err)
	options := store.Options{Replace: o.Replace, Keep: o.Keep, FlushBytes: o.FlushBytes, FlushEvery: time.Hour}
	tree, err := store.Open(context.Background(), p.m, o.Dest, options)
	check(err)
	say("opened")
	for _, i := range rand.Perm(p.m.NumPieces()) {
		if !tree.Has(manifest.PieceIndex(i)) {
			check(tree.Put(manifest.PieceIndex(i), p.piece(i)))
			say("put", i)
		}
	}
	check(tree.Publish(context.Background()))
	say("published")
	check(tree.Close())
	say("closed")
	os.Exit(0)
}

// pkg is a tree with its manifest and all its bytes.
type pkg struct {
	dir   string
	m     *manifest.Manifest
	bytes []byte
}

// pack makes a tree and its manifest.
func pack(t testing.TB, seed uint64, size int64) pkg {
	t.Helper()
	dir := filepath.Join(folder(t), "tree")
	must(t, payload.Write(dir, seed, size))
	raw, err := manifest.Build(t.Context(), dir, manifest.BuildOptions{PieceLength: manifest.MinPieceLength})
	must(t, err)
	must(t, os.WriteFile(dir+".torrent", raw, 0o600))
	p, err := read(dir, dir+".torrent")
	must(t, err)
	return p
}

func read(dir, torrent string) (pkg, error) {
	p := pkg{dir: dir}
	raw, err := os.ReadFile(torrent)
	if err != nil {
		return p, err
	}
	if p.m, err = manifest.Open(raw, manifest.Trust{AllowUnsigned: true}); err != nil {
		return p, err
	}
	for _, f := range p.m.Files {
		if f.Target != "" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			return p, err
		}
		p.bytes = append(p.bytes, data...)
	}
	return p, nil
}

func (p pkg) piece(i int) []byte {
	off := p.m.PieceOffset(manifest.PieceIndex(i))
	return p.bytes[off : off+p.m.PieceSize(manifest.PieceIndex(i))]
}

// step is something the child said, and after which operation.
type step struct {
	what string
	op   int
}

// follow has a child carry out an order on the disk.
func follow(t testing.TB, d *Disk, o order) (steps []step) {
	t.Helper()
	text, err := json.Marshal(o)
	must(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		steps = append(steps, step{lines.Text(), d.Ops()})
		io.WriteString(in, "\n")
	}
	must(t, cmd.Wait())
	return steps
}

// TestPowerCut: a machine loses its power while a tree grows, while it is published, while it replaces another, with
// whatever the disk then has and has not. The next run opens what is left without an error, no wrong byte is complete or
// published, the destination is the old tree or the new one, and what was there before the last batch is still there.
func TestPowerCut(t *testing.T) {
	cuts := 120
	if soak {
		cuts = 4_000
	}
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("keep=%v", keep), func(t *testing.T) {
			t.Parallel()
			powerCuts(t, keep, cuts/2)
		})
	}
}

func powerCuts(t *testing.T, keep bool, cuts int) {
	const batch = 250_000
	d := mount(t)
	rec, err := d.Record()
	must(t, err)
	old, young := pack(t, 1, 100_000), pack(t, 2, 1_000_000)
	dest := filepath.Join(d.Path, "dest")
	follow(t, d, order{Tree: old.dir, Dest: dest, Keep: keep})
	begin := d.Ops() // what happens up to here is cut in a run of its own
	steps := follow(t, d, order{Tree: young.dir, Dest: dest, Keep: keep, Replace: true, FlushBytes: batch})
	end := d.Ops()
	same(t, young.dir, filepath.Join(d.Backing, "dest"))
	c := powerCut{old: old, young: young, keep: keep, rec: rec, steps: steps}
	random := rand.New(rand.NewPCG(rand.Uint64(), 1))
	for range cuts {
		n, seed := begin+random.IntN(end-begin+1), random.Uint64()
		c.check(t, n, seed)
		if t.Failed() {
			t.Fatalf("after operation %d of %d (%s), seed %d", n, end, describe(rec, n), seed)
		}
	}
	// The first publication, of which nothing stood before.
	c.first = true
	for range cuts / 4 {
		n, seed := random.IntN(begin+1), random.Uint64()
		c.check(t, n, seed)
		if t.Failed() {
			t.Fatalf("after operation %d of the first %d (%s), seed %d", n, begin, describe(rec, n), seed)
		}
	}
	t.Logf("%d operations, %d cuts: nothing wrong complete or published; most lost of what was complete: %d bytes (batches of %d)",
		end, cuts+cuts/4, c.mostLost, batch)
}

func describe(r *Recording, n int) string {
	if n < 1 || n > len(r.ops) {
		return "none"
	}
	op := r.ops[n-1]
	return strings.TrimSpace(op.Kind + " " + op.Path + " " + op.To)
}

type powerCut struct {
	old, young pkg
	keep       bool
	first      bool // only the old one's story is told
	rec        *Recording
	steps      []step
	mostLost   int64
}

// check looks at what a power cut after operation n leaves.
func (c *powerCut) check(t *testing.T, n int, seed uint64) {
	dir := folder(t)
	defer os.RemoveAll(dir)
	must(t, c.rec.Rebuild(dir, n, rand.New(rand.NewPCG(seed, 2))))
	dest := filepath.Join(dir, "dest")
	p := c.young
	if c.first {
		p = c.old
	}
	c.standing(t, dest)
	tree, err := store.Open(t.Context(), p.m, dest, store.Options{Replace: true, Keep: c.keep})
	must(t, err)
	defer tree.Close()
	c.standing(t, dest)
	if _, err := os.Lstat(dest); err != nil && !c.first {
		t.Errorf("neither the old nor the new tree stands: %v", err)
	}
	buf := make([]byte, p.m.PieceLength)
	for i := range tree.Have().All {
		want := p.piece(int(i))
		if _, err := tree.ReadAt(i, buf[:len(want)], 0); err != nil || !bytes.Equal(buf[:len(want)], want) {
			t.Errorf("piece %d is said to be complete and reads wrong: %v", i, err)
		}
	}
	if !c.first {
		c.kept(t, n, tree)
	}
	for i := range p.m.NumPieces() {
		must(t, tree.Put(manifest.PieceIndex(i), p.piece(i)))
	}
	must(t, tree.Publish(t.Context()))
	must(t, tree.Close())
	same(t, p.dir, dest)
	c.leftovers(t, dir)
}

// standing fails unless the destination is absent or one of the trees.
func (c *powerCut) standing(t *testing.T, dest string) {
	t.Helper()
	if _, err := os.Lstat(dest); os.IsNotExist(err) {
		return
	}
	if !isTree(t, c.old.dir, dest) && (c.first || !isTree(t, c.young.dir, dest)) {
		t.Errorf("the destination is neither the old nor the new tree")
	}
}

// kept fails where a piece is missing that was complete before the batch before the last one was recorded.
func (c *powerCut) kept(t *testing.T, n int, tree *store.Tree) {
	var commits []int // a commit of the record flushes it twice, and once more where it grows
	for _, op := range c.rec.ops[:n] {
		if op.Kind == "fsync" && strings.HasSuffix(op.Path, "/record.db") {
			commits = append(commits, op.N)
		}
	}
	var lost int64
	const twoBatches = 5
	for _, s := range c.steps {
		var i manifest.PieceIndex
		if k, _ := fmt.Sscanf(s.what, "put %d", &i); k == 0 || s.op > n || tree.Has(i) {
			continue
		}
		lost += c.young.m.PieceSize(i)
		if len(commits) > twoBatches && s.op < commits[len(commits)-twoBatches] {
			t.Errorf("piece %d was recorded, or should have been, and is lost", i)
		}
	}
	c.mostLost = max(c.mostLost, lost)
}

// leftovers fails if there is more beside the tree than there should be.
func (c *powerCut) leftovers(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case rel == "dest":
			return fs.SkipDir
		case rel == ".", c.keep && rel == ".dest.handout":
		case c.keep && (e.Name() == "record.db" || e.Name() == "package.torrent" || e.Name() == "used"):
		default:
			t.Errorf("left over: %s", rel)
		}
		return nil
	}))
}

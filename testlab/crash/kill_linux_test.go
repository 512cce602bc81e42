package crash

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"handout/agent/plan"
	"handout/agent/store"
	"handout/manifest"
	"handout/testlab/cli"
	"handout/testlab/payload"
)

// parcel is a package as the program is given it.
type parcel struct {
	pkg
	cli.Package
	origin *origin
}

// origin is a web server that shows a tree and counts what it sends.
type origin struct {
	*httptest.Server
	mu   sync.Mutex
	sent int64
	at   int64 // bytes sent, when then is called, if it is not nil
	then func()
}

func (o *origin) count(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent += int64(n)
	if o.then != nil && o.sent >= o.at {
		o.then()
		o.then = nil
	}
}

// after calls f once so many bytes more were sent.
func (o *origin) after(n int64, f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at, o.then = o.sent+n, f
}

func (o *origin) Sent() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent
}

type countedWriter struct {
	http.ResponseWriter
	o *origin
}

func (w countedWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.o.count(n)
	return n, err
}

// publish signs a tree and shows it.
func publish(t testing.TB, tree string) parcel {
	t.Helper()
	p := parcel{origin: &origin{}}
	files := http.FileServer(http.Dir(tree))
	p.origin.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		files.ServeHTTP(countedWriter{w, p.origin}, r)
	}))
	t.Cleanup(p.origin.Close)
	var err error
	p.Package, err = bin(t).Publish(t.Context(), folder(t), tree, p.origin.URL)
	must(t, err)
	p.pkg, err = read(tree, p.Manifest)
	must(t, err)
	return p
}

// written is payload.Write in a new folder.
func written(t testing.TB, seed uint64, size int64) string {
	t.Helper()
	dir := filepath.Join(folder(t), "tree")
	must(t, payload.Write(dir, seed, size))
	return dir
}

// name says what an operation does to what, the same for all files of the tree.
func name(op Op) string {
	role := func(p string) string {
		rest, staged := strings.CutPrefix(p, ".dest.handout/")
		switch first, _, deep := strings.Cut(rest, "/"); {
		case p == "dest":
			return "DIR"
		case !staged || !deep:
			return path.Base(p)
		default:
			return first + "/…"
		}
	}
	s := op.Kind + " " + role(op.Path)
	if op.To != "" {
		s += " to " + role(op.To)
	}
	return s
}

// run runs a fetch on the disk and kills it where hook says so, or after a while if that is not 0. It reports whether the
// fetch was killed; if not, err is how it ended.
func run(t testing.TB, cmd *exec.Cmd, d *Disk, at func(Op) bool, after time.Duration) (killed bool, err error) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &stderr
	must(t, cmd.Start())
	d.Hook(func(op Op) Fault {
		if at != nil && at(op) {
			cmd.Process.Kill()
			return Fault{Errno: 5} // the operation is not done, and nobody is left to hear of it
		}
		return Fault{}
	})
	defer d.Hook(nil)
	if after > 0 {
		timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
		defer timer.Stop()
	}
	err = cmd.Wait()
	if state := cmd.ProcessState; !state.Exited() {
		return true, nil
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return false, err
}

// tally is what became of what was there when a process was killed.
type tally struct {
	mu       sync.Mutex
	kills    int
	there    int64 // bytes of pieces that lay right on the disk
	again    int64 // of these, what the next run fetches again
	lost     int64 // bytes of pieces that were said to be complete and are not any more
	wrong    int64 // bytes of pieces that are said to be complete and are not right
	finished int
	names    map[string]int // how often at which operation
}

// autopsy looks at what a killed process has left, on a copy: the next run will find it as it is.
func (c *tally) autopsy(t *testing.T, p pkg, backing string) {
	t.Helper()
	dir := folder(t)
	defer os.RemoveAll(dir)
	if out, err := exec.Command("cp", "-a", backing+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dest := filepath.Join(dir, "dest")
	staged := filepath.Join(dir, ".dest.handout")
	if _, err := os.Lstat(dest); err == nil {
		same(t, p.dir, dest)
	}
	right, noted := p.onDisk(filepath.Join(staged, "tree")), plan.NewBitfield(p.m.NumPieces())
	if data, err := os.ReadFile(filepath.Join(staged, "verified")); err == nil {
		for ; len(data) >= 4; data = data[4:] {
			noted.Set(manifest.PieceIndex(binary.LittleEndian.Uint32(data)))
		}
	}
	tree, err := store.Open(t.Context(), p.m, dest, store.Options{})
	must(t, err)
	defer c.sweep(t, dir)
	defer tree.Close()
	have := tree.Have()
	buf := make([]byte, p.m.PieceLength)
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range p.m.NumPieces() {
		i, want := manifest.PieceIndex(n), p.piece(n)
		size := int64(len(want))
		if right.Has(i) {
			c.there += size
		}
		if right.Has(i) && !have.Has(i) {
			c.again += size
		}
		if noted.Has(i) && !have.Has(i) {
			c.lost += size
			t.Errorf("piece %d was complete and is lost", i)
		}
		if have.Has(i) {
			if _, err := tree.ReadAt(i, buf[:size], 0); err != nil || !bytes.Equal(buf[:size], want) {
				c.wrong += size
				t.Errorf("piece %d is said to be complete and is not right: %v", i, err)
			}
		}
	}
}

// sweep fails where handout gc would leave anything of what a killed process has left, a tree at its destination aside.
func (c *tally) sweep(t *testing.T, dir string) {
	t.Helper()
	found, err := store.Clean(t.Context(), dir, 0, false)
	must(t, err)
	for _, f := range found {
		must(t, f.Err)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if e.Name() != "dest" {
			t.Errorf("gc leaves %s", e.Name())
		}
	}
}

// onDisk are the pieces of which every byte lies in the tree at dir.
func (p pkg) onDisk(dir string) plan.Bitfield {
	right := plan.NewBitfield(p.m.NumPieces())
	for n := range p.m.NumPieces() {
		i, h := manifest.PieceIndex(n), sha256.New()
		for _, s := range p.m.Spans(p.m.PieceOffset(i), p.m.PieceSize(i)) {
			f, err := os.Open(filepath.Join(dir, filepath.FromSlash(p.m.Files[s.File].Path)))
			if err != nil {
				break
			}
			io.Copy(h, io.NewSectionReader(f, s.Offset, s.Length))
			f.Close()
		}
		if [32]byte(h.Sum(nil)) == p.m.PieceSHA256(i) {
			right.Set(i)
		}
	}
	return right
}

// TestKilled: machines fetch a package from its origin and from a neighbour and are killed (SIGKILL) again and again: at
// operations of every name, at operations of any number, at any time. Nothing verified is lost, nothing wrong is complete
// or published, almost nothing is fetched twice, and in the end only the tree is left, from which another machine gets
// it whole.
func TestKilled(t *testing.T) {
	// What counts is what lay right on the disk, also what nobody had come to verify: some pieces for every kill, which
	// are much of a small package.
	kills, size, most := 50, int64(16<<20), 5.0
	if soak {
		kills, size, most = 500, 64<<20, 2
	}
	mount(t) // or skip, before anything is built
	p := publish(t, written(t, 7, size))
	seed := neighbour(t, p, filepath.Join(folder(t), "dest"))
	c := &tally{names: map[string]int{}}
	began := time.Now()
	t.Run("machines", func(t *testing.T) {
		for i := range 2 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				c.machine(t, p, seed, kills)
			})
		}
	})
	share := 100 * float64(c.again) / float64(max(1, c.there))
	t.Logf("%d kills in %.0f s, %d trees published: %d bytes lost, %d wrong bytes, %d of %d bytes fetched again (%.2f %%); "+
		"the origin sent %.2f copies", c.kills, time.Since(began).Seconds(), c.finished, c.lost, c.wrong, c.again, c.there, share,
		float64(p.origin.Sent())/float64(p.m.Length))
	for _, n := range slices.Sorted(maps.Keys(c.names)) {
		t.Logf("%5d  %s", c.names[n], n)
	}
	if share > most {
		t.Errorf("%.2f %% of what was there is fetched again", share)
	}
}

// machine kills fetches on a disk of its own until there were enough kills.
func (c *tally) machine(t *testing.T, p parcel, seed string, kills int) {
	d := mount(t)
	dest := filepath.Join(d.Path, "dest")
	sources := [][]string{{"--no-peers"}, {"--seed", seed}, {"--seed", seed, "--no-origin"}}
	ops := 200 // that a whole fetch takes; corrected when one came to its end
	for {
		c.mu.Lock()
		enough := c.kills >= kills
		c.mu.Unlock()
		if enough || t.Failed() {
			break
		}
		began := d.Ops()
		at, after := c.plan(began, ops)
		source := sources[rand.IntN(len(sources))]
		flags := append([]string{"--linger", "0", "--port", "0"}, source...)
		cmd := bin(t).Fetch(t.Context(), p.Package, dest, flags...)
		killed, err := run(t, cmd, d, at, after)
		if err != nil {
			t.Fatal(err)
		}
		if killed {
			c.mu.Lock()
			c.kills++
			c.mu.Unlock()
			c.autopsy(t, p.pkg, d.Backing)
			continue
		}
		ops = max(ops, d.Ops()-began)
		c.mu.Lock()
		c.finished++
		c.mu.Unlock()
		same(t, p.dir, dest)
		must(t, os.RemoveAll(dest))
	}
	cmd := bin(t).Fetch(t.Context(), p.Package, dest, "--no-peers")
	if _, err := run(t, cmd, d, nil, 0); err != nil {
		t.Fatal(err)
	}
	same(t, p.dir, dest)
	onlyDest(t, d)
	if t.Name()[len(t.Name())-1] == '0' {
		// What came through all that is given to another machine, which asks nobody else.
		again := filepath.Join(folder(t), "dest")
		cmd := bin(t).Fetch(t.Context(), p.Package, again, "--no-origin", "--port", "0", "--linger", "auto", "--seed", neighbour(t, p, dest))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		same(t, p.dir, again)
	}
}

// plan chooses when the next process dies.
func (c *tally) plan(began, ops int) (at func(Op) bool, after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := func(op Op) bool { c.names[name(op)]++; return true }
	switch rand.IntN(3) {
	case 0: // at an operation at which the fewest have died
		least := 0
		if len(c.names) > 0 {
			least = slices.Min(slices.Collect(maps.Values(c.names)))
		}
		return func(op Op) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.names[name(op)] += 0
			return c.names[name(op)] <= least && count(op)
		}, 0
	case 1: // at any
		n := began + 1 + rand.IntN(ops)
		return func(op Op) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return op.N == n && count(op)
		}, 0
	default:
		return nil, rand.N(600 * time.Millisecond)
	}
}

// onlyDest fails if there is anything on the disk besides the destination.
func onlyDest(t *testing.T, d *Disk) {
	t.Helper()
	entries, err := os.ReadDir(d.Backing)
	must(t, err)
	for _, e := range entries {
		if e.Name() != "dest" {
			t.Errorf("left over: %s", e.Name())
		}
	}
}

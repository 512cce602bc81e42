package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"handout/manifest"
)

// TestOddSizes: the packages that break stores.
func TestOddSizes(t *testing.T) {
	many := map[string]entry{}
	for i := range 500 {
		many[fmt.Sprintf("d%d/%03d", i%7, i)] = file(30, uint64(i))
	}
	zeros := map[string]entry{"a/0": file(0, 1), "b": file(20_000, 2), "c/0": file(0, 3), "d": file(40_000, 4), "e": file(0, 5)}
	for name, tree := range map[string]map[string]entry{
		"one piece of 500 files": many,
		"one byte":               {"a": file(1, 1)},
		"only empty files":       {"a": file(0, 1), "b/c": file(0, 2)},
		"only folders":           {"a/b": {mode: os.ModeDir | 0o711, mtime: when}},
		"empty files anywhere":   zeros,
		"a file of one piece":    {"a": file(16<<10, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			p := pack(t, tree)
			dest := filepath.Join(fastDir(t), "dest")
			p.publish(t, dest, Options{})
			sameTree(t, p.dir, dest)
			again := p.open(t, dest, Options{})
			if !again.Published() {
				t.Error("not recognised")
			}
		})
	}
}

func TestSingleFile(t *testing.T) {
	for _, size := range []int{0, 1, 16 << 10, 100_000} {
		dir := fastDir(t)
		source, dest := filepath.Join(dir, "source.img"), filepath.Join(dir, "other.img")
		e := file(size, 9)
		must(t, os.WriteFile(source, e.data, 0o600))
		must(t, os.Chmod(source, 0o751))
		must(t, os.Chtimes(source, when, when))
		p := packDir(t, source, manifest.MinPieceLength)
		must(t, os.WriteFile(dest, []byte("something else"), 0o644))
		_, err := Open(t.Context(), p.m, dest, Options{})
		wantErr(t, err, ErrExists)
		p.publish(t, dest, Options{Replace: true, Keep: true})
		data, err := os.ReadFile(dest)
		must(t, err)
		fi, err := os.Stat(dest)
		must(t, err)
		if !bytes.Equal(data, e.data) || fi.Mode() != 0o751 || !fi.ModTime().Equal(when) {
			t.Errorf("%d bytes: arrived as %v %v", size, fi.Mode(), fi.ModTime())
		}
		again := p.open(t, dest, Options{Keep: true})
		if !again.Published() {
			t.Error("not recognised")
		}
		buf := make([]byte, len(e.data))
		for i := range p.m.NumPieces() {
			_, err := again.ReadAt(manifest.PieceIndex(i), buf[:len(p.piece(i))], 0)
			must(t, err)
		}
		must(t, again.Close())
	}
}

// TestDescriptorsAreBounded: 2,000 files in 200 folders, written, read back and read after publication by eight at once.
func TestDescriptorsAreBounded(t *testing.T) {
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		t.Skip("needs /proc/self/fd")
	}
	source := map[string]entry{}
	for i := range 2000 {
		source[fmt.Sprintf("d%d/e/f%d/%d", i%20, i%200, i)] = file(3000, uint64(i))
	}
	p := pack(t, source)
	const maxOpen, workers = 16, 8
	// Besides what is held open: the record, the journal and four folders; and for each worker on its way through a deep
	// path one.
	const bound = maxOpen + 6 + workers
	before := descriptors(t)
	var most atomic.Int64
	each := func(do func(i manifest.PieceIndex)) {
		var work sync.WaitGroup
		next := make(chan int)
		for range workers {
			work.Go(func() {
				for i := range next {
					do(manifest.PieceIndex(i))
					now := int64(descriptors(t) - before)
					for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
					}
				}
			})
		}
		for _, i := range rand.Perm(p.m.NumPieces()) {
			next <- i
		}
		close(next)
		work.Wait()
	}
	tree := p.open(t, filepath.Join(fastDir(t), "dest"), Options{MaxOpen: maxOpen})
	read := func(i manifest.PieceIndex) {
		buf := make([]byte, len(p.piece(int(i))))
		if _, err := tree.ReadAt(i, buf, 0); err != nil || !bytes.Equal(buf, p.piece(int(i))) {
			t.Errorf("piece %d reads wrong: %v", i, err)
		}
	}
	each(func(i manifest.PieceIndex) {
		data := p.piece(int(i))
		if i%2 == 0 {
			if err := tree.Put(i, data); err != nil {
				t.Error(err)
			}
			return
		}
		for off := 0; off < len(data); off += 1000 {
			if _, err := tree.WriteAt(i, data[off:min(off+1000, len(data))], int64(off)); err != nil {
				t.Error(err)
			}
		}
		if ok, err := tree.Verify(i); !ok || err != nil {
			t.Error(ok, err)
		}
	})
	each(read)
	must(t, tree.Publish(t.Context()))
	each(read)
	t.Logf("at most %d descriptors, bound %d", most.Load(), bound)
	if most.Load() > bound {
		t.Errorf("%d descriptors, more than %d", most.Load(), bound)
	}
	must(t, tree.Close())
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t failer) int {
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// TestLateBlocks: neighbours go on writing wrong blocks to a piece while it is verified, which is when one could slip in
// between the hash and the completion. No complete piece has one.
func TestLateBlocks(t *testing.T) {
	p := pack(t, map[string]entry{"large": file(16<<20, 1), "small": file(10_000, 2)})
	tree := p.open(t, filepath.Join(fastDir(t), "dest"), Options{})
	var target atomic.Int64
	stop := make(chan struct{})
	var hostile sync.WaitGroup
	for range 2 {
		hostile.Go(func() {
			bad := bytes.Repeat([]byte{0xee}, 100)
			for {
				select {
				case <-stop:
					return
				default:
					tree.WriteAt(manifest.PieceIndex(target.Load()), bad, rand.Int64N(4000))
				}
			}
		})
	}
	for i := range p.m.NumPieces() {
		target.Store(int64(i))
		i, data := manifest.PieceIndex(i), p.piece(i)
		for try := 0; !tree.Has(i); try++ {
			if try == 20 {
				must(t, tree.Put(i, data))
			}
			if _, err := tree.WriteAt(i, data, 0); err != nil {
				wantErr(t, err, ErrComplete)
			}
			_, err := tree.Verify(i)
			must(t, err)
		}
	}
	close(stop)
	hostile.Wait()
	got := make([]byte, p.m.PieceLength)
	for i := range p.m.NumPieces() {
		n := len(p.piece(i))
		_, err := tree.ReadAt(manifest.PieceIndex(i), got[:n], 0)
		must(t, err)
		if !bytes.Equal(got[:n], p.piece(i)) {
			t.Errorf("piece %d reads wrong", i)
		}
	}
	must(t, tree.Publish(t.Context()))
	sameTree(t, p.dir, tree.Dest())
}

func Test20000SmallFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: run without -short")
	}
	source := map[string]entry{}
	for i := range 20_000 {
		source[fmt.Sprintf("a%d/b%d/c%d/%d", i%10, i%100, i%1000, i)] = file(i%3000, uint64(i))
	}
	dir := filepath.Join(fastDir(t), "source")
	must(t, os.Mkdir(dir, 0o755))
	writeTree(t, dir, source)
	p := packDir(t, dir, 0)
	dest := filepath.Join(fastDir(t), "dest")
	p.publish(t, dest, Options{})
	report, err := Check(t.Context(), p.m, nil, dest, nil)
	must(t, err)
	if !report.Matches() {
		t.Error("does not match")
	}
	sameTree(t, dir, dest)
}

package store

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"handout/manifest"
)

// The benchmarks write to HANDOUT_BENCH_DIR, by default the system's folder for temporary files:
//
//	HANDOUT_BENCH_DIR=/dev/shm go test -run - -bench . -benchtime 5x ./agent/store

// BenchmarkSmallFiles stages, verifies and publishes the Go installation's own tree, some 15,000 files. Compare it with
// "cp -a" of the same tree to the same place.
func BenchmarkSmallFiles(b *testing.B) {
	benchmark(b, packDir(b, goroot(b), 0))
}

// BenchmarkLargeFile does the same with one file of 1 GiB.
func BenchmarkLargeFile(b *testing.B) {
	path := filepath.Join(benchDir(b), "large")
	f, err := os.Create(path)
	must(b, err)
	random := rand.NewChaCha8([32]byte{1})
	chunk := make([]byte, 1<<20)
	for range 1 << 10 {
		random.Read(chunk)
		_, err := f.Write(chunk)
		must(b, err)
	}
	must(b, f.Close())
	p := packDir(b, path, 0)
	must(b, os.Remove(path))
	benchmark(b, p)
}

func benchmark(b *testing.B, p packed) {
	dir := benchDir(b)
	b.SetBytes(p.m.Length)
	var cpu time.Duration
	for b.Loop() {
		before := cpuTime()
		dest := filepath.Join(dir, "dest")
		tree, err := Open(b.Context(), p.m, dest, Options{})
		must(b, err)
		order := rand.Perm(p.m.NumPieces())
		var work errgroup.Group
		work.SetLimit(4)
		for _, i := range order {
			work.Go(func() error { return tree.Put(manifest.PieceIndex(i), p.piece(i)) })
		}
		must(b, work.Wait())
		must(b, tree.Publish(b.Context()))
		must(b, tree.Close())
		cpu += cpuTime() - before
		b.StopTimer()
		must(b, os.RemoveAll(dest))
		b.StartTimer()
	}
	b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/op") // on a busy machine the better measure
}

func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp(os.Getenv("HANDOUT_BENCH_DIR"), "bench")
	must(b, err)
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// goroot is the Go installation's tree: some 15,000 files that every developer has.
func goroot(b *testing.B) string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skip("needs the go command: ", err)
	}
	return strings.TrimSpace(string(out))
}

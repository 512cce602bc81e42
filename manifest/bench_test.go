package manifest

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkBuild publishes the Go installation (15,000 files) beside what the machine can do at most, measured in the
// same run: hash2, all cores taking SHA-1 and SHA-256 of as many bytes in memory; hash3, the same with the third hash
// that a file's own SHA-256 is; read, all cores finding and reading the files and doing nothing with them.
//
// of-slower is the rate against the slower of hash2 and read: the right measure where a disk works while cores hash. In
// a warm cache reading is work for the same cores, and of-hash2+read is against one after the other.
// of-hash3+read says how much of that is lost to anything but the third hash.
func BenchmarkBuild(b *testing.B) {
	benchmarkBuild(b, goroot(b))
}

// BenchmarkBuildOneFile does so for one file of 1 GiB.
func BenchmarkBuildOneFile(b *testing.B) {
	tree := b.TempDir()
	content := make([]byte, 1<<20)
	f, err := os.Create(tree + "/big")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for i := range 1024 {
		for j := range content {
			content[j] = byte(j * (i | 1) >> 3)
		}
		if _, err := f.Write(content); err != nil {
			b.Fatal(err)
		}
	}
	benchmarkBuild(b, tree)
}

func benchmarkBuild(b *testing.B, tree string) {
	build := func() int64 {
		raw, err := Build(b.Context(), tree, BuildOptions{AllowNonWindowsNames: true})
		if err != nil {
			b.Fatal(err)
		}
		m, err := Open(raw, Trust{AllowUnsigned: true})
		if err != nil {
			b.Fatal(err)
		}
		return m.Length
	}
	build() // so that everything after finds the tree in memory
	var size int64
	took := struct{ build, hash2, hash3, read time.Duration }{}
	best := func(d *time.Duration, f func()) {
		start := time.Now()
		f()
		if took := time.Since(start); *d == 0 || took < *d {
			*d = took
		}
	}
	for b.Loop() {
		best(&took.build, func() { size = build() })
		best(&took.hash2, func() { hashInMemory(size, false) })
		best(&took.hash3, func() { hashInMemory(size, true) })
		best(&took.read, func() { readTree(b, tree) })
	}
	rate := func(d time.Duration) float64 { return float64(size) / 1e6 / d.Seconds() }
	b.ReportMetric(rate(took.build), "build-MB/s")
	b.ReportMetric(rate(took.hash2), "hash2-MB/s")
	b.ReportMetric(rate(took.hash3), "hash3-MB/s")
	b.ReportMetric(rate(took.read), "read-MB/s")
	b.ReportMetric(rate(took.build)/min(rate(took.hash2), rate(took.read)), "of-slower")
	b.ReportMetric(float64(took.hash2+took.read)/float64(took.build), "of-hash2+read")
	b.ReportMetric(float64(took.hash3+took.read)/float64(took.build), "of-hash3+read")
	b.ReportMetric(0, "ns/op")
}

// hashInMemory takes SHA-1 and SHA-256, the latter twice if third is set, of size bytes on all cores.
func hashInMemory(size int64, third bool) {
	const chunk = 64 << 10
	var next atomic.Int64
	onAllCores(func() {
		p := make([]byte, chunk)
		for next.Add(chunk) <= size {
			sha1.Sum(p)
			sha256.Sum256(p)
			if third {
				sha256.Sum256(p)
			}
		}
	})
}

// readTree reads every file of the tree on all cores.
func readTree(b *testing.B, tree string) {
	m := &Manifest{Root: "tree"}
	files, err := survey(context.Background(), tree, m, BuildOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	onAllCores(func() {
		p := make([]byte, 1<<20)
		for {
			i := next.Add(1) - 1
			if i >= int64(len(files)) {
				return
			}
			f, err := os.Open(files[i].path)
			if err != nil {
				b.Error(err)
				return
			}
			for {
				if n, err := f.Read(p); n == 0 || err != nil {
					break
				}
			}
			f.Close()
		}
	})
}

func onAllCores(f func()) {
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(f)
	}
	wg.Wait()
}

// goroot is the Go installation's tree: some 15,000 files that every developer has.
func goroot(b *testing.B) string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skip("needs the go command: ", err)
	}
	return strings.TrimSpace(string(out))
}

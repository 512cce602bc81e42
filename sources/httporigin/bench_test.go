package httporigin

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"handout/manifest"
	"handout/sources"
	"handout/sources/sourcetest"
)

// BenchmarkNginx prints what reading costs, against a real nginx on the loopback:
//
//	go test -run '^$' -bench Nginx -benchtime 3x ./sources/httporigin
//
// cpu is this process's alone, user and system; files is the Go installation's own tree.
func BenchmarkNginx(b *testing.B) {
	large := &manifest.Manifest{Single: true, Root: "large", Length: 1 << 30, PieceLength: 1 << 20,
		Files: []manifest.File{{Path: "large", Length: 1 << 30}}}
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, 1<<30), 0o644); err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 4} {
		b.Run(fmt.Sprintf("large/origins=%d", n), func(b *testing.B) { benchRuns(b, dir, "/large", large, n, 32) })
	}
	root, _ := filepath.EvalSymlinks(goroot(b))
	tree := treeOf(b, root)
	for _, n := range []int{1, 4} {
		b.Run(fmt.Sprintf("files/origins=%d", n), func(b *testing.B) { benchRuns(b, root, "", tree, n, 16) })
	}
}

// benchRuns reads all of m, shared out among n origins in runs of several pieces.
func benchRuns(b *testing.B, dir, path string, m *manifest.Manifest, n, pieces int) {
	server := &sourcetest.Nginx{Root: dir, Workers: 2}
	startNginx(b, server)
	origins := make([]*Origin, n)
	for i := range origins {
		origins[i] = mustOpen(b, server.URL+path, Options{})
	}
	total := int((m.Length + m.PieceLength - 1) / m.PieceLength)
	cpu, begun := cpuTime(b), time.Now()
	for b.Loop() {
		var mu sync.Mutex
		next := 0
		var g sync.WaitGroup
		for _, o := range origins {
			g.Go(func() {
				for {
					mu.Lock()
					first := next
					next += pieces
					mu.Unlock()
					if first >= total {
						return
					}
					err := sources.ReadRun(context.Background(), o, m, manifest.PieceIndex(first), min(pieces, total-first),
						func(manifest.PieceIndex, []byte) error { return nil })
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		g.Wait()
	}
	wall := time.Since(begun).Seconds()
	used := (cpuTime(b) - cpu).Seconds()
	all := float64(b.N) * float64(m.Length)
	b.ReportMetric(all/wall/1e6, "MB/s")
	b.ReportMetric(used/(all/(1<<30)), "cpu-s/GiB")
	if files := float64(b.N) * float64(len(m.Files)); len(m.Files) > 1 {
		b.ReportMetric(files/wall, "files/s")
		b.ReportMetric(used/files*1e6, "cpu-µs/file")
	}
}

func treeOf(b *testing.B, root string) *manifest.Manifest {
	m := &manifest.Manifest{PieceLength: 256 << 10}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		rel, err := filepath.Rel(root, path)
		m.Files = append(m.Files, manifest.File{Path: filepath.ToSlash(rel), Offset: m.Length, Length: info.Size()})
		m.Length += info.Size()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// goroot is the Go installation's tree: some 15,000 files that every developer has.
func goroot(b *testing.B) string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skip("needs the go command: ", err)
	}
	return strings.TrimSpace(string(out))
}

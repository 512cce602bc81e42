package main

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// publish: hashing may cost no more than the hashes and the disk do.
func publish(ctx context.Context, b *bench) error {
	source, size, err := goTree(ctx)
	if err != nil {
		return err
	}
	if _, err := b.publishGoTree(ctx, source, "http://origin.example/go"); err != nil {
		return err
	}
	key := filepath.Join(b.dir, "lab.key")
	err = b.contest(ctx, 5, size, contender{
		name: "handout",
		cmd: func(ctx context.Context, out string) *exec.Cmd {
			return exec.CommandContext(ctx, string(b.program), "publish", source, "--allow-non-windows-names",
				"--origin", "http://origin.example/go", "--key", key, "-o", filepath.Join(out, "go.torrent"))
		},
	})
	if err != nil {
		return err
	}
	cores := runtime.NumCPU()
	reading, err := readingRate(source, cores)
	if err != nil {
		return err
	}
	hashing := hashingRate(cores)
	fmt.Printf("  bounds on %d cores: SHA-1 + SHA-256 %.0f MB/s, reading every file %.0f MB/s, both one after the other %.0f MB/s\n",
		cores, hashing/1e6, reading/1e6, 1/(1/hashing+1/reading)/1e6)
	return b.publishCold(ctx, source, key, size)
}

// publishCold: the same with every file on the disk again, beside two plain readers of it. Only root can empty the cache.
func (b *bench) publishCold(ctx context.Context, source, key string, size int64) error {
	if os.Geteuid() != 0 {
		fmt.Println("  left out: publishing from a cold disk, since only root can empty the cache")
		return nil
	}
	readers := []struct {
		name string
		args []string
	}{
		{"handout publish", []string{string(b.program), "publish", source, "--allow-non-windows-names",
			"--origin", "http://origin.example/go", "--key", key, "-o", filepath.Join(b.dir, "cold.torrent")}},
		{"tar | cat", []string{"sh", "-c", `tar cf - -C "$0" . | cat >/dev/null`, source}},
		{"4 x cat", []string{"sh", "-c", `find "$0" -type f -print0 | xargs -0 -P4 -n300 cat >/dev/null`, source}},
	}
	took := make([][]float64, len(readers))
	for range 3 {
		for i, r := range readers {
			syscall.Sync()
			if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
				fmt.Printf("  left out: publishing from a cold disk: %v\n", err)
				return nil
			}
			os.Remove(filepath.Join(b.dir, "cold.torrent"))
			begin := time.Now()
			if out, err := exec.CommandContext(ctx, r.args[0], r.args[1:]...).CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", r.name, err, out)
			}
			took[i] = append(took[i], time.Since(begin).Seconds())
		}
	}
	fmt.Print("  from a cold disk, median of 3:")
	for i, r := range readers {
		fmt.Printf("  %s %.2f s, %.0f MB/s", r.name, median(took[i]), float64(size)/median(took[i])/1e6)
	}
	fmt.Println()
	return nil
}

// hashingRate is how many bytes per second so many cores put through SHA-1 and SHA-256.
func hashingRate(cores int) float64 {
	const chunk = 256 << 10
	var done atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range cores {
		wg.Go(func() {
			data, a, b := make([]byte, chunk), sha1.New(), sha256.New()
			for time.Since(start) < 2*time.Second {
				a.Write(data)
				b.Write(data)
				done.Add(chunk)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

// readingRate is how many bytes per second so many readers get from the files of a tree that was just read.
func readingRate(root string, readers int) (float64, error) {
	var paths []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	var next, done atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, readers)
	start := time.Now()
	for range readers {
		wg.Go(func() {
			buf := make([]byte, 256<<10)
			for i := next.Add(1) - 1; i < int64(len(paths)); i = next.Add(1) - 1 {
				n, err := readAll(paths[i], buf)
				done.Add(n)
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	select {
	case err := <-errs:
		return 0, err
	default:
		return float64(done.Load()) / took.Seconds(), nil
	}
}

func readAll(path string, buf []byte) (total int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for {
		n, err := f.Read(buf)
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

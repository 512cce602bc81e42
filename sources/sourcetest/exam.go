// Package sourcetest holds the exam every origin sits, a fake origin for the tests of other rooms, and a real nginx for
// whoever wants one.
package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"handout/sources"
)

// Run is the exam. open gives an origin that has exactly these files, by path; t.Cleanup is where it ends what it began.
func Run(t *testing.T, open func(t *testing.T, files map[string][]byte) sources.Origin) {
	files := examFiles()
	o := open(t, files)
	ctx := t.Context()

	t.Run("whole files", func(t *testing.T) {
		for path, want := range files {
			p := make([]byte, len(want))
			if err := o.ReadRange(ctx, path, 0, p); err != nil || !bytes.Equal(p, want) {
				t.Errorf("%q: %v, right bytes: %v", path, err, bytes.Equal(p, want))
			}
		}
	})
	t.Run("ranges at the borders", func(t *testing.T) {
		want := files[large]
		n := int64(len(want))
		for _, r := range [][2]int64{{0, 0}, {0, 1}, {0, 2}, {1, 1}, {n - 1, 1}, {n - 2, 2}, {n, 0}, {1, n - 1}, {0, n - 1},
			{4095, 2}, {65535, 3}, {1<<20 - 1, 1<<20 + 2}} {
			p := make([]byte, r[1])
			if err := o.ReadRange(ctx, large, r[0], p); err != nil || !bytes.Equal(p, want[r[0]:r[0]+r[1]]) {
				t.Errorf("[%d, +%d): %v, right bytes: %v", r[0], r[1], err, bytes.Equal(p, want[r[0]:r[0]+r[1]]))
			}
		}
	})
	t.Run("past the end", func(t *testing.T) {
		n := int64(len(files[large]))
		for _, r := range [][2]int64{{0, n + 1}, {n - 1, 2}, {n, 1}, {n + 1000, 5}} {
			wantError(t, o.ReadRange(ctx, large, r[0], make([]byte, r[1])), large, sources.ErrChanged)
		}
	})
	t.Run("missing", func(t *testing.T) {
		for _, path := range []string{"absent", "absent/file", "dir/absent", large + "/below a file"} {
			wantError(t, o.ReadRange(ctx, path, 0, make([]byte, 1)), path, sources.ErrMissing)
		}
	})
	t.Run("paths that lead elsewhere", func(t *testing.T) {
		for _, path := range []string{"..", "../" + large, "dir/../" + large, "/" + large, "./" + large, "dir//b", "dir/"} {
			err := o.ReadRange(ctx, path, 0, make([]byte, 1))
			if err == nil {
				t.Errorf("%q was read", path)
			}
		}
	})
	t.Run("streams", func(t *testing.T) { examStreams(t, o, files[large]) })
	t.Run("readers together", func(t *testing.T) { examTogether(t, o, files) })
	t.Run("cancelled", func(t *testing.T) {
		why := errors.New("why")
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(why)
		err := o.ReadRange(ctx, large, 0, make([]byte, 10))
		wantError(t, err, large, why)
		if err := o.ReadRange(t.Context(), "dir/a", 0, make([]byte, 1)); err != nil {
			t.Errorf("read after a cancelled one: %v", err)
		}
	})
	t.Run("closed and used again", func(t *testing.T) {
		for range 3 {
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			if err := o.ReadRange(ctx, "dir/a", 0, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if o.String() == "" {
		t.Error("no name")
	}
}

const large = "large file"

// examFiles has what trips readers up: names that must be escaped, one name in both Unicode normal forms, sizes around
// the buffers in use.
func examFiles() map[string][]byte {
	names := []string{"dir/a", "dir/b b", "dir/sub/+plus&and=equals;semi,comma", "100%", "%41", "a#b", "dir/~tilde'quote(paren)",
		"caf\u00e9", "cafe\u0301", "日本/語", "[x]{y}@$!^`", ".hidden", "..dots", "dir/percent%2fslash",
		"g++/a+b=c@d,e~f", "%2B", "a%2Fb", "=", "@", "~", "&amp;", "$1", "[1]", "dir/;v=1", "+"}
	if runtime.GOOS != "windows" {
		names = append(names, `question?mark`, `back\slash`, `quo"te<a>|*`, "col:on", "new\nline", "trailing ", "tab\t",
			":", "a:b", "?", "?x=1", "http:/x/y")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	files := make(map[string][]byte)
	for i, name := range names {
		files[name] = noise(rng, 1+i*700)
	}
	for _, size := range []int{1, 4095, 4096, 4097, 1<<16 + 1} {
		files[fmt.Sprintf("sizes/%d", size)] = noise(rng, size)
	}
	files[large] = noise(rng, 9<<20+13)
	return files
}

func noise(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

func examStreams(t *testing.T, o sources.Origin, want []byte) {
	n := int64(len(want))
	for _, r := range [][2]int64{{0, n}, {n / 2, n / 2}, {5, 1}, {7, 0}} {
		s, err := sources.Stream(t.Context(), o, large, r[0], r[1])
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, r[1])
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want[r[0]:r[0]+r[1]]) {
			t.Errorf("stream [%d, +%d): %v, right bytes: %v", r[0], r[1], err, bytes.Equal(got, want[r[0]:r[0]+r[1]]))
		}
		if k, err := s.Read(make([]byte, 1)); k != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", k, err)
		}
		s.Close()
	}
	s, err := sources.Stream(t.Context(), o, large, 0, n)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	s.Close() // early: what follows must not read the stream's rest
	p := make([]byte, 1000)
	if err := o.ReadRange(t.Context(), large, 7, p); err != nil || !bytes.Equal(p, want[7:1007]) {
		t.Errorf("read after a stream left early: %v", err)
	}
	if s, err = sources.Stream(t.Context(), o, "absent", 0, 10); err == nil {
		_, err = s.Read(make([]byte, 10))
		s.Close()
	}
	wantError(t, err, "absent", sources.ErrMissing)
}

func examTogether(t *testing.T, o sources.Origin, files map[string][]byte) {
	var paths []string
	for path := range files {
		paths = append(paths, path)
	}
	var g sync.WaitGroup
	for worker := range 8 {
		g.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 9))
			for range 40 {
				path := paths[rng.IntN(len(paths))]
				want := files[path]
				off := rng.IntN(len(want))
				want = want[off : off+1+rng.IntN(min(len(want)-off, 200<<10))]
				p := make([]byte, len(want))
				if err := o.ReadRange(t.Context(), path, int64(off), p); err != nil || !bytes.Equal(p, want) {
					t.Errorf("%q [%d, +%d): %v, right bytes: %v", path, off, len(p), err, bytes.Equal(p, want))
				}
			}
		})
	}
	g.Wait()
}

// wantError asks for an error that says which file could not be read where, and is want.
func wantError(t *testing.T, err error, path string, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%q: %v, want %v", path, err, want)
		return
	}
	e, ok := errors.AsType[*sources.ReadError](err)
	if !ok || e.Path != path || e.Origin == "" {
		t.Errorf("%q: %v (%T) doesn't say which read failed", path, err, err)
	}
}

package sources_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"handout/manifest"
	"handout/sources"
	"handout/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pack makes a package of files of these sizes, an origin that holds it, and its bytes.
func pack(pieceLength int64, sizes ...int64) (*manifest.Manifest, *sourcetest.Origin, []byte) {
	m := &manifest.Manifest{PieceLength: pieceLength}
	o := &sourcetest.Origin{Files: map[string][]byte{}}
	var all []byte
	rng := rand.New(rand.NewPCG(uint64(len(sizes)), uint64(pieceLength)))
	for i, n := range sizes {
		f := manifest.File{Path: fmt.Sprintf("d%d/f%d", i%3, i), Offset: m.Length, Length: n}
		data := make([]byte, n)
		for k := range data {
			data[k] = byte(rng.Uint32())
		}
		m.Files = append(m.Files, f)
		o.Files[f.Path] = data
		all = append(all, data...)
		m.Length += n
	}
	return m, o, all
}

func pieces(m *manifest.Manifest) int { return int((m.Length + m.PieceLength - 1) / m.PieceLength) }

// collect is a callback that appends to got and insists on the order.
func collect(t interface{ Errorf(string, ...any) }, next *manifest.PieceIndex, got *[]byte) func(manifest.PieceIndex, []byte) error {
	return func(i manifest.PieceIndex, data []byte) error {
		if i != *next {
			t.Errorf("piece %d, want %d", i, *next)
		}
		*next++
		*got = append(*got, data...)
		return nil
	}
}

// oneConnection is an origin like HTTP/1.1: a stream keeps the connection until its end.
type oneConnection struct {
	*sourcetest.Origin
	turn chan struct{}
}

func (o oneConnection) ReadRange(ctx context.Context, path string, off int64, p []byte) error {
	o.turn <- struct{}{}
	defer func() { <-o.turn }()
	return o.Origin.ReadRange(ctx, path, off, p)
}

func (o oneConnection) Stream(ctx context.Context, path string, off, n int64) (io.ReadCloser, error) {
	o.turn <- struct{}{}
	s, err := o.Origin.Stream(ctx, path, off, n)
	if err != nil {
		<-o.turn
		return nil, err
	}
	return &turnStream{s, o, false}, nil
}

type turnStream struct {
	io.ReadCloser
	o    oneConnection
	over bool
}

func (s *turnStream) Close() error {
	if !s.over {
		s.over = true
		<-s.o.turn
	}
	return s.ReadCloser.Close()
}

// Whatever the sizes of files and pieces: every run brings the package's bytes, in order, on one connection, and ends.
func TestRunsBringThePackage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pieceLength := int64(1) << rapid.IntRange(4, 8).Draw(rt, "log2 of piece length")
		sizes := rapid.SliceOfN(rapid.Int64Range(0, 1000), 1, 60).Draw(rt, "sizes")
		m, fake, all := pack(pieceLength, sizes...)
		o := oneConnection{fake, make(chan struct{}, 1)}
		n := pieces(m)
		first := rapid.IntRange(0, n).Draw(rt, "first")
		count := rapid.IntRange(0, n-first).Draw(rt, "count")
		next, got := manifest.PieceIndex(first), []byte(nil)
		if err := sources.ReadRun(t.Context(), o, m, next, count, collect(rt, &next, &got)); err != nil {
			rt.Fatal(err)
		}
		begin := min(int64(first)*pieceLength, m.Length)
		end := min(int64(first+count)*pieceLength, m.Length)
		if !bytes.Equal(got, all[begin:end]) {
			rt.Fatal("wrong bytes")
		}
	})
}

func TestOneFilePackage(t *testing.T) {
	m, o, all := pack(16, 100)
	m.Single, m.Root = true, "f"
	m.Files[0].Path = "f"
	o.Files = map[string][]byte{"": all}
	next, got := manifest.PieceIndex(0), []byte(nil)
	if err := sources.ReadRun(t.Context(), o, m, 0, pieces(m), collect(t, &next, &got)); err != nil || !bytes.Equal(got, all) {
		t.Error(err)
	}
	if n := o.Reads.Load(); n != 1 {
		t.Errorf("%d requests for one stretch", n)
	}
}

// Small files are read eight at a time, across the borders of pieces: a run is not slower for having them.
func TestSmallFilesAreReadTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sizes := make([]int64, 240)
		for i := range sizes {
			sizes[i] = 10
		}
		m, o, all := pack(80, sizes...) // eight files in each piece
		var now, most atomic.Int32
		o.OnRead = func(context.Context, string, int64, int64) error {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
			return nil
		}
		begun := time.Now()
		next, got := manifest.PieceIndex(0), []byte(nil)
		if err := sources.ReadRun(t.Context(), o, m, 0, pieces(m), collect(t, &next, &got)); err != nil || !bytes.Equal(got, all) {
			t.Error(err)
		}
		if took := time.Since(begun); took != 30*time.Second || most.Load() != 8 {
			t.Errorf("%v with %d at once", took, most.Load())
		}
	})
}

// The reader goes on while a piece is handled, but holds no more than three.
func TestReadsAheadWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, o, _ := pack(64, 64*20)
		handled := 0
		err := sources.ReadRun(t.Context(), o, m, 0, 20, func(i manifest.PieceIndex, _ []byte) error {
			time.Sleep(time.Second)
			synctest.Wait()
			if ahead := int(o.Bytes.Load())/64 - handled; ahead > 3 || handled < 10 && ahead < 2 {
				t.Errorf("%d pieces ahead", ahead)
			}
			handled++
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// A file that is missing ends the run after the pieces before it, with an error that names it.
func TestRunUpToAMissingFile(t *testing.T) {
	m, o, all := pack(16, 40, 40, 40) // pieces 0-7
	delete(o.Files, m.Files[1].Path)
	next, got := manifest.PieceIndex(0), []byte(nil)
	err := sources.ReadRun(t.Context(), o, m, 0, pieces(m), collect(t, &next, &got))
	if !errors.Is(err, sources.ErrMissing) || !bytes.Equal(got, all[:32]) {
		t.Errorf("%v after %d bytes", err, len(got))
	}
	if e, ok := errors.AsType[*sources.ReadError](err); !ok || e.Path != m.Files[1].Path {
		t.Errorf("%v", err)
	}
}

func TestRunEndsWithTheCallbacksError(t *testing.T) {
	m, o, _ := pack(16, 1000)
	full := errors.New("disk full")
	n := 0
	err := sources.ReadRun(t.Context(), o, m, 0, pieces(m), func(manifest.PieceIndex, []byte) error {
		if n++; n == 3 {
			return full
		}
		return nil
	})
	if err != full || n != 3 {
		t.Errorf("%v after %d calls", err, n)
	}
}

func TestRunCancelled(t *testing.T) {
	m, o, _ := pack(16, 1000)
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := sources.ReadRun(ctx, o, m, 0, pieces(m), func(manifest.PieceIndex, []byte) error {
		cancel(why)
		return nil
	})
	if !errors.Is(err, why) {
		t.Error(err)
	}
}

// Wrong bytes are reported with the file and the origin.
func TestCheck(t *testing.T) {
	m, o, all := built(t)
	for i := range pieces(m) {
		at := int64(i) * m.PieceLength
		data := bytes.Clone(all[at : at+m.PieceSize(manifest.PieceIndex(i))])
		if err := sources.Check(o, m, manifest.PieceIndex(i), data); err != nil {
			t.Error(err)
		}
		data[0] ^= 1
		err := sources.Check(o, m, manifest.PieceIndex(i), data)
		c, ok := errors.AsType[*sources.Corrupt](err)
		file := m.Files[m.Spans(at, 1)[0].File].Path
		if !ok || c.Origin != "memory" || int(c.Piece) != i || len(c.Files) != 1 || c.Files[0] != file {
			t.Errorf("piece %d: %v, want it to name %s alone", i, err, file)
		}
	}
}

// built is a package as Build makes it: pieces 0 and 1 begin in the first file, piece 2 in the third.
func built(t *testing.T) (*manifest.Manifest, *sourcetest.Origin, []byte) {
	t.Helper()
	_, o, all := pack(64<<10, 100<<10, 1000, 30, 28<<10)
	dir := t.TempDir()
	for path, data := range o.Files {
		name := filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := manifest.Build(t.Context(), dir, manifest.BuildOptions{PieceLength: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
	if err != nil {
		t.Fatal(err)
	}
	all = all[:0]
	for _, f := range m.Files {
		all = append(all, o.Files[f.Path]...)
	}
	return m, o, all
}

package smborigin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"handout/sources"
	"handout/sources/sourcetest"
)

func TestSizes(t *testing.T) {
	s, root := serve(t, map[string][]byte{"empty": {}, "one": {7}}, nil)
	const huge = 5 << 30
	end := []byte("the end")
	f, err := os.Create(filepath.Join(root, "huge"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(end, huge-int64(len(end))); err != nil {
		t.Fatal(err)
	}
	f.Close()
	o := open(t, s, known)
	if err := o.ReadRange(t.Context(), "empty", 0, nil); err != nil {
		t.Error(err)
	}
	if err := o.ReadRange(t.Context(), "empty", 0, make([]byte, 1)); !errors.Is(err, sources.ErrChanged) {
		t.Errorf("a byte of nothing: %v", err)
	}
	p := make([]byte, 1)
	if err := o.ReadRange(t.Context(), "one", 0, p); err != nil || p[0] != 7 {
		t.Error(err, p)
	}
	const tail = 3<<20 + 1
	st, err := o.Stream(t.Context(), "huge", huge-tail, tail)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	got, err := io.ReadAll(st)
	if err != nil || len(got) != tail || !bytes.HasSuffix(got, end) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := o.ReadRange(t.Context(), "huge", huge-1, make([]byte, 2)); !errors.Is(err, sources.ErrChanged) {
		t.Errorf("past 5 GiB: %v", err)
	}
}

func anyHead([]byte) error { return nil }

func TestManifestOfAnySize(t *testing.T) {
	want := noise(700_001)
	s, _ := serve(t, map[string][]byte{"m": want}, nil)
	o, err := Open(s.URL("pkg/m"), known)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if got, err := o.ReadFile(t.Context(), 1<<20, 3, anyHead); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err := o.ReadFile(t.Context(), 1000, 500, anyHead); err != nil || len(got) != 1001 {
		t.Errorf("%d bytes of 1001, %v", len(got), err)
	}
}

// Twenty thousand files, and none stays open at the server.
func TestManyFiles(t *testing.T) {
	const n = 20_000
	files := map[string][]byte{}
	for i := range n {
		files[fmt.Sprintf("d%03d/f%05d", i%200, i)] = fmt.Append(nil, "file ", i)
	}
	s, root := serve(t, files, nil)
	o := open(t, s, known)
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(16)
	begun := time.Now()
	for path, want := range files {
		g.Go(func() error {
			p := make([]byte, len(want))
			if err := o.ReadRange(ctx, path, 0, p); err != nil {
				return err
			}
			if !bytes.Equal(p, want) {
				return fmt.Errorf("%s: %q", path, p)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files in %v", n, time.Since(begun))
	for range 100 {
		if opened(t, root) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond) // nobody waits for the last to be closed
	}
	t.Errorf("%d files below %s are still open", opened(t, root), root)
}

// Large files that are read in parts stay open, up to a bound.
func TestHandlesAreBounded(t *testing.T) {
	files := map[string][]byte{}
	for i := range 100 {
		files[fmt.Sprint(i)] = noise(10_000)
	}
	s, root := serve(t, files, nil)
	o := open(t, s, known)
	for path := range files {
		if err := o.ReadRange(t.Context(), path, 5000, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		if opened(t, root) <= maxKept {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d files are open", opened(t, root))
}

// opened is how many regular files below root any process has open.
func opened(t *testing.T, root string) (n int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range all {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, root+"/") {
			if info, err := os.Stat(fd); err == nil && info.Mode().IsRegular() {
				n++
			}
		}
	}
	return n
}

// Behind a long way the reads of a tree overlap, and a large file keeps the way full.
func TestLongWay(t *testing.T) {
	for _, oneWay := range []time.Duration{time.Millisecond, 5 * time.Millisecond} {
		roundTrip := 2 * oneWay
		t.Run(roundTrip.String(), func(t *testing.T) {
			const n, together = 400, 8
			files := map[string][]byte{"large": noise(32 << 20)}
			for i := range n {
				files[fmt.Sprint(i)] = []byte{byte(i)}
			}
			s, _ := serve(t, files, nil)
			way := &sourcetest.Delay{Server: s.Address, OneWay: oneWay}
			if err := way.Start(); err != nil {
				t.Fatal(err)
			}
			defer way.Close()
			o, err := Open("smb://"+way.Address+"/pkg", known)
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			if err := o.ReadRange(t.Context(), "0", 0, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			g, ctx := errgroup.WithContext(t.Context())
			g.SetLimit(together)
			begun := time.Now()
			for i := range n {
				g.Go(func() error { return o.ReadRange(ctx, fmt.Sprint(i), 0, make([]byte, 1)) })
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			// Two round trips a file: it is opened, it is read. That it is closed costs none.
			took, bound := time.Since(begun), 2*roundTrip*n/together
			t.Logf("%d files in %v, round trips alone %v", n, took, bound)
			if took > 2*bound+500*time.Millisecond {
				t.Errorf("%d files took %v, the round trips %v", n, took, bound)
			}
			took = time.Hour
			oneByOne := roundTrip * (32 << 20) / chunk
			for range 3 { // other programs may need the processors for a second
				begun = time.Now()
				st, err := o.Stream(t.Context(), "large", 0, 32<<20)
				if err != nil {
					t.Fatal(err)
				}
				defer st.Close()
				if got, err := io.ReadAll(st); err != nil || !bytes.Equal(got, files["large"]) {
					t.Fatal(err)
				}
				if took = min(took, time.Since(begun)); took < oneByOne {
					break
				}
			}
			t.Logf("32 MiB in %v", took)
			if took > max(oneByOne, 1200*time.Millisecond) {
				t.Errorf("32 MiB took %v; one request after the other takes %v", took, oneByOne)
			}
			if most, _ := way.Connections(); most != 1 {
				t.Errorf("%d connections at once", most)
			}
		})
	}
}

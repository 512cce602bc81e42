package sources_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"handout/sources"
	"handout/sources/sourcetest"
)

func TestRetrySitsTheExam(t *testing.T) {
	sourcetest.Run(t, func(_ *testing.T, files map[string][]byte) sources.Origin {
		return sources.Retry(&sourcetest.Origin{Files: files}, sources.RetryPolicy{})
	})
}

// plain hides that an origin is a Streamer.
type plain struct{ sources.Origin }

// failing fails its first n reads with err.
func failing(n int, err error) func(context.Context, string, int64, int64) error {
	var mu sync.Mutex
	return func(context.Context, string, int64, int64) error {
		mu.Lock()
		defer mu.Unlock()
		if n--; n >= 0 {
			return err
		}
		return nil
	}
}

var files = map[string][]byte{"f": []byte("0123456789"), "g": []byte("abcdefghij")}

func read(t *testing.T, o sources.Origin, path string) error {
	p := make([]byte, 10)
	err := o.ReadRange(t.Context(), path, 0, p)
	if err == nil && !bytes.Equal(p, files[path]) {
		t.Errorf("%s: wrong bytes", path)
	}
	return err
}

func TestRetry(t *testing.T) {
	down := errors.New("down")
	for _, c := range []struct {
		name     string
		fails    int
		err      error
		min, max time.Duration
		reads    int64
		ok       bool
	}{
		{"at once", 0, nil, 0, 0, 1, true},
		{"after two pauses", 2, &sources.NotNow{Err: down}, 750 * time.Millisecond, 2250 * time.Millisecond, 3, true},
		{"as the origin asks", 1, &sources.NotNow{After: 40 * time.Second, Err: down}, 40 * time.Second, 41 * time.Second, 2, true},
		{"not as long as it asks", 1, &sources.NotNow{After: time.Hour, Err: down}, 0, 0, 1, false},
		{"not for ever", 9, &sources.NotNow{Err: down}, 3750 * time.Millisecond, 11250 * time.Millisecond, 5, false},
		{"not what is missing", 1, sources.ErrMissing, 0, 0, 1, false},
		{"not what has changed", 1, sources.ErrChanged, 0, 0, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &sourcetest.Origin{Files: files, OnRead: failing(c.fails, c.err)}
				begun := time.Now()
				told := 0
				err := read(t, sources.Retry(plain{o}, sources.RetryPolicy{Told: func(error) { told++ }}), "f")
				if took := time.Since(begun); (err == nil) != c.ok || took < c.min || took > c.max || o.Reads.Load() != c.reads || int64(told) != c.reads-1 {
					t.Errorf("%v after %v and %d reads, told %d times", err, took, o.Reads.Load(), told)
				}
			})
		})
	}
}

// A stream that breaks goes on where it was, not from the start.
func TestRetryOfAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []int64
		o := &sourcetest.Origin{Files: files}
		o.OnRead = func(_ context.Context, _ string, off, n int64) error {
			if asked = append(asked, off); n > 0 && len(asked)%3 == 0 {
				return &sources.NotNow{Err: errors.New("reset")}
			}
			return nil
		}
		s, err := sources.Stream(t.Context(), sources.Retry(o, sources.RetryPolicy{}), "f", 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		got := make([]byte, 10)
		for i := 0; i < 10; i += 2 {
			if _, err := io.ReadFull(s, got[i:i+2]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, files["f"]) {
			t.Errorf("%q", got)
		}
		if want := []int64{0, 0, 2, 2, 2, 4, 4, 4, 6, 6, 6, 8, 8, 8}; !slices.Equal(asked, want) {
			t.Errorf("read at %v, want %v", asked, want)
		}
	})
}

func TestRetryEndsWhenClosedOrCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		always := failing(1000, &sources.NotNow{After: time.Minute, Err: errors.New("down")})
		o := sources.Retry(&sourcetest.Origin{Files: files, OnRead: always}, sources.RetryPolicy{})
		errs := make(chan error)
		go func() { errs <- read(t, o, "f") }()
		time.Sleep(time.Second)
		o.Close()
		if err := <-errs; !errors.Is(err, sources.ErrClosed) {
			t.Error(err)
		}
		why := errors.New("why")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { errs <- o.ReadRange(ctx, "f", 0, make([]byte, 1)) }()
		time.Sleep(time.Second)
		cancel(why)
		if err := <-errs; !errors.Is(err, why) {
			t.Error(err)
		}
	})
}

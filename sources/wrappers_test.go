package sources_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"handout/sources"
	"handout/sources/sourcetest"
)

func TestWrappersSitTheExam(t *testing.T) {
	memory := func(_ *testing.T, files map[string][]byte) sources.Origin { return &sourcetest.Origin{Files: files} }
	for name, wrap := range map[string]func(sources.Origin) sources.Origin{
		"retry": func(o sources.Origin) sources.Origin { return sources.Retry(o, sources.RetryPolicy{}) },
		"limit": func(o sources.Origin) sources.Origin { return sources.Limit(o, rate.NewLimiter(1<<40, 1<<20)) },
		"failover to the second": func(o sources.Origin) sources.Origin {
			return sources.Failover(&sourcetest.Origin{Name: "empty"}, o)
		},
		"failover to the third": func(o sources.Origin) sources.Origin {
			down := &sourcetest.Origin{Name: "down", OnRead: failing(1, errors.New("down"))}
			return sources.Failover(&sourcetest.Origin{Name: "empty"}, plain{down}, plain{o})
		},
	} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, func(t *testing.T, files map[string][]byte) sources.Origin { return wrap(memory(t, files)) })
		})
	}
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
				err := read(t, sources.Retry(plain{o}, sources.RetryPolicy{}), "f")
				if took := time.Since(begun); (err == nil) != c.ok || took < c.min || took > c.max || o.Reads.Load() != c.reads {
					t.Errorf("%v after %v and %d reads", err, took, o.Reads.Load())
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

func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &sourcetest.Origin{Name: "a", Files: map[string][]byte{"f": files["f"]}}
		b := &sourcetest.Origin{Name: "b", Files: files}
		o := sources.Failover(a, b)
		want := func(what string, readsA, readsB int64) {
			t.Helper()
			if a.Reads.Load() != readsA || b.Reads.Load() != readsB {
				t.Errorf("%s: %d and %d reads, want %d and %d", what, a.Reads.Load(), b.Reads.Load(), readsA, readsB)
			}
			a.Reads.Store(0)
			b.Reads.Store(0)
		}
		must := func(path string) {
			t.Helper()
			if err := read(t, o, path); err != nil {
				t.Error(err)
			}
		}
		must("f")
		want("the best first", 1, 0)
		must("g")
		want("missing there", 1, 1)
		if a.Closes.Load() != 1 {
			t.Error("the first stayed connected")
		}
		must("f")
		want("stays where it could read", 0, 1)
		time.Sleep(time.Minute)
		must("f")
		want("and returns to the best", 1, 0)

		a.OnRead = failing(2, &sources.NotNow{Err: errors.New("busy")})
		must("f")
		want("busy", 1, 1)
		time.Sleep(time.Minute)
		must("f")
		want("still busy", 1, 1)
		time.Sleep(time.Minute)
		must("f")
		want("busy no more", 1, 0)

		if err := read(t, o, "absent"); !errors.Is(err, sources.ErrMissing) {
			t.Errorf("missing everywhere: %v", err)
		}
	})
}

// One origin busy and the file missing at the other: that is no proof that nobody has it.
func TestFailoverDoesNotMistakeBusyForMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &sourcetest.Origin{Name: "a", Files: files, OnRead: failing(1, &sources.NotNow{After: time.Minute, Err: errors.New("busy")})}
		o := sources.Failover(a, &sourcetest.Origin{Name: "b"})
		for range 2 {
			err := read(t, o, "f")
			after, ok := sources.Retryable(err)
			if !ok || errors.Is(err, sources.ErrMissing) || after > time.Minute || after < 50*time.Second || !strings.Contains(err.Error(), "from a") {
				t.Fatalf("%v", err)
			}
			time.Sleep(time.Second)
		}
		if a.Reads.Load() != 1 {
			t.Errorf("asked %d times though it wants to be left alone", a.Reads.Load())
		}
		if err := read(t, sources.Retry(o, sources.RetryPolicy{}), "f"); err != nil {
			t.Errorf("and after the wait: %v", err)
		}
	})
}

// An origin with a fault is asked last, but is asked when there is nobody else.
func TestFailoverFaultyOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &sourcetest.Origin{Name: "a", Files: files, OnRead: failing(1, sources.ErrChanged)}
		b := &sourcetest.Origin{Name: "b", Files: map[string][]byte{}}
		o := sources.Failover(a, b)
		if err := read(t, o, "f"); !errors.Is(err, sources.ErrChanged) || errors.Is(err, sources.ErrMissing) {
			t.Error(err)
		}
		if err := read(t, o, "f"); err != nil || b.Reads.Load() != 2 {
			t.Errorf("%v, %d reads of the other", err, b.Reads.Load())
		}
	})
}

// Two origins, never two connections: reads from one end before the other is read.
func TestFailoverIsOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		inside := map[string]int{}
		hook := func(name string) func(context.Context, string, int64, int64) error {
			return func(context.Context, string, int64, int64) error {
				mu.Lock()
				inside[name]++
				if inside["a"] > 0 && inside["b"] > 0 {
					t.Error("both at once")
				}
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				inside[name]--
				mu.Unlock()
				return nil
			}
		}
		a := &sourcetest.Origin{Name: "a", Files: map[string][]byte{"f": files["f"]}, OnRead: hook("a")}
		b := &sourcetest.Origin{Name: "b", Files: map[string][]byte{"g": files["g"]}, OnRead: hook("b")}
		o := sources.Failover(a, b)
		var g sync.WaitGroup
		for i := range 8 {
			g.Go(func() {
				for k := range 10 {
					if err := read(t, o, []string{"f", "g"}[(i+k/3)%2]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		g.Wait()
	})
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := rate.NewLimiter(10, 10) // bytes per second
		o := sources.Limit(&sourcetest.Origin{Files: map[string][]byte{"f": make([]byte, 100)}}, l)
		begun := time.Now()
		if err := o.ReadRange(t.Context(), "f", 0, make([]byte, 50)); err != nil {
			t.Fatal(err)
		}
		s, err := sources.Stream(t.Context(), o, "f", 50, 50)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := io.Copy(io.Discard, s); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun).Round(time.Second); took != 9*time.Second { // the burst is for nothing
			t.Errorf("100 bytes at 10 a second took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := o.ReadRange(ctx, "f", 0, make([]byte, 100)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

package sources_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"handout/sources"
	"handout/sources/sourcetest"
)

func TestLimitSitsTheExam(t *testing.T) {
	for name, hide := range map[string]func(sources.Origin) sources.Origin{
		"streams": func(o sources.Origin) sources.Origin { return o },
		"ranges":  func(o sources.Origin) sources.Origin { return plain{o} },
	} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, func(_ *testing.T, files map[string][]byte) sources.Origin {
				return sources.Limit(hide(&sourcetest.Origin{Files: files}), func(ctx context.Context, _ int) error { return context.Cause(ctx) })
			})
		})
	}
}

// TestLimitCountsEveryByteOnce: a byte that is waited for twice halves the rate, one that is not breaks the limit.
func TestLimitCountsEveryByteOnce(t *testing.T) {
	for name, hide := range map[string]func(sources.Origin) sources.Origin{
		"streams": func(o sources.Origin) sources.Origin { return o },
		"ranges":  func(o sources.Origin) sources.Origin { return plain{o} },
	} {
		passed := 0
		o := sources.Limit(hide(&sourcetest.Origin{Files: files}), func(_ context.Context, n int) error {
			passed += n
			return nil
		})
		if err := read(t, o, "f"); err != nil || passed != 10 {
			t.Errorf("%s: a range of 10 bytes: %d waited for, %v", name, passed, err)
		}
		s, err := sources.Stream(t.Context(), o, "g", 2, 8)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(s)
		s.Close()
		if string(got) != "cdefghij" || err != nil || passed != 18 {
			t.Errorf("%s: a stream of 8 bytes: %q, %d waited for, %v", name, got, passed-10, err)
		}
	}
}

func TestLimitEndsWithItsContext(t *testing.T) {
	stop := errors.New("stop")
	o := sources.Limit(&sourcetest.Origin{Files: files}, func(context.Context, int) error { return stop })
	if err := read(t, o, "f"); !errors.Is(err, stop) {
		t.Errorf("a range: %v", err)
	}
	s, err := sources.Stream(t.Context(), o, "g", 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := io.ReadAll(s); !errors.Is(err, stop) {
		t.Errorf("a stream: %v", err)
	}
}

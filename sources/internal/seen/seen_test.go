package seen

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"handout/sources"
)

func TestChangesAreNoticedOnce(t *testing.T) {
	var f Files
	at := time.Unix(1000, 0)
	check := func(size int64, modTime time.Time, changed bool) {
		t.Helper()
		if err := f.Check("f", size, modTime); errors.Is(err, sources.ErrChanged) != changed {
			t.Errorf("%d bytes of %v: %v", size, modTime, err)
		}
	}
	check(1, at, false)
	check(1, at, false)
	check(2, at, true)
	check(2, at, false) // it begins anew
	check(2, at.Add(time.Second), true)
	check(2, at, false)
	f.Forget("f")
	check(3, at, false)
}

func TestMemoryIsBounded(t *testing.T) {
	var f Files
	for i := range 3 * maxFiles {
		if err := f.Check(fmt.Sprint(i), 1, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.files) > maxFiles {
		t.Errorf("%d files are remembered", len(f.files))
	}
}

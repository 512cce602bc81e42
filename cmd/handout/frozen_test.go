package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFrozenLab: a lab machine is put back at each boot, wholly or in part. The agent says which part, once, and what follows.
func TestFrozenLab(t *testing.T) {
	state, cache := t.TempDir(), t.TempDir()
	start := func() string {
		var log bytes.Buffer
		tellResets(state, cache, slog.New(slog.NewTextHandler(&log, nil)))
		return log.String()
	}
	expect := func(what, want string) {
		t.Helper()
		got := start()
		if want == "" && got != "" || !strings.Contains(got, want) || strings.Count(got, "\n") > 1 {
			t.Errorf("%s: said %q, want %q", what, got, want)
		}
	}
	remove := func(dir string) {
		if err := os.Remove(filepath.Join(dir, markName)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(dir string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, markName))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(dir string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, markName), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect("the first start", "")
	expect("nothing happened", "")
	frozenCache, frozenState := read(cache), read(state)
	expect("nothing happened", "")
	remove(cache)
	expect("the cache is gone", cacheReset)
	expect("said once", "")
	remove(state)
	expect("the state is gone", stateReset)
	write(cache, frozenCache)
	expect("the cache is as it was some starts ago", cacheReset)
	write(state, frozenState)
	expect("the state is as it was some starts ago", stateReset)
	write(cache, []byte("0123456789abcdef 7\n"))
	expect("the cache of another machine", otherCache)
	remove(cache)
	remove(state)
	expect("both are gone: nobody can know", "")
}

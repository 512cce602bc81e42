package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"handout/agent"
	"handout/agent/api"
	"handout/agent/orders"
	"handout/agent/store"
	"handout/manifest"
)

// TestExitCodes is the table of the documentation, from the errors' side.
func TestExitCodes(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("fetch x: %w", advisedError{err, "do this"}) }
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("something else"), 1},
		{usagef("no such flag"), 2},
		{usageError{advisedError{errors.New("no key"), "make one"}}, 2},
		{manifest.ErrInvalid, 3},
		{manifest.ErrUntrusted, 4},
		{agent.ErrNoSource, 5},
		{errUnreachable, 5},
		{store.ErrNoSpace, 6},
		{store.ErrNotWritable, 6},
		{errTimedOut, 7},
		{agent.ErrOriginCorrupt, 8},
		{store.ErrExists, 9},
		{store.ErrInUse, 9},
		{api.ErrNoAgent, 10},
		{errClosedDoor, 10},
		{errNoTaker, 10},
		{&orders.Refusal{Reason: orders.BadGoods, Err: manifest.ErrUntrusted}, 11},
		{errInterrupted, 130},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: exit %d, want %d", c.err, got, c.want)
		}
		if c.err != nil {
			if got := exitCode(wrapped(c.err)); got != c.want {
				t.Errorf("%v, wrapped: exit %d, want %d", c.err, got, c.want)
			}
		}
	}
}

// TestWhatItBrokeOffIsNotTheReason: a fetch that runs out of time fails in many ways; the script wants to know that
// it was the time.
func TestWhatItBrokeOffIsNotTheReason(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := ended(ctx, agent.ErrNoSource); exitCode(err) != exitNoSource {
		t.Errorf("before the end: %v", err)
	}
	cancel(errTimedOut)
	if err := ended(ctx, agent.ErrNoSource); exitCode(err) != exitTimedOut {
		t.Errorf("after the end: %v", err)
	}
	if err := ended(ctx, nil); err != nil {
		t.Errorf("done in time after all: %v", err)
	}
}

// TestReadmeTellsTheExitCodes: scripts are written from the README.
func TestReadmeTellsTheExitCodes(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range exits {
		if row := fmt.Sprintf("| %d | %s |", e.code, e.means); !strings.Contains(string(readme), row) {
			t.Errorf("README.md has no line %q", row)
		}
	}
}

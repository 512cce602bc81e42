package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"handout/agent"
	"handout/agent/api"
	"handout/agent/orders"
	"handout/agent/store"
	"handout/manifest"
)

// The exit codes, which scripts rely on: they never change their meaning.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInvalid     = 3
	exitUntrusted   = 4
	exitNoSource    = 5
	exitNoSpace     = 6
	exitTimedOut    = 7
	exitCorrupt     = 8
	exitExists      = 9
	exitNoAgent     = 10
	exitRefused     = 11
	exitInterrupted = 130
)

var (
	errTimedOut    = errors.New("time is up")
	errInterrupted = errors.New("interrupted")
	errExists      = errors.New("exists already")
	errClosedDoor  = errors.New("the agent's door is closed to this user")
	errUnreachable = errors.New("the manifest cannot be had")
)

// exits is the documented table: what a code means and which errors end with it.
var exits = []struct {
	code  int
	means string
	when  []error
}{
	{exitDone, "done; also when the destination already matches", nil},
	{exitFailed, "anything else, for example files that differ (verify) or what is wrong with a machine (doctor)", nil},
	{exitUsage, "called in a wrong way, or a mistake in the config file", nil},
	{exitInvalid, "the manifest is not valid", []error{manifest.ErrInvalid}},
	{exitUntrusted, "the manifest's signature is missing, or not by a trusted key", []error{manifest.ErrUntrusted}},
	{exitNoSource, "nothing to fetch from: no origin answers and no neighbour has it", []error{agent.ErrNoSource, errUnreachable}},
	{exitNoSpace, "no space, or the destination cannot be written", []error{store.ErrNoSpace, store.ErrNotWritable}},
	{exitTimedOut, "time-out (--timeout)", []error{errTimedOut}},
	{exitCorrupt, "what the origin gives does not match the manifest", []error{agent.ErrOriginCorrupt}},
	{exitExists, "the destination exists and differs, or is in use", []error{store.ErrExists, store.ErrInUse, store.ErrLink, errExists}},
	{exitNoAgent, "no agent runs here, or it does not answer this user; no agent could be reached (push)", []error{api.ErrNoAgent, errClosedDoor, errNoTaker}},
	{exitRefused, "an agent refused the order (push, withdraw, keys send)", nil},
	{exitInterrupted, "interrupted by a signal", []error{errInterrupted}},
}

// exitCode is the code a run ends with.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*orders.Refusal](err); ok {
		return exitRefused
	}
	for _, e := range exits {
		for _, target := range e.when {
			if errors.Is(err, target) {
				return e.code
			}
		}
	}
	return exitFailed
}

// usageError is a mistake of whoever called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// advisedError carries whole lines, ours and not a stranger's, that say what to do about it.
type advisedError struct {
	error
	advice string
}

func (e advisedError) Unwrap() error { return e.error }

// exitCodesTopic is the help text behind "handout help exit-codes".
func exitCodesTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, e := range exits {
		fmt.Fprintf(&b, "\n  %3d  %s", e.code, e.means)
	}
	return &cobra.Command{Use: "exit-codes", Short: "The exit codes and what they mean", Long: b.String()}
}

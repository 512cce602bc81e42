// Verdict runs go test and closes with what has to be known: which tests were left out and how they can be run, and how
// many passed, failed and were skipped. A green line above must not hide that half of the tests never ran.
//
//	go run ./testlab/verdict [flags and packages of go test]
//
// It fails if go test does, and also if no test ran at all. With -v it prints what tests log, as go test does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "verdict:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	// go test passes the signal on to its tests and waits for them.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	v := newVerdict(out, slices.Contains(args, "-v"))
	readErr := v.read(events)
	if readErr != nil {
		io.Copy(io.Discard, events) // else go test would wait for us for ever
	}
	runErr := cmd.Wait()
	v.close()
	switch {
	case readErr != nil:
		return fmt.Errorf("read the output of go test: %w", readErr)
	case v.failed > 0:
		return fmt.Errorf("%d failed", v.failed)
	case runErr != nil:
		return fmt.Errorf("go test: %w", runErr)
	case v.passed == 0:
		return errors.New("no test ran")
	}
	return nil
}

// event is a line of go test -json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

func (v *verdict) read(r io.Reader) error {
	d := json.NewDecoder(r)
	for {
		var e event
		if err := d.Decode(&e); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		v.add(e)
	}
}

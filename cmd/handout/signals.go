package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// sameSignal is how long after the first signal another one is taken for the same: timeout(1) sends each to the program
// and to its process group, so that it comes twice.
const sameSignal = time.Second

// untilSignalled returns a context that ends with errInterrupted at the first signal to stop. A second one exits at
// once: whoever sends it doesn't want to wait for a clean end.
func untilSignalled(parent context.Context, say io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			cancel(errInterrupted)
		case <-ctx.Done():
			return
		}
		for first := time.Now(); time.Since(first) < sameSignal; {
			<-signals
		}
		fmt.Fprintln(say, "handout: left at once")
		os.Exit(exitInterrupted)
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// ended makes of err, which a call returned, the reason why ctx ended if it has: time-out and interruption look like
// a failure of whatever they interrupt.
func ended(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	cause := context.Cause(ctx)
	if errors.Is(err, ctx.Err()) || errors.Is(err, cause) {
		return cause // err says no more than that
	}
	return fmt.Errorf("%w (%v)", cause, err)
}

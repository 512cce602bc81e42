package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

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
		<-signals
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
	return fmt.Errorf("%w (%v)", context.Cause(ctx), err)
}

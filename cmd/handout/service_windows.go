package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// serviceName is the name of the service, of its account (NT SERVICE\handout), of its event source and its firewall rules.
const serviceName = "handout"

// eventID is that of all our events: the message file of the system's own EventCreate shows their text as it is.
const eventID = 1

// managed calls run with what manages this program: Windows, if the flag says so. Whether a program was started as a service
// can be guessed, but not everywhere.
func (a *app) managed(ctx context.Context, service bool, run func(context.Context, manager) error) error {
	if !service {
		return run(ctx, nobody{})
	}
	// A service has no streams, and what it has in their place must not reach a child.
	nul, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer nul.Close()
	a.in, a.out, a.err = nul, nul, nul
	s := &windowsService{ctx: leashed(ctx, service), run: run, ready: make(chan struct{}, 1)}
	if err := svc.Run(serviceName, s); err != nil {
		return fmt.Errorf("be a service: %w", err)
	}
	return s.err
}

// leashed makes of a service's context, or its child's, one that no signal ends: when any user logs off, Windows tells
// services as it tells the programs that should end then.
func leashed(ctx context.Context, service bool) context.Context {
	if !service {
		return ctx
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	return context.WithoutCancel(ctx)
}

// askWhereItHangs: nothing here lets another process write down what its goroutines do.
func askWhereItHangs(*os.Process) error { return errors.ErrUnsupported }

// windowsService is the agent as Windows' service control manager sees it.
type windowsService struct {
	ctx   context.Context
	run   func(context.Context, manager) error
	ready chan struct{}
	err   error
}

// Ready implements manager.
func (s *windowsService) Ready() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Alive implements manager: Windows asks a service for no sign of life.
func (s *windowsService) Alive() {}

// Stopping implements manager.
func (s *windowsService) Stopping() {}

// Execute implements svc.Handler. An agent that ends with an error ends the service with its exit code, which the recovery
// actions count as a failure.
func (s *windowsService) Execute(_ []string, requests <-chan svc.ChangeRequest, states chan<- svc.Status) (bool, uint32) {
	const step = 3 * time.Second
	wait := uint32((2 * step).Milliseconds())
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.run(ctx, s) }()

	now := svc.Status{State: svc.StartPending, WaitHint: wait}
	states <- now
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		select {
		case <-s.ready:
			if now.State == svc.StartPending {
				now = svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
				states <- now
			}
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				states <- now
			case svc.Stop, svc.Shutdown:
				now = svc.Status{State: svc.StopPending, WaitHint: wait}
				states <- now
				stop()
			}
		case <-tick.C:
			if now.State == svc.StartPending || now.State == svc.StopPending {
				now.CheckPoint++ // it goes on, however long it takes
				states <- now
			}
		case s.err = <-done:
			if s.err == nil {
				return false, 0
			}
			tellEnd(true, s.err)
			if ended, ok := errors.AsType[endedError](s.err); ok {
				return true, uint32(ended.code)
			}
			return true, uint32(exitCode(s.err))
		}
	}
}

// tellEnd puts the error that ends a service, or its child, where an admin looks for it: nobody sees its standard error.
func tellEnd(service bool, err error) {
	if err == nil || !service {
		return
	}
	if _, told := errors.AsType[endedError](err); told {
		return // by the child
	}
	l, openErr := eventlog.Open(serviceName)
	if openErr != nil {
		return
	}
	defer l.Close()
	l.Error(eventID, "the agent ends: "+errorText(err))
}

// serviceLog is the log for what manages this program, the event log; nil: it is for a person.
func serviceLog(service bool, _ *os.File) (*slog.Logger, func(), error) {
	if !service {
		return nil, nil, nil
	}
	l, err := eventlog.Open(serviceName)
	if err != nil {
		return nil, nil, fmt.Errorf("open the event log: %w", err)
	}
	event := func(report func(uint32, string) error) eventWriter { return eventWriter{report} }
	return slog.New(byLevel(event(l.Info), event(l.Warning), event(l.Error))), func() { l.Close() }, nil
}

// eventWriter makes an event of all that is written at once.
type eventWriter struct{ report func(uint32, string) error }

// Write implements io.Writer.
func (w eventWriter) Write(b []byte) (int, error) {
	return len(b), w.report(eventID, strings.TrimSpace(string(b)))
}

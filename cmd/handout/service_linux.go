package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/coreos/go-systemd/v22/journal"
)

// notifier tells systemd (sd_notify(3)). What it says is lost if systemd doesn't listen; systemd then acts on its own.
type notifier struct{}

func (notifier) Ready()    { daemon.SdNotify(false, daemon.SdNotifyReady) }
func (notifier) Alive()    { daemon.SdNotify(false, daemon.SdNotifyWatchdog) }
func (notifier) Stopping() { daemon.SdNotify(false, daemon.SdNotifyStopping) }

// managed calls run with what manages this program. systemd says by itself that it does.
func (a *app) managed(ctx context.Context, _ bool, run func(context.Context, manager) error) error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return run(ctx, nobody{})
	}
	return run(ctx, notifier{})
}

// leashed makes of a service's child's context one that ends as the child's should.
func leashed(ctx context.Context, _ bool) context.Context { return ctx }

// tellEnd: systemd keeps what is said on standard error.
func tellEnd(bool, error) {}

// askWhereItHangs lets the runtime write down what every goroutine does.
func askWhereItHangs(p *os.Process) error { return p.Signal(syscall.SIGQUIT) }

// serviceLog is the log for what manages this program; nil: it is for a person. The journal reads a line's priority from its
// beginning (sd-daemon(3)), and has a clock of its own.
func serviceLog(_ bool, stderr *os.File) (*slog.Logger, func(), error) {
	if is, err := journal.StderrIsJournalStream(); err != nil || !is {
		return nil, nil, nil
	}
	priority := func(p string) io.Writer { return prefixed{stderr, []byte(p)} }
	return slog.New(byLevel(priority("<6>"), priority("<4>"), priority("<3>"))), func() {}, nil
}

// prefixed puts something before all that is written at once.
type prefixed struct {
	w      io.Writer
	prefix []byte
}

// Write implements io.Writer.
func (p prefixed) Write(b []byte) (int, error) {
	n, err := p.w.Write(append(p.prefix[:len(p.prefix):len(p.prefix)], b...))
	return max(0, n-len(p.prefix)), err
}

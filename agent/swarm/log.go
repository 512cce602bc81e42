package swarm

import (
	"context"
	"log/slog"
)

// engineLog passes on what the engine logs, two levels quieter: its errors are mostly a neighbour's doing and nothing an
// operator could act on.
type engineLog struct{ slog.Handler }

const quieter = 8

func (h engineLog) Enabled(ctx context.Context, l slog.Level) bool {
	return h.Handler.Enabled(ctx, l-quieter)
}

func (h engineLog) Handle(ctx context.Context, r slog.Record) error {
	r.Level -= quieter
	return h.Handler.Handle(ctx, r)
}

func (h engineLog) WithAttrs(a []slog.Attr) slog.Handler { return engineLog{h.Handler.WithAttrs(a)} }
func (h engineLog) WithGroup(n string) slog.Handler      { return engineLog{h.Handler.WithGroup(n)} }

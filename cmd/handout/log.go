package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"handout/manifest"
)

// openLog returns a log of JSON lines at the end of the file, or what say makes of it where no file is named. The caller
// calls closeLog when nobody logs any more.
func openLog(file string, say slog.Handler) (log *slog.Logger, closeLog func(), err error) {
	if file == "" {
		return slog.New(say), func() {}, nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	return slog.New(slog.NewJSONHandler(f, &slog.HandlerOptions{ReplaceAttr: printableAttr})), func() { f.Close() }, nil
}

// printableAttr keeps control characters of strangers out of logs, which people read on terminals, and secrets of URLs.
func printableAttr(_ []string, at slog.Attr) slog.Attr {
	switch v := at.Value.Any().(type) {
	case string:
		at.Value = slog.StringValue(printable(manifest.ShownIn(v)))
	case error:
		at.Value = slog.StringValue(errorText(v))
	case fmt.Stringer:
		if at.Key != slog.TimeKey && at.Key != slog.LevelKey {
			at.Value = slog.StringValue(printable(manifest.ShownIn(v.String())))
		}
	}
	return at
}

// byLevel writes records to one of three, by their level, without the time: whoever keeps them notes when they came.
func byLevel(info, warn, failed io.Writer) slog.Handler {
	text := func(w io.Writer) slog.Handler {
		return slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(groups []string, at slog.Attr) slog.Attr {
			if at.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return printableAttr(groups, at)
		}})
	}
	return levels{text(info), text(warn), text(failed)}
}

type levels struct{ info, warn, failed slog.Handler }

func (l levels) of(level slog.Level) slog.Handler {
	switch {
	case level >= slog.LevelError:
		return l.failed
	case level >= slog.LevelWarn:
		return l.warn
	}
	return l.info
}

// Enabled implements slog.Handler.
func (l levels) Enabled(ctx context.Context, level slog.Level) bool {
	return l.of(level).Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (l levels) Handle(ctx context.Context, r slog.Record) error {
	return l.of(r.Level).Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l levels) WithAttrs(attrs []slog.Attr) slog.Handler {
	return levels{l.info.WithAttrs(attrs), l.warn.WithAttrs(attrs), l.failed.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (l levels) WithGroup(name string) slog.Handler {
	return levels{l.info.WithGroup(name), l.warn.WithGroup(name), l.failed.WithGroup(name)}
}

package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
)

// openLog returns a log of JSON lines at the end of the file, or of warnings on say where no file is named. The caller
// calls closeLog when nobody logs any more.
func openLog(file string, say io.Writer) (log *slog.Logger, closeLog func(), err error) {
	if file == "" {
		o := &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: printableAttr}
		return slog.New(slog.NewTextHandler(say, o)), func() {}, nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	return slog.New(slog.NewJSONHandler(f, &slog.HandlerOptions{ReplaceAttr: printableAttr})), func() { f.Close() }, nil
}

// printableAttr keeps control characters of strangers out of logs, which people read on terminals.
func printableAttr(_ []string, at slog.Attr) slog.Attr {
	switch v := at.Value.Any().(type) {
	case string:
		at.Value = slog.StringValue(printable(v))
	case error:
		at.Value = slog.StringValue(errorText(v))
	case fmt.Stringer:
		if at.Key != slog.TimeKey && at.Key != slog.LevelKey {
			at.Value = slog.StringValue(printable(v.String()))
		}
	}
	return at
}

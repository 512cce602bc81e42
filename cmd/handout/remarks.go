package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"handout/manifest/amount"
)

// remarks writes records of a log for a person who watches a verb, between the lines of its progress: one sentence each, the
// error at its end, without the time. It is for concurrent use; each record is one Write.
//
//	warning: origin is left alone for a while (origin http://files.example/a, for 2 s): 503 Service Unavailable
type remarks struct {
	mu    *sync.Mutex
	to    io.Writer
	least slog.Level
	with  []slog.Attr // of the log, before those of a record
}

func newRemarks(to io.Writer, least slog.Level) remarks {
	return remarks{mu: new(sync.Mutex), to: to, least: least}
}

// Enabled implements slog.Handler.
func (r remarks) Enabled(_ context.Context, level slog.Level) bool { return level >= r.least }

// Handle implements slog.Handler.
func (r remarks) Handle(_ context.Context, record slog.Record) error {
	var line bytes.Buffer
	switch {
	case record.Level >= slog.LevelError:
		line.WriteString("error: ")
	case record.Level >= slog.LevelWarn:
		line.WriteString("warning: ")
	}
	line.WriteString(printable(record.Message))
	var facts []string
	failure := ""
	note := func(at slog.Attr) bool {
		switch text := remarkText(at); {
		case text == "":
		case at.Key == "error" || at.Key == "err":
			failure = text
		default:
			facts = append(facts, strings.ReplaceAll(at.Key, "_", " ")+" "+text)
		}
		return true
	}
	for _, at := range r.with {
		note(at)
	}
	record.Attrs(note)
	if len(facts) > 0 {
		fmt.Fprintf(&line, " (%s)", strings.Join(facts, ", "))
	}
	if failure != "" {
		line.WriteString(": " + failure)
	}
	line.WriteByte('\n')
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.to.Write(line.Bytes())
	return err
}

// remarkText is the value of an attribute for a person.
func remarkText(at slog.Attr) string {
	switch v := at.Value.Resolve().Any().(type) {
	case error:
		return errorText(v)
	case time.Duration:
		return timeText(v)
	case int64:
		if strings.HasSuffix(at.Key, "bytes") || strings.HasPrefix(at.Key, "from_") {
			return amount.Bytes(v)
		}
		return fmt.Sprint(v)
	default:
		return printable(strings.ReplaceAll(fmt.Sprint(v), "\n", "; "))
	}
}

// WithAttrs implements slog.Handler.
func (r remarks) WithAttrs(attrs []slog.Attr) slog.Handler {
	r.with = append(r.with[:len(r.with):len(r.with)], attrs...)
	return r
}

// WithGroup implements slog.Handler. A group's name says nothing to a person.
func (r remarks) WithGroup(string) slog.Handler { return r }

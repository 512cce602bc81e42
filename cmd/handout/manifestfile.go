package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"handout/manifest"
	"handout/sources"
	"handout/sources/origin"
)

const (
	// manifestTimeout is for the whole of one attempt to read a manifest. One that stalls ends sooner.
	manifestTimeout = 5 * time.Minute
	// manifestPatience is how long a manifest's server may be away where no --timeout says it.
	manifestPatience = 30 * time.Second

	firstManifestPause   = 500 * time.Millisecond
	longestManifestPause = 3 * time.Second // a network that comes up late is used soon
	// longestRetryAfter bounds what a server can ask for.
	longestRetryAfter = 2 * time.Minute
)

// isURL reports whether where names something on the web and not a file.
func isURL(where string) bool {
	scheme, _, ok := strings.Cut(where, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// waiting is what a command waits for before it tries again.
type waiting struct {
	what  string // a location as shown
	why   error
	again time.Duration // until the next attempt
	left  time.Duration // for which it is tried at most
}

func (w waiting) text() string {
	return fmt.Sprintf("waiting for %s: %s; next try in %s, gives up in %s", printable(w.what), errorText(w.why), timeText(w.again), timeText(w.left))
}

// waits prints each new reason to wait, and the same one now and then. The zero value is ready.
type waits struct {
	why string
	at  time.Time
}

func (s *waits) say(out io.Writer, w waiting) {
	const every = 10 * time.Second
	if why := errorText(w.why); why != s.why || time.Since(s.at) >= every {
		s.why, s.at = why, time.Now()
		fmt.Fprintln(out, w.text())
	}
}

// say tells a person of waits.
func (a *app) say() func(waiting) {
	var s waits
	return func(w waiting) { s.say(a.err, w) }
}

// awaitManifest is readManifest, tried again while its server can't be reached or has no time, until ctx ends or, where
// nothing says when that is, for manifestPatience. told hears of each wait.
func awaitManifest(ctx context.Context, where string, o origin.Options, told func(waiting)) ([]byte, error) {
	end, limited := ctx.Deadline()
	if !limited {
		end = time.Now().Add(manifestPatience)
	}
	var last error // before ctx ended
	for pause := firstManifestPause; ; pause = min(2*pause, longestManifestPause) {
		raw, err := readManifest(ctx, where, o)
		after, again := sources.Retryable(err)
		left := time.Until(end)
		switch {
		case err == nil, ctx.Err() == nil && !again:
			return raw, err
		case ctx.Err() != nil:
			return nil, cmp.Or(last, err)
		case left <= 0 && limited:
			<-ctx.Done() // in this very moment
			return nil, err
		case left <= 0:
			return nil, fmt.Errorf("%w (tried for %v)", err, manifestPatience)
		}
		wait := spread(pause)
		if after > 0 {
			wait = min(after, longestRetryAfter) + wait/4 // not all of a room in the same moment
		}
		wait = min(wait, max(left-left/8, 10*time.Millisecond)) // one more try before the end, whatever it asked for
		told(waiting{manifest.Shown(where), whyNot(err), wait, left})
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
		last = err
	}
}

// whyNot is the reason in an error for which it is worth trying again.
func whyNot(err error) error {
	if n, ok := errors.AsType[*sources.NotNow](err); ok {
		return n.Err
	}
	return err
}

// readManifest reads the manifest's bytes from a file, an http(s) URL or a share, once. What can't be a manifest is refused
// at its first bytes.
// What it cannot get from a server is errUnreachable; what is too large or another kind of file is manifest.ErrInvalid.
func readManifest(ctx context.Context, where string, o origin.Options) ([]byte, error) {
	shown := manifest.Shown(where)
	if strings.HasPrefix(strings.ToLower(where), "magnet:") {
		return nil, manifest.CheckHead([]byte(where))
	}
	far := isURL(where) || origin.IsShare(where)
	if far {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, manifestTimeout,
			&sources.NotNow{Err: fmt.Errorf("not all of it came within %v", manifestTimeout)})
		defer cancel()
	}
	raw, err := origin.ReadFile(ctx, where, manifest.MaxSize, manifest.HeadSize, manifest.CheckHead, o)
	read, failed := errors.AsType[*sources.ReadError](err)
	_, local := errors.AsType[*fs.PathError](err)
	switch {
	case err == nil && len(raw) > manifest.MaxSize:
		return nil, fmt.Errorf("%s: more than %s: %w", shown, sizeText(manifest.MaxSize), manifest.ErrInvalid)
	case err == nil:
		return raw, nil
	case errors.Is(err, manifest.ErrInvalid):
		return nil, fmt.Errorf("%s: %w", shown, err)
	case failed:
		return nil, fmt.Errorf("%w: %s: %w", errUnreachable, shown, read.Err)
	case local && far:
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	case local && errors.Is(err, syscall.EISDIR):
		return nil, usagef("%s is a folder: name the manifest, a file that handout publish wrote", where)
	case local: // the path may be a URL whose scheme was forgotten
		return nil, namedError("manifest", shown, err)
	}
	return nil, usageError{err}
}

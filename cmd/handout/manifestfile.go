package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"handout/manifest"
	"handout/sources/origin"
)

const (
	// manifestTimeout is for the whole of one attempt to read a manifest.
	manifestTimeout = 60 * time.Second
	maxRedirects    = 5
)

// isURL reports whether where names something on the web and not a file.
func isURL(where string) bool {
	scheme, _, ok := strings.Cut(where, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// readManifest reads the manifest's bytes from a file, an http(s) URL or a share.
// What it cannot get from a server is errUnreachable; what is too large is manifest.ErrInvalid.
func readManifest(ctx context.Context, where string, o origin.Options) ([]byte, error) {
	switch {
	case isURL(where):
		return downloadManifest(ctx, where)
	case origin.IsShare(where):
		return sharedManifest(ctx, where, o)
	}
	f, err := os.Open(where)
	if err != nil {
		return nil, namedError("manifest", where, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, usagef("%s is a folder: name the manifest, a file that handout publish wrote", where)
	}
	return readLimited(f, where)
}

func readLimited(r io.Reader, where string) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, manifest.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the manifest %s: %w", where, err)
	}
	if len(raw) > manifest.MaxSize {
		return nil, fmt.Errorf("%s: more than %s: %w", where, sizeText(manifest.MaxSize), manifest.ErrInvalid)
	}
	return raw, nil
}

// sharedManifest reads a manifest that lies on a share.
func sharedManifest(ctx context.Context, where string, o origin.Options) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, manifestTimeout)
	defer cancel()
	raw, err := origin.ReadShared(ctx, where, manifest.MaxSize, o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	return readLimited(bytes.NewReader(raw), where)
}

func downloadManifest(ctx context.Context, where string) ([]byte, error) {
	u, err := url.Parse(where)
	if err != nil {
		return nil, usagef("%q is no URL: %w", where, err)
	}
	shown := u.Redacted()
	if u.User != nil {
		return nil, usagef("%s: a user name and password in a URL end up in logs: they are not taken", shown)
	}
	ctx, cancel := context.WithTimeout(ctx, manifestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, usagef("%s: %w", shown, err)
	}
	req.Header.Set("User-Agent", "handout")
	client := http.Client{CheckRedirect: followRedirect}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		// The client's own error repeats the URL it got stuck at, which a redirect may have put a password into.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("%w: %s: %w", errUnreachable, shown, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: %s answers %s", errUnreachable, shown, resp.Status)
	}
	raw, err := readLimited(resp.Body, shown)
	if err != nil && !errors.Is(err, manifest.ErrInvalid) {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	return raw, err
}

// followRedirect lets a server send us a few steps on, as an origin may: never from https to plain http, and never with
// credentials in the URL.
func followRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("redirected from https to %s", req.URL.Redacted())
	}
	if req.URL.User != nil {
		return fmt.Errorf("redirected to %s, with credentials in it", req.URL.Redacted())
	}
	return nil
}

package main

import (
	"errors"
	"path/filepath"
	"regexp"
	"strings"

	"handout/manifest"
	"handout/sources/origin"
	"handout/sources/smborigin"
)

// originURLs checks what --origin of publish says and returns it as it goes into the manifest.
func originURLs(given []string) ([]string, error) {
	var urls []string
	for _, s := range given {
		u, err := originURL(s)
		if err != nil {
			return nil, usagef("--origin %s: %w", manifest.Shown(s), err)
		}
		urls = append(urls, u)
	}
	return urls, nil
}

// windowsPath matches what is an absolute path on Windows, wherever publish itself runs: C:\x, \\server\share.
var windowsPath = regexp.MustCompile(`^([A-Za-z]:[\\/]|\\\\[^\\]+\\[^\\]+)`)

func originURL(s string) (string, error) {
	if windowsPath.MatchString(s) || filepath.IsAbs(s) {
		return s, nil
	}
	if origin.IsShare(s) {
		_, err := smborigin.Parse(s)
		return s, err
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme == "" {
		return "", errors.New("a path must be absolute: machines read it from another folder than this one")
	}
	u, err := manifest.ParseURL(s)
	switch {
	case err != nil:
		return "", err
	case u.User != nil:
		return "", errors.New("a manifest carries no password, and a user's name only with smb://: everybody can read it")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("no ? and no #: what stands behind a ? is often a key, and everybody can read a manifest")
	}
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return "", errors.New("no host in it")
		}
	case "file":
		if rest == "" || u.Path == "" {
			return "", errors.New("no path in it")
		}
	default:
		return "", errors.New("http://, https://, smb://, file:// or an absolute path are understood")
	}
	return s, nil
}

package fileorigin

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"handout/manifest"
)

// PathOf is the path that location, a path or a file URL, means on this system.
func PathOf(location string) (string, error) { return pathOf(location, runtime.GOOS == "windows") }

// pathOf is the path that location means: itself, or what a file URL names.
func pathOf(location string, windows bool) (string, error) {
	if len(location) < 5 || !strings.EqualFold(location[:5], "file:") {
		if location == "" {
			return "", errors.New("no path")
		}
		return location, nil
	}
	u, err := manifest.ParseURL(location)
	if err != nil {
		return "", err
	}
	switch {
	case u.User != nil:
		return "", errors.New("a file URL has no user")
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("in a file URL write %3F for a question mark and %23 for a #")
	case u.Opaque != "" || u.Path == "" || strings.ContainsRune(u.Path, 0):
		return "", errors.New("not a file URL with an absolute path")
	}
	host, path := u.Host, u.Path
	if strings.EqualFold(host, "localhost") {
		host = ""
	}
	if !windows {
		if host != "" {
			return "", fmt.Errorf("the share %s must be mounted here, and the mount's path given", "//"+host+path)
		}
		return path, nil
	}
	path = strings.ReplaceAll(path, "/", `\`)
	switch {
	case host != "":
		return `\\` + host + path, nil // file://server/share/dir
	case strings.HasPrefix(path, `\\`):
		return path, nil // file:////server/share/dir
	case len(path) >= 3 && path[2] == ':':
		return path[1:], nil // file:///C:/dir
	}
	return "", errors.New("a file URL on Windows names a drive or a server: file:///C:/dir, file://server/share")
}

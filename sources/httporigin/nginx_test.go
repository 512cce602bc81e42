package httporigin

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"handout/sources"
	"handout/sources/sourcetest"
)

// startNginx serves dir for the length of a test.
func startNginx(t testing.TB, n *sourcetest.Nginx) {
	t.Helper()
	n.Dir = t.TempDir()
	if err := n.Start(); errors.Is(err, sourcetest.ErrNoNginx) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
}

func writeTree(t testing.TB, files map[string][]byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for path, data := range files {
		name := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mustOpen(t testing.TB, url string, o Options) *Origin {
	t.Helper()
	h, err := Open(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestNginx(t *testing.T) {
	for name, directives := range map[string]string{
		"as it comes":          "",
		"no second request":    "keepalive_timeout 0;",
		"no sendfile, no ETag": "sendfile off; etag off;",
	} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, func(t *testing.T, files map[string][]byte) sources.Origin {
				n := &sourcetest.Nginx{Root: writeTree(t, files), Server: directives}
				startNginx(t, n)
				return mustOpen(t, n.URL, Options{})
			})
		})
	}
}

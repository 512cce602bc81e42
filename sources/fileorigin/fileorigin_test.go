package fileorigin

import (
	"os"
	"path/filepath"
	"testing"

	"handout/sources"
	"handout/sources/sourcetest"
)

func TestExam(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, files map[string][]byte) sources.Origin {
		dir := t.TempDir()
		for path, data := range files {
			name := filepath.Join(dir, filepath.FromSlash(path))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		o, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Close() })
		return o
	})
}

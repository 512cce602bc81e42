package fileorigin

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/windows"

	"handout/sources"
	"handout/sources/sourcetest"
)

// uncFolder is an empty folder on a share.
func uncFolder(t *testing.T) string {
	t.Helper()
	share := os.Getenv("HANDOUT_UNC")
	if share == "" {
		t.Skip(`needs HANDOUT_UNC=\\server\share, which may be written to: make test-windows`)
	}
	dir, err := os.MkdirTemp(share, "unc-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestExamByUNCPath(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, files map[string][]byte) sources.Origin {
		dir := uncFolder(t)
		for path, data := range files {
			name := filepath.Join(dir, filepath.FromSlash(path))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return mustOpen(t, dir)
	})
}

func TestOneFileByUNCPath(t *testing.T) {
	name := filepath.Join(uncFolder(t), "one file")
	write(t, name, "0123456789")
	p := make([]byte, 3)
	if err := mustOpen(t, name).ReadRange(t.Context(), "", 4, p); err != nil || string(p) != "456" {
		t.Errorf("%q, %v", p, err)
	}
	if err := mustOpen(t, name+" not").ReadRange(t.Context(), "", 0, p); !errors.Is(err, sources.ErrMissing) {
		t.Errorf("nothing there: %v", err)
	}
}

// A file that somebody holds without sharing it is busy, not gone.
func TestFileInUse(t *testing.T) {
	name := filepath.Join(uncFolder(t), "f")
	write(t, name, "0123456789")
	wide, err := windows.UTF16PtrFromString(name)
	if err != nil {
		t.Fatal(err)
	}
	const unshared = 0
	held, err := windows.CreateFile(wide, windows.GENERIC_READ, unshared, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(held)
	err = mustOpen(t, filepath.Dir(name)).ReadRange(t.Context(), "f", 0, make([]byte, 3))
	if _, again := sources.Retryable(err); !again {
		t.Errorf("%v is for ever", err)
	}
}

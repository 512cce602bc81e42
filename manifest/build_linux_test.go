package manifest

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSpecialFiles: opening a named pipe would wait for ever, and a device has no end.
func TestSpecialFiles(t *testing.T) {
	for what, make := range map[string]func(path string) error{
		"a named pipe": func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"a socket": func(path string) error {
			l, err := net.Listen("unix", path)
			if err == nil {
				l.(*net.UnixListener).SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		},
		"a device": func(path string) error { return syscall.Mknod(path, syscall.S_IFCHR|0o644, 1<<8|3) },
	} {
		t.Run(what, func(t *testing.T) {
			tree := writeTree(t, "p", map[string]string{"d/a": "a"})
			special := filepath.Join(tree, "d", "s")
			if err := make(special); err != nil {
				t.Skipf("needs root: %v", err)
			}
			for _, tree := range []string{tree, special} {
				if _, err := Build(t.Context(), tree, BuildOptions{}); err == nil || !strings.Contains(err.Error(), what) ||
					!strings.Contains(err.Error(), filepath.Base(special)) {
					t.Errorf("%v", err)
				}
			}
		})
	}
}

// TestUnreadable: a package without what could not be read would look whole.
func TestUnreadable(t *testing.T) {
	for _, name := range []string{"full", "empty", "folder"} {
		tree := writeTree(t, "pkg", map[string]string{"full": "content", "empty": "", "folder/a": "a"})
		if err := os.Chmod(filepath.Join(tree, name), 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(filepath.Join(tree, name), 0o755) })
		asNobody(t, tree, func() {
			if _, err := Build(t.Context(), tree, BuildOptions{}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

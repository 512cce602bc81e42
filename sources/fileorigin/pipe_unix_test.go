//go:build unix

package fileorigin

import (
	"path/filepath"
	"syscall"
	"testing"
)

// A pipe in the folder must not keep us waiting for its writer.
func TestPipe(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, dir).ReadRange(t.Context(), "pipe", 0, make([]byte, 1)); err == nil {
		t.Error("read")
	}
	if err := mustOpen(t, pipe).ReadRange(t.Context(), "", 0, make([]byte, 1)); err == nil {
		t.Error("read")
	}
}

package store

import (
	"os"
	"path/filepath"
	"testing"

	"handout/manifest"
)

// Somebody puts a link in the place of a staging folder: neither a pin nor the reading of a manifest is led elsewhere.
func TestPinIsNotLedAstray(t *testing.T) {
	dir := t.TempDir()
	elsewhere := filepath.Join(dir, "elsewhere")
	if err := os.Mkdir(elsewhere, 0o755); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(dir, "tree")
	if err := os.Symlink("elsewhere", filepath.Join(dir, stagingName("tree"))); err != nil {
		t.Fatal(err)
	}
	if err := Pin(dest, true); err == nil {
		t.Error("the pin followed the link")
	}
	if _, err := Standing(dest, manifest.Trust{AllowUnsigned: true}); err == nil {
		t.Error("a manifest was read through the link")
	}
	if left, err := os.ReadDir(elsewhere); err != nil || len(left) > 0 {
		t.Errorf("written through the link: %v, %v", left, err)
	}
}

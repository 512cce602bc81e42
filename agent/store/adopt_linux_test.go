package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// In a folder where everybody may, a user makes the staging folder of a tree that another one will fetch, or what is in it:
// the tree would be his.
func TestStagingFolderOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give folders away")
	}
	const nobody = 65534
	m := pack(t, variety()).m
	for name, spoil := range map[string]func(stage string) error{
		"another's": func(stage string) error { return os.Chown(stage, nobody, nobody) },
		"open":      func(stage string) error { return os.Chmod(stage, 0o777) },
		"its tree": func(stage string) error {
			return errors.Join(os.Mkdir(filepath.Join(stage, treeName), 0o777), os.Chown(filepath.Join(stage, treeName), nobody, nobody))
		},
		"a file in it": func(stage string) error {
			at := filepath.Join(stage, journalName)
			return errors.Join(os.WriteFile(at, nil, 0o600), os.Chown(at, nobody, nobody))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			dest := filepath.Join(dir, "dest")
			stage := filepath.Join(dir, stagingName("dest"))
			if err := errors.Join(os.Mkdir(stage, 0o700), spoil(stage)); err != nil {
				t.Fatal(err)
			}
			tree, err := Open(t.Context(), m, dest, Options{})
			if !errors.Is(err, ErrForeign) || !errors.Is(err, ErrNotWritable) {
				t.Errorf("got %v", err)
			}
			if tree != nil {
				tree.Close()
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("%v is left", left)
			}
		})
	}
}

package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeTree makes a tree named root: "path" is a file with that content, "path*" an executable one, "path>" a symlink
// to it, "path/" a folder.
func writeTree(t testing.TB, root string, entries map[string]string) string {
	t.Helper()
	tree := filepath.Join(t.TempDir(), root)
	if err := os.MkdirAll(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range entries {
		full := filepath.Join(tree, filepath.FromSlash(strings.TrimRight(name, "*>/")))
		folder := filepath.Dir(full)
		if strings.HasSuffix(name, "/") {
			folder = full
		}
		err := os.MkdirAll(folder, 0o755)
		if err == nil {
			switch name[len(name)-1] {
			case '/':
			case '>':
				err = os.Symlink(content, full)
			case '*':
				err = os.WriteFile(full, []byte(content), 0o755)
			default:
				err = os.WriteFile(full, []byte(content), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func build(t testing.TB, tree string, o BuildOptions) []byte {
	t.Helper()
	raw, err := Build(t.Context(), tree, o)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func open(t testing.TB, raw []byte) *Manifest {
	t.Helper()
	m, err := Open(raw, Trust{AllowUnsigned: true})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

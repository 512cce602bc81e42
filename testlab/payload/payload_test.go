package payload

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSameSeedSameTree(t *testing.T) {
	a, b, c := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "c")
	for dir, seed := range map[string]uint64{a: 1, b: 1, c: 2} {
		if err := Write(dir, seed, 300_000); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Compare(a, b)
	if err != nil || len(got.Differs) != 0 || got.Right != got.Files || got.Files != 47 {
		t.Errorf("same seed: %+v, %v", got, err)
	}
	if got, err := Compare(a, c); err != nil || len(got.Differs) == 0 {
		t.Errorf("another seed, same tree (%v)", err)
	}
	if n, err := Bytes(a); err != nil || n != 300_000+1_300+17+70_000+300+40*39*40*79/6 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A comparison that overlooks something makes every test that leans on it worthless.
func TestComparisonOverlooksNothing(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"one bit":         func(d string) error { return flip(filepath.Join(d, Name), 270_000) },
		"last byte":       func(d string) error { return flip(filepath.Join(d, Name), 299_999) },
		"shorter":         func(d string) error { return os.Truncate(filepath.Join(d, Name), 299_999) },
		"mode":            func(d string) error { return os.Chmod(filepath.Join(d, "boot/setup.sh"), 0o644) },
		"time":            func(d string) error { return os.Chtimes(filepath.Join(d, "empty"), time.Time{}, time.Now()) },
		"folder's time":   func(d string) error { return os.Chtimes(filepath.Join(d, "boot"), time.Time{}, time.Now()) },
		"missing":         func(d string) error { return os.Remove(filepath.Join(d, "empty")) },
		"missing folder":  func(d string) error { return os.Remove(filepath.Join(d, "nothing in here")) },
		"one too many":    func(d string) error { return os.WriteFile(filepath.Join(d, "small/x"), nil, 0o644) },
		"link elsewhere":  func(d string) error { return relink(filepath.Join(d, "boot/current"), "../empty") },
		"file for a link": func(d string) error { return replace(filepath.Join(d, "boot/current")) },
		"all gone":        os.RemoveAll,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
			for _, dir := range []string{a, b} {
				if err := Write(dir, 1, 300_000); err != nil {
					t.Fatal(err)
				}
			}
			// That spoiling changes times is not what is looked for.
			before, err := times(b)
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(b); err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(name, "time") {
				restore(before)
			}
			got, err := Compare(a, b)
			if err != nil || len(got.Differs) == 0 {
				t.Errorf("not noticed (%v)", err)
			}
			if name != "all gone" && len(got.Differs) != 1 {
				t.Errorf("one thing was spoilt, found %q", got.Differs)
			}
		})
	}
}

func flip(path string, at int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[at] ^= 1
	return os.WriteFile(path, b, 0)
}

func relink(path, target string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Symlink(target, path)
}

func replace(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.WriteFile(path, nil, 0o644)
}

func times(root string) (map[string]time.Time, error) {
	all := map[string]time.Time{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all[path] = info.ModTime()
		}
		return err
	})
	return all, err
}

func restore(all map[string]time.Time) {
	for path, when := range all {
		os.Chtimes(path, time.Time{}, when)
	}
}

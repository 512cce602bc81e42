// Package payload makes the trees that labs hand out and compares what arrived with what was sent.
package payload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Name is the big file of a written tree.
const Name = "disk.img"

// Write makes a small tree at dir, which must not exist: one file of size random bytes and, around it, what a real tree
// has and a naive copy loses: small files, an executable, a symlink, an empty file, an empty folder, a name beyond
// ASCII, a deep path. The same seed and size make the same tree.
func Write(dir string, seed uint64, size int64) error {
	// A whole second: nobody should fail for what his file system or protocol cannot say.
	when := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	random := rand.NewChaCha8(key)
	files := []struct {
		path string
		size int64
		mode fs.FileMode
	}{
		{Name, size, 0o644},
		{"boot/setup.sh", 1_300, 0o755},
		{"boot/a/b/c/d/e/deep.txt", 17, 0o644},
		{"empty", 0, 0o644},
		{"read-only.cfg", 70_000, 0o444},
		{"Übung–1 ü.txt", 300, 0o600},
	}
	for i := range 40 {
		files = append(files, struct {
			path string
			size int64
			mode fs.FileMode
		}{fmt.Sprintf("small/%02d.dat", i), int64(i * i * 40), 0o644})
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for i, f := range files {
		path := filepath.Join(dir, f.path)
		if err := writeFile(path, io.LimitReader(random, f.size), f.mode); err != nil {
			return err
		}
		if err := os.Chtimes(path, when, when.Add(-time.Duration(i)*time.Hour)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "nothing in here"), 0o755); err != nil {
		return err
	}
	if err := os.Symlink("../"+Name, filepath.Join(dir, "boot/current")); err != nil {
		return err
	}
	var folders []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, path)
		}
		return err
	})
	for _, path := range folders {
		err = errors.Join(err, os.Chmod(path, 0o755), os.Chtimes(path, when, when.Add(-24*time.Hour)))
	}
	return err
}

func writeFile(path string, from io.Reader, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close(), os.Chmod(path, mode))
}

// Comparison is what Compare found.
type Comparison struct {
	Files   int      // regular files and symlinks that should be there
	Content int      // of these, the ones with the right content or target, whatever their mode and time
	Right   int      // of these, the ones that are exactly so
	Differs []string // one line for every difference, folders included; empty: the trees are identical
}

// Compare holds got against want, byte for byte: names, kinds, content, link targets, permission bits and modification
// times to the second. Links have only a target, and the trees' own folders no attributes: those belong to whoever made
// the place.
func Compare(want, got string) (Comparison, error) {
	var c Comparison
	expected := map[string]bool{}
	err := filepath.WalkDir(want, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(want, path)
		if err != nil {
			return err
		}
		expected[rel] = true
		content, attributes, err := compareOne(path, filepath.Join(got, rel))
		if err != nil {
			return err
		}
		if rel == "." {
			attributes = ""
		}
		if !d.IsDir() {
			c.Files++
			c.Content += count(content == "")
			c.Right += count(content == "" && attributes == "")
		}
		for _, difference := range []string{content, attributes} {
			if difference != "" {
				c.Differs = append(c.Differs, rel+": "+difference)
			}
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	err = filepath.WalkDir(got, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == got {
			return nil // already told
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(got, path)
		if err == nil && !expected[rel] {
			c.Differs = append(c.Differs, rel+": nobody sent this")
		}
		return err
	})
	slices.Sort(c.Differs)
	return c, err
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

// compareOne tells the differences between two entries, in what they are and in what is said of them; empty if none.
func compareOne(want, got string) (content, attributes string, err error) {
	w, err := os.Lstat(want)
	if err != nil {
		return "", "", err
	}
	g, err := os.Lstat(got)
	if errors.Is(err, fs.ErrNotExist) {
		return "missing", "", nil
	}
	if err != nil {
		return "", "", err
	}
	if w.Mode().Type() != g.Mode().Type() {
		return fmt.Sprintf("is %v, should be %v", g.Mode(), w.Mode()), "", nil
	}
	if w.Mode()&fs.ModeSymlink != 0 {
		content, err = compareLink(want, got)
		return content, "", err // a link's own mode and time mean nothing
	}
	switch {
	case w.Mode() != g.Mode():
		attributes = fmt.Sprintf("is %v, should be %v", g.Mode(), w.Mode())
	case w.ModTime().Unix() != g.ModTime().Unix():
		attributes = fmt.Sprintf("changed %v, should be %v", g.ModTime().UTC(), w.ModTime().UTC())
	}
	switch {
	case w.IsDir():
	case w.Size() != g.Size():
		content = fmt.Sprintf("has %d bytes, should have %d", g.Size(), w.Size())
	default:
		content, err = compareContent(want, got)
	}
	return content, attributes, err
}

func compareLink(want, got string) (string, error) {
	w, err := os.Readlink(want)
	if err != nil {
		return "", err
	}
	g, err := os.Readlink(got)
	if err == nil && w != g {
		return fmt.Sprintf("points to %s, should point to %s", g, w), nil
	}
	return "", err
}

func compareContent(want, got string) (string, error) {
	w, err := os.Open(want)
	if err != nil {
		return "", err
	}
	defer w.Close()
	g, err := os.Open(got)
	if err != nil {
		return "", err
	}
	defer g.Close()
	a, b := make([]byte, 256<<10), make([]byte, 256<<10)
	for off := 0; ; {
		n, err := io.ReadFull(w, a)
		if _, gerr := io.ReadFull(g, b[:n]); gerr != nil && gerr != io.EOF {
			return "", fmt.Errorf("read %s at %d: %w", got, off, gerr)
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return fmt.Sprintf("differs within the %d bytes at %d", n, off), nil
		}
		off += n
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("read %s at %d: %w", want, off, err)
		}
	}
}

// Bytes is the content of all regular files below dir, in bytes.
func Bytes(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

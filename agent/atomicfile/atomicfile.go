// Package atomicfile writes the small files in which a machine keeps what must outlive a restart, and reads them back
// whatever became of them. It knows nothing of what is in them.
//
// A file is replaced whole: after a crash or a power cut all of the old content is there or all of the new. A State is
// written twice, so that one copy may be torn, emptied or lost to the disk; what can't be read at all is set aside under
// another name, for a person to look at, and the program goes on without it.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"handout/manifest/amount"
)

// partMark is in the name of a file that is being written: .NAME.part-NUMBER.
const partMark = ".part-"

// Write replaces the file at path by one with this content and mode. When it returns nil the new content survives a power
// cut; after an error the old content is still there.
func Write(path string, content []byte, mode fs.FileMode) error {
	return Fill(path, mode, func(f *os.File) error {
		_, err := f.Write(content)
		return err
	})
}

// Fill is Write of what fill writes. An error of fill leaves the old file in place.
func Fill(path string, mode fs.FileMode, fill func(*os.File) error) (err error) {
	dir, base := filepath.Split(path)
	f, err := os.CreateTemp(filepath.Clean(dir), "."+base+partMark+"*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = fill(f); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return replace(f.Name(), path)
}

// Sweep removes what writers that were killed have left in the folder dir. Nobody may be writing there.
func Sweep(dir string) {
	list, _ := os.ReadDir(dir) // a folder that can't be read has nothing that disturbs
	for _, e := range list {
		i := strings.LastIndex(e.Name(), partMark)
		if i > 0 && e.Name()[0] == '.' && strings.Trim(e.Name()[i+len(partMark):], "0123456789") == "" && e.Type().IsRegular() {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// Read reads a regular file of at most most bytes. fs.ErrNotExist: there is none. It never waits for a pipe.
func Read(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errNotFile}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("more than %s", amount.Bytes(most))}
	}
	return b, err
}

var errNotFile = errors.New("is not a file")

// State is a file that one process writes and reads again at its next start.
type State struct {
	Path string
	Mode fs.FileMode
	Most int64 // bytes that it has at most
}

// copyEnd is the end of the name of a State's second copy.
const copyEnd = ".copy"

// Write replaces the content, first of the copy: while that is written the file itself is whole. A folder in the place of
// either is set aside.
func (s State) Write(content []byte) error {
	for _, path := range []string{s.Path + copyEnd, s.Path} {
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			if _, err := SetAside(path); err != nil {
				return err
			}
		}
		if err := Write(path, content, s.Mode); err != nil {
			return err
		}
	}
	return nil
}

// Look calls take with the content and changes nothing on the disk; take may be called twice, and returns an error for
// content that makes no sense to it. The outcomes:
//   - nil: take took the content, of the file or of its copy;
//   - fs.ErrNotExist: there is no file (a copy alone counts for nothing: somebody removed the file on purpose);
//   - any other error: neither is of use.
func (s State) Look(take func([]byte) error) error {
	err := look(s.Path, s.Most, take)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if look(s.Path+copyEnd, s.Most, take) == nil {
		return nil
	}
	return err
}

func look(path string, most int64, take func([]byte) error) error {
	content, err := Read(path, most)
	if err == nil {
		if err = take(content); err != nil {
			err = fmt.Errorf("read %s: %w", path, err)
		}
	}
	return err
}

// Damage says that a State was not what had been written, and what became of it.
type Damage struct {
	Path  string
	Aside string // where it lies now; "": where it was, as it could not be moved
	Whole bool   // its copy was of use: nothing is lost
	Err   error  // what is wrong with it
}

func (d *Damage) Error() string {
	where := "it was set aside as " + d.Aside
	if d.Aside == "" {
		where = "it could not be set aside"
	}
	if d.Whole {
		where += ", and its copy is used"
	}
	return fmt.Sprintf("%v: %s", d.Err, where)
}

func (d *Damage) Unwrap() error { return d.Err }

// Load is Look for the process that writes the file: what is of no use is set aside, so that the next Write finds its
// place free, and the copy takes its place. Outcomes besides those of Look: a *Damage, after which take either took the
// copy (Whole) or nothing.
func (s State) Load(take func([]byte) error) error {
	err := look(s.Path, s.Most, take)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d := &Damage{Path: s.Path, Err: err}
	d.Aside, _ = SetAside(s.Path) // that it can't be moved is said
	var content []byte
	if look(s.Path+copyEnd, s.Most, func(b []byte) error {
		content = b
		return take(b)
	}) == nil {
		d.Whole = true
		Write(s.Path, content, s.Mode) // an error: the next Write will say it
		return d
	}
	if _, err := os.Lstat(s.Path + copyEnd); err == nil {
		SetAside(s.Path + copyEnd)
	}
	return d
}

const (
	asideMark = ".damaged-"
	// asideMost is how many of one name are kept.
	asideMost = 4
)

// SetAside renames what lies at path, whatever it is, and returns its new name.
func SetAside(path string) (string, error) {
	stamp := path + asideMark + time.Now().UTC().Format("20060102T150405")
	aside := stamp
	for n := 2; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		}
		aside = fmt.Sprintf("%s-%d", stamp, n)
	}
	if err := replace(path, aside); err != nil {
		return "", fmt.Errorf("set %s aside: %w", path, err)
	}
	older, _ := filepath.Glob(globQuoted(path) + asideMark + "*") // in the order of time
	for _, old := range older[:max(0, len(older)-asideMost)] {
		os.Remove(old) // a folder that has something in it stays
	}
	return aside, nil
}

// globQuoted is path as a pattern that matches nothing else. On Windows nothing can be quoted, and need not be: [ is rare
// there, and all that would go wrong is that older files stay.
func globQuoted(path string) string {
	if filepath.Separator == '\\' {
		return path
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Aside lists what was set aside in the folder dir, oldest first of each name.
func Aside(dir string) (paths []string) {
	list, _ := os.ReadDir(dir)
	for _, e := range list {
		if strings.Contains(e.Name(), asideMark) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(paths)
	return paths
}

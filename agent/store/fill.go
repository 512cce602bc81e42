package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// fillName is, in a landing, the journal of a destination that is filled: a folder that stays, while a finished tree's entries
// are moved into it one by one. Its first line says where in the landing the tree is; each line after it is a folder that is
// about to be filled, and the last that all has been moved. A line is on the disk before anything it tells of is done.
const fillName = "filling"

// errHalfway marks the error of a destination that is neither what it was nor what it is to be. The next Open goes on with it.
var errHalfway = errors.New("some of it is in place, and the next run goes on")

// fill lets a finished tree take the place of what is in a folder, where the folder can't be renamed or must not be: it is a
// mount point, a folder of an overlay's lower layer, somebody's working directory, or lies in one that this user can't write
// to. An entry is exchanged by two renames, a file by one. Only a folder that can't be moved away either is filled in turn.
// Each step can be done again, so that after a crash the journal and what is left of the tree say how to go on.
type fill struct {
	land    *landing
	from    string   // the tree, in the landing
	to      *os.Root // the destination
	stays   map[string]bool
	journal *os.File
	begun   map[string]filling // by folder
	done    bool
}

// filling is one line of the journal. Names are bytes, as they need not be text.
type filling struct {
	From   []byte      `json:"from,omitempty"` // in the first line only
	Dir    []byte      `json:"dir,omitempty"`
	Mode   fs.FileMode `json:"mode,omitempty"` // what the folder has in the end
	Time   time.Time   `json:"time,omitzero"`
	Extras [][]byte    `json:"extras,omitempty"` // what is in it and has to go
	Done   bool        `json:"done,omitempty"`
}

// fillWith fills the destination with the tree at from in the landing. Once it has begun it does not heed ctx's end. With
// errHalfway among its errors it is to be gone on with.
func (l *landing) fillWith(ctx context.Context, from string) error {
	f, err := l.openFill(from)
	if err != nil {
		return explain(err, "fill", l.dest())
	}
	defer f.close()
	if err := f.note(filling{From: []byte(from)}); err != nil {
		return errors.Join(err, l.root.Remove(fillName))
	}
	return f.run(ctx)
}

// settleFill goes on with a filling that was interrupted.
func (l *landing) settleFill(ctx context.Context) error {
	data, err := l.root.ReadFile(fillName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return explain(err, "read", l.path(fillName))
	}
	lines := readFilling(data)
	// What may have been written by somebody else leads nowhere but beneath the landing and the destination.
	if len(lines) == 0 || !isFolder(l.parent, l.base) || !filepath.IsLocal(filepath.FromSlash(string(lines[0].From))) {
		return explain(l.root.Remove(fillName), "remove", l.path(fillName)) // nothing was moved, or it went with the folder
	}
	f, err := l.openFill(string(lines[0].From))
	if err != nil {
		return explain(err, "go on filling", l.dest())
	}
	defer f.close()
	for _, line := range lines[1:] {
		f.begun[string(line.Dir)] = line
		f.done = f.done || line.Done
	}
	if f.done {
		return nil
	}
	return f.run(ctx)
}

// readFilling reads a journal as far as it was written: a line that is cut off tells of nothing that was done.
func readFilling(data []byte) (lines []filling) {
	for in := bufio.NewReader(bytes.NewReader(data)); ; {
		text, err := in.ReadBytes('\n')
		var line filling
		if err != nil || json.Unmarshal(text, &line) != nil {
			return lines
		}
		lines = append(lines, line)
	}
}

func (l *landing) openFill(from string) (*fill, error) {
	to, err := openWithin(l.parent, l.base)
	if err != nil {
		return nil, err
	}
	f := &fill{land: l, from: from, to: to, stays: stayingIn(l.dest()), begun: map[string]filling{}}
	if err = l.root.Mkdir(oldName, 0o700); errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err == nil {
		f.journal, err = l.root.OpenFile(fillName, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	}
	if err == nil {
		err = syncFolder(l.root)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *fill) close() {
	f.to.Close()
	if f.journal != nil {
		f.journal.Close()
	}
}

// note writes a line to the journal. When it returns the line is on the disk.
func (f *fill) note(line filling) error {
	if err := f.step(); err != nil {
		return err
	}
	text, err := json.Marshal(line)
	if err == nil {
		_, err = f.journal.Write(append(text, '\n'))
	}
	if err == nil {
		err = f.journal.Sync()
	}
	return explain(err, "write", f.land.path(fillName))
}

// step comes before whatever changes something.
func (f *fill) step() error {
	if f.land.step == nil {
		return nil
	}
	return f.land.step()
}

func (f *fill) run(ctx context.Context) error {
	const what = "the folder can't be exchanged as a whole: its entries are, one after the other"
	if there, err := occupied(f.land.parent, f.land.base); there || err != nil {
		f.land.log.Warn(what+", so that for a moment old and new stand side by side", "dest", f.land.dest())
	} else {
		f.land.log.Info(what, "dest", f.land.dest())
	}
	err := f.folder(context.WithoutCancel(ctx), itself)
	for dir := range f.begun {
		if err == nil {
			err = f.flush(dir)
		}
	}
	if err == nil {
		err = f.note(filling{Done: true})
	}
	if err != nil {
		return fmt.Errorf("%w (%w)", explain(err, "fill", f.land.dest()), errHalfway)
	}
	return nil
}

// flush makes what was done in a folder last; it may have gone since, with the one around it.
func (f *fill) flush(dir string) error {
	d, err := f.to.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	return syncFolder(d)
}

// There are three places for an entry, all named from the tree's root.
func (f *fill) new(p string) spot { return f.land.in(path.Join(f.from, p)) }

func (f *fill) here(p string) spot {
	return spot{f.to, path.Dir(p), path.Base(p), path.Join(f.land.base, p)}
}

// folder brings all that the tree has in a folder into that of the destination, and removes there what the tree does not have.
func (f *fill) folder(ctx context.Context, dir string) error {
	line, begun := f.begun[dir]
	if !begun {
		var err error
		if line, err = f.survey(dir); err != nil {
			return err
		}
		if err := f.note(line); err != nil {
			return err
		}
		f.begun[dir] = line
	}
	for root, name := range map[*os.Root]string{f.to: dir, f.land.root: path.Join(f.from, dir)} {
		if err := letWrite(root, name); err != nil {
			return err
		}
	}
	names, err := namesIn(f.land.root, path.Join(f.from, dir))
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := f.entry(ctx, path.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, name := range line.Extras {
		p := path.Join(dir, string(name))
		if !filepath.IsLocal(filepath.FromSlash(p)) || !isThere(f.to, p) {
			continue
		}
		if err := f.away(ctx, p); err != nil {
			return err
		}
	}
	return f.finish(dir, line)
}

// survey is the line for a folder of which all of the tree is still to come.
func (f *fill) survey(dir string) (line filling, err error) {
	line.Dir = []byte(dir)
	of, named := f.land.root, path.Join(f.from, dir)
	if dir == itself {
		of, named = f.to, dir // whose folder it is, he has it as he wants it
	}
	fi, err := of.Stat(named)
	if err != nil {
		return line, err
	}
	line.Mode = fi.Mode() & (fs.ModePerm | fs.ModeSetgid)
	if dir != itself {
		line.Time = fi.ModTime()
	}
	comes, err := namesIn(f.land.root, path.Join(f.from, dir))
	if err != nil {
		return line, err
	}
	stands, err := namesIn(f.to, dir)
	if err != nil {
		return line, err
	}
	for _, name := range stands {
		own := dir == itself && isOwn(f.to, name, f.land.base == itself)
		if !own && !slices.Contains(comes, name) {
			line.Extras = append(line.Extras, []byte(name))
		}
	}
	return line, nil
}

// finish gives a folder that was filled its mode and time, and removes the tree's, which is empty now.
func (f *fill) finish(dir string, line filling) error {
	if err := f.step(); err != nil {
		return err
	}
	if fi, err := f.to.Stat(dir); err != nil {
		return err
	} else if fi.Mode()&(fs.ModePerm|fs.ModeSetgid) != line.Mode {
		if err := f.to.Chmod(dir, line.Mode); err != nil && !modeless(f.to) {
			return err
		}
	}
	if dir == itself {
		return nil
	}
	if !line.Time.IsZero() {
		if err := f.to.Chtimes(dir, line.Time, line.Time); err != nil {
			return err
		}
	}
	return f.land.root.Remove(path.Join(f.from, dir))
}

// entry lets one entry of the tree take its place.
func (f *fill) entry(ctx context.Context, p string) error {
	comes, err := f.land.root.Lstat(path.Join(f.from, p))
	if err != nil {
		return err
	}
	stands, err := lstat(f.to, p)
	if err != nil {
		return err
	}
	both := comes.IsDir() && stands != nil && stands.IsDir()
	_, begun := f.begun[p]
	switch {
	case both && (begun || f.stays[p]):
		return f.folder(ctx, p)
	case stands == nil:
	case os.SameFile(comes, stands): // linked: a rename would do nothing, see rename(2)
		return f.land.root.Remove(path.Join(f.from, p))
	case comes.IsDir() || stands.IsDir():
		if err := f.away(ctx, p); both && isImmovable(err) {
			return f.folder(ctx, p)
		} else if err != nil {
			return err
		}
	}
	if err := f.step(); err != nil {
		return err
	}
	err = f.land.rename(ctx, f.new(p), f.here(p))
	if !comes.IsDir() || !isCrossDevice(err) {
		return wrap(err, "move", filepath.Join(f.land.dest(), filepath.FromSlash(p)))
	}
	// The tree itself lies in an overlay's lower layer.
	if err := f.to.Mkdir(p, 0o700); err != nil {
		return err
	}
	return f.folder(ctx, p)
}

// away takes an entry of the destination out of it. A folder that can't be renamed but can be removed is removed.
func (f *fill) away(ctx context.Context, p string) error {
	if err := f.step(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		name := path.Join(oldName, strconv.Itoa(n))
		if isThere(f.land.root, name) {
			continue
		}
		err := f.land.rename(ctx, f.here(p), f.land.in(name))
		fi, err2 := f.to.Lstat(p)
		if err == nil || err2 != nil || !isCrossDevice(err) {
			return wrap(err, "move away", filepath.Join(f.land.dest(), filepath.FromSlash(p)))
		}
		if new, err2 := f.land.root.Lstat(path.Join(f.from, p)); err2 == nil && new.IsDir() && fi.IsDir() {
			return err // it is filled in turn
		}
		return wrap(removeAll(f.to, p), "remove", filepath.Join(f.land.dest(), filepath.FromSlash(p)))
	}
}

// letWrite lets this user make and remove entries of a folder of his.
func letWrite(root *os.Root, name string) error {
	fi, err := root.Stat(name)
	if err != nil || fi.Mode()&0o300 == 0o300 {
		return err
	}
	return root.Chmod(name, fi.Mode()&(fs.ModePerm|fs.ModeSetgid)|0o700)
}

// stayingIn are the folders from dest down to each working directory in it, named from dest.
func stayingIn(dest string) map[string]bool {
	stays := map[string]bool{}
	real, err := filepath.EvalSymlinks(dest)
	if err != nil {
		return stays
	}
	for _, dir := range workingFolders() {
		rel, err := filepath.Rel(real, dir)
		if err != nil || !filepath.IsLocal(rel) {
			continue
		}
		for p := filepath.ToSlash(rel); ; p = path.Dir(p) {
			stays[p] = true
			if p == itself {
				break
			}
		}
	}
	return stays
}

// isFolder reports whether a folder is at name, and no link to one.
func isFolder(root *os.Root, name string) bool {
	fi, err := root.Lstat(name)
	return err == nil && fi.IsDir()
}

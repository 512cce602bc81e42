package store

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"handout/manifest"
)

// finish makes a staging tree of complete pieces what the manifest says in all else: folders, empty files, symlinks,
// modes, times, and nothing besides. It may be repeated. Every entry's kind and size are looked at again; the
// modification times it leaves behind are returned for each of Manifest.Files.
func (p *place) finish(ctx context.Context) ([]time.Time, error) {
	v, err := p.look(ctx)
	if err != nil {
		return nil, err
	}
	for _, extra := range v.Extra {
		if err := removeAll(p.root, extra); err != nil {
			return nil, explain(err, "remove", filepath.Join(p.shown, filepath.FromSlash(extra)))
		}
	}
	if err := p.finishFolders(v); err != nil {
		return nil, err
	}
	for _, i := range p.members {
		f := &p.m.Files[i]
		if f.Target != "" {
			continue
		}
		if f.Length == 0 && v.files[i] == nil {
			err = p.writeWhole(manifest.Span{File: i}, nil)
		} else if _, ok := p.linked[i]; ok && !p.isFinished(i, v.files[i]) {
			err = ErrChanged // not by us, who must not set it right: the old tree has this very file
		} else if !v.present(i) {
			err = fmt.Errorf("%w: %s", ErrCorrupt, v.Files[i])
		}
		if err == nil {
			v.files[i], err = p.touch(i, v.files[i])
		}
		if err != nil {
			return nil, explain(err, "finish", p.say(i))
		}
	}
	// On Windows a symlink must know whether it leads to a folder, so all else comes first.
	for _, i := range p.members {
		if p.m.Files[i].Target == "" {
			continue
		}
		if v.files[i], err = p.link(i, v.files[i]); err != nil {
			return nil, explain(err, "make symlink", p.say(i))
		}
	}
	return times(v.files), p.finishDirs()
}

// finishFolders makes the folders that no piece has called for.
func (p *place) finishFolders(v *view) error {
	for i := range p.folders {
		dir := p.folders[i].dir
		if dir < 0 || v.Dirs[dir] == OK {
			continue
		}
		shown := filepath.Join(p.shown, filepath.FromSlash(p.folders[i].path))
		if v.Dirs[dir] != Missing {
			return fmt.Errorf("finish %s: %w: %s", shown, ErrCorrupt, v.Dirs[dir])
		}
		d, err := p.makeFolder(i)
		if err != nil {
			return explain(err, "make", shown)
		}
		p.dirs.release(d)
	}
	return nil
}

// touch gives a file its time and mode where it has others; fi is what was seen of it, nil: nothing.
func (p *place) touch(file int, fi fs.FileInfo) (fs.FileInfo, error) {
	if p.isFinished(file, fi) {
		return fi, nil
	}
	f := &p.m.Files[file]
	d, err := p.folder(p.home[file])
	if err != nil {
		return nil, err
	}
	defer p.dirs.release(d)
	defer p.flushed.remove(file)
	name := p.base(file)
	if fi == nil || !p.rightTime(file, fi) {
		if err := d.v.Chtimes(name, f.ModTime, f.ModTime); err != nil {
			return nil, err
		}
	}
	if fi == nil || !sameMode(fi.Mode(), f.Mode) {
		if err := d.v.Chmod(name, f.Mode.Perm()); err != nil && !p.modeless {
			return nil, err
		}
	}
	return d.v.Lstat(name)
}

func (p *place) isFinished(file int, fi fs.FileInfo) bool {
	return fi != nil && sameMode(fi.Mode(), p.m.Files[file].Mode) && p.rightTime(file, fi)
}

func (p *place) rightTime(file int, fi fs.FileInfo) bool {
	t := p.m.Files[file].ModTime
	return t.IsZero() || fi.ModTime().Equal(t.Truncate(timeGrain)) || p.across && fi.ModTime().Equal(t.Truncate(time.Second))
}

// link makes a symlink if there is none.
func (p *place) link(file int, fi fs.FileInfo) (fs.FileInfo, error) {
	f := &p.m.Files[file]
	if fi == nil {
		// By its whole path: beneath its own folder's handle os.Root would not see what it leads to.
		if err := p.root.Symlink(symlinkTarget(f.Target), filepath.FromSlash(f.Path)); err != nil {
			return nil, explainSymlink(err)
		}
	}
	d, err := p.folder(p.home[file])
	if err != nil {
		return nil, err
	}
	defer p.dirs.release(d)
	if !p.sftp {
		if err := setLinkTime(d.v, p.base(file), f.ModTime); err != nil {
			return nil, err
		}
	}
	fi, err = d.v.Lstat(p.base(file))
	if err != nil {
		return nil, err
	}
	verdict, err := p.judgeFile(f, fi, d.v, p.base(file))
	if err == nil && verdict != OK {
		err = fmt.Errorf("%w: %s", ErrCorrupt, verdict)
	}
	return fi, err
}

// finishDirs gives the folders their times and modes, children before parents: a parent may not let us through any more.
func (p *place) finishDirs() error {
	for i := len(p.folders) - 1; i >= 0; i-- {
		if len(p.folders[i].dirs) == 0 {
			continue
		}
		d, err := p.folder(i)
		if err != nil {
			return err
		}
		for _, sub := range p.folders[i].dirs {
			if dir := p.folders[sub].dir; err == nil && dir >= 0 {
				err = p.touchDir(d.v, path.Base(p.folders[sub].path), &p.m.Dirs[dir])
			}
		}
		p.dirs.release(d)
		if err != nil {
			return explain(err, "finish folders of", filepath.Join(p.shown, filepath.FromSlash(p.folders[i].path)))
		}
	}
	return explain(p.finishTop(), "finish", p.shown)
}

func (p *place) touchDir(parent *os.Root, name string, d *manifest.Dir) error {
	if err := parent.Chtimes(name, d.ModTime, d.ModTime); err != nil {
		return err
	}
	mode, err := withSetgid(parent, name, d.Mode.Perm())
	if err != nil {
		return err
	}
	if err := parent.Chmod(name, mode); err != nil && !p.modeless {
		return err
	}
	return nil
}

// withSetgid is a mode with the setgid bit if the folder has it: it got it, and its group, from the folder around it (mkdir(2)),
// whose owner wants all beneath it to belong to that group.
func withSetgid(parent *os.Root, name string, mode fs.FileMode) (fs.FileMode, error) {
	fi, err := parent.Lstat(name)
	if err != nil {
		return mode, err
	}
	return mode | fi.Mode()&fs.ModeSetgid, nil
}

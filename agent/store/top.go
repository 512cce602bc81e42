package store

import (
	"io/fs"

	"handout/manifest"
)

// topMode is the mode the tree's root gets, if the manifest says anything of it. Its owner, who serves it to others, may
// always look into it.
func topMode(m *manifest.Manifest) (mode fs.FileMode, ok bool) {
	if m.Top == nil {
		return 0, false
	}
	return m.Top.Mode | 0o500, true
}

// finishTop gives the root its time, and its mode as far as it can still be moved with it.
func (p *place) finishTop() error {
	mode, ok := topMode(p.m)
	if !ok {
		return nil
	}
	if err := p.root.Chtimes(".", p.m.Top.ModTime, p.m.Top.ModTime); err != nil && !p.modeless {
		return err
	}
	return p.chmodTop(mode | 0o700)
}

// touchTop gives the root, where it stands to stay, the mode it should have.
func (p *place) touchTop() error {
	mode, ok := topMode(p.m)
	if !ok {
		return nil
	}
	return p.chmodTop(mode)
}

func (p *place) chmodTop(mode fs.FileMode) error {
	fi, err := p.root.Stat(".")
	if err != nil || p.modeless || fi.Mode().Perm() == mode {
		return err
	}
	return p.root.Chmod(".", mode|fi.Mode()&fs.ModeSetgid) // whose group new files get is this machine's affair
}

// judgeTop compares the root's mode: it alone decides who may see anything of the tree.
func (p *place) judgeTop() (Verdict, error) {
	mode, ok := topMode(p.m)
	if !ok || p.modeless {
		return OK, nil
	}
	fi, err := p.root.Stat(".")
	if err == nil && fi.Mode().Perm() != mode {
		return WrongMode, nil
	}
	return OK, err
}

// topUp is touchTop for a tree that was just published: what stands there is right but for the mode.
func (t *Tree) topUp(at *place) {
	if err := at.touchTop(); err != nil {
		t.o.Log.Warn("the folder itself does not get its mode", "tree", t.dest, "err", err)
	}
}

package store

import (
	"path"

	"handout/manifest"
)

// layout is a package seen folder by folder, which is how a disk sees it.
type layout struct {
	m       *manifest.Manifest
	folders []folder // parents before children; 0 is the tree's root
	home    []int    // for each file the folder it lies in
}

// folder is what one folder has to hold.
type folder struct {
	path  string // "." for the root
	dir   int    // index in Manifest.Dirs; -1 for the root, whose mode and time are nobody's business
	files []int  // regular files and symlinks, by index in Manifest.Files
	dirs  []int  // by index in layout.folders
}

func newLayout(m *manifest.Manifest) *layout {
	l := &layout{m: m, folders: []folder{{path: ".", dir: -1}}, home: make([]int, len(m.Files))}
	at := map[string]int{".": 0}
	var add func(p string) int
	add = func(p string) int {
		if i, ok := at[p]; ok {
			return i
		}
		parent := add(path.Dir(p))
		i := len(l.folders)
		at[p] = i
		l.folders = append(l.folders, folder{path: p, dir: -1})
		l.folders[parent].dirs = append(l.folders[parent].dirs, i)
		return i
	}
	for i := range m.Dirs {
		l.folders[add(m.Dirs[i].Path)].dir = i
	}
	for i := range m.Files {
		l.home[i] = add(path.Dir(m.Files[i].Path))
		f := &l.folders[l.home[i]]
		f.files = append(f.files, i)
	}
	return l
}

// base is the name of a file within its folder.
func (l *layout) base(file int) string { return path.Base(l.m.Files[file].Path) }

// pieces are the first and the last piece that a file of at least one byte has a part in.
func (l *layout) pieces(file int) (first, last manifest.PieceIndex) {
	f := &l.m.Files[file]
	return manifest.PieceIndex(f.Offset / l.m.PieceLength), manifest.PieceIndex((f.Offset + f.Length - 1) / l.m.PieceLength)
}

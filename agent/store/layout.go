package store

import (
	"path"

	"handout/agent/plan"
	"handout/manifest"
)

// layout is a package, or a part of it, seen folder by folder, which is how a disk sees it.
type layout struct {
	m       *manifest.Manifest
	folders []folder // parents before children; 0 is the tree's root
	home    []int    // for each file the folder it lies in; -1: it is not in the part
	members []int    // the files that are, by index in Manifest.Files
	bytes   int64    // of these
	wanted  plan.Bitfield
	border  plan.Bitfield // wanted, and has bytes of a file besides
}

// folder is what one folder has to hold.
type folder struct {
	path  string // "." for the root
	dir   int    // index in Manifest.Dirs; -1 for the root, which has Manifest.Top
	files []int  // regular files and symlinks, by index in Manifest.Files
	dirs  []int  // by index in layout.folders
}

func newLayout(m *manifest.Manifest, only *manifest.Selection) *layout {
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
		if only.HasDir(i) {
			l.folders[add(m.Dirs[i].Path)].dir = i
		}
	}
	for i := range m.Files {
		if !only.Has(i) {
			l.home[i] = -1
			continue
		}
		l.home[i] = add(path.Dir(m.Files[i].Path))
		f := &l.folders[l.home[i]]
		f.files = append(f.files, i)
		l.members = append(l.members, i)
		l.bytes += m.Files[i].Length
	}
	l.sortPieces()
	return l
}

// sortPieces finds out which pieces are wanted, and which of these have bytes of other files too.
func (l *layout) sortPieces() {
	n := l.m.NumPieces()
	l.wanted, l.border = plan.NewBitfield(n), plan.NewBitfield(n)
	others := plan.NewBitfield(n)
	for file := range l.m.Files {
		if l.m.Files[file].Length == 0 {
			continue
		}
		of := l.wanted
		if !l.has(file) {
			of = others
		}
		first, last := l.pieces(file)
		for i := first; i <= last; i++ {
			of.Set(i)
		}
	}
	for i := range l.wanted.All {
		if others.Has(i) {
			l.border.Set(i)
		}
	}
}

// offers reports whether a piece lies in the part wholly.
func (l *layout) offers(i manifest.PieceIndex) bool { return l.wanted.Has(i) && !l.border.Has(i) }

// has reports whether a file is in the part.
func (l *layout) has(file int) bool { return l.home[file] >= 0 }

// base is the name of a file within its folder.
func (l *layout) base(file int) string { return path.Base(l.m.Files[file].Path) }

// pieces are the first and the last piece that a file of at least one byte has a part in.
func (l *layout) pieces(file int) (first, last manifest.PieceIndex) {
	f := &l.m.Files[file]
	return manifest.PieceIndex(f.Offset / l.m.PieceLength), manifest.PieceIndex((f.Offset + f.Length - 1) / l.m.PieceLength)
}

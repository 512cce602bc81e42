package manifest

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Selection is a part of a package: some of its files and folders. A nil Selection is the whole. It is read-only.
type Selection struct {
	Count int   // files and symlinks in it
	Bytes int64 // of these

	files, dirs []bool
}

// The reasons why nothing can be selected.
var (
	ErrPattern      = errors.New("not a pattern")
	ErrNothingThere = errors.New("no file of the package is selected")
)

// Select picks the files that a pattern of include matches (no patterns: all) and none of exclude does. Patterns are for
// slash-separated paths from the tree's root: * and ? and [a-z] as in path.Match, within one name; a name that is ** stands
// for any number of folders. What matches a folder takes all in it. Upper and lower case differ, whatever the file system
// says. The folders of what is selected come with it, empty ones where they match themselves. The whole package is nil.
func (m *Manifest) Select(include, exclude []string) (*Selection, error) {
	in, err := parsePatterns(include)
	if err != nil {
		return nil, err
	}
	out, err := parsePatterns(exclude)
	if err != nil {
		return nil, err
	}
	picks := func(p string) bool {
		names := strings.Split(p, "/")
		return (len(in) == 0 || anyMatches(in, names)) && !anyMatches(out, names)
	}
	s := &Selection{files: make([]bool, len(m.Files)), dirs: make([]bool, len(m.Dirs))}
	filled, kept := map[string]bool{}, map[string]bool{} // folders with something in them; with something selected
	for i := range m.Files {
		f := &m.Files[i]
		s.files[i] = picks(f.Path)
		filled[path.Dir(f.Path)] = true
		if s.files[i] {
			kept[path.Dir(f.Path)] = true
			s.Count++
			s.Bytes += f.Length
		}
	}
	all := s.Count == len(m.Files)
	for i := len(m.Dirs) - 1; i >= 0; i-- { // children before parents
		p := m.Dirs[i].Path
		s.dirs[i] = kept[p] || !filled[p] && picks(p)
		filled[path.Dir(p)] = true
		kept[path.Dir(p)] = kept[path.Dir(p)] || s.dirs[i]
		all = all && s.dirs[i]
	}
	switch {
	case all:
		return nil, nil
	case s.Count == 0:
		return nil, ErrNothingThere
	}
	return s, nil
}

// Has reports whether the file at i in Manifest.Files is selected.
func (s *Selection) Has(i int) bool { return s == nil || s.files[i] }

// HasDir reports whether the folder at i in Manifest.Dirs is.
func (s *Selection) HasDir(i int) bool { return s == nil || s.dirs[i] }

// Equal reports whether two selections of one package are the same.
func (s *Selection) Equal(o *Selection) bool {
	if s == nil || o == nil {
		return s == o
	}
	return slices.Equal(s.files, o.files) && slices.Equal(s.dirs, o.dirs)
}

// parsePatterns splits patterns into names.
func parsePatterns(patterns []string) (parsed [][]string, err error) {
	for _, p := range patterns {
		names := strings.Split(strings.TrimSuffix(p, "/"), "/")
		for _, name := range names {
			if _, err := path.Match(name, ""); err != nil || name == "" || name == "." || name == ".." {
				return nil, fmt.Errorf("%q: %w of paths in the package, such as docs/*.txt or **/x64", p, ErrPattern)
			}
		}
		parsed = append(parsed, slices.CompactFunc(names, func(a, b string) bool { return a == "**" && b == "**" }))
	}
	return parsed, nil
}

func anyMatches(patterns [][]string, names []string) bool {
	return slices.ContainsFunc(patterns, func(p []string) bool { return matches(p, names) })
}

// matches reports whether a pattern matches a path or a folder above it.
func matches(pattern, names []string) bool {
	switch {
	case len(pattern) == 0:
		return true
	case pattern[0] == "**":
		for i := range len(names) + 1 {
			if matches(pattern[1:], names[i:]) {
				return true
			}
		}
		return false
	case len(names) == 0:
		return false
	}
	ok, _ := path.Match(pattern[0], names[0]) // its syntax was seen to be right
	return ok && matches(pattern[1:], names[1:])
}

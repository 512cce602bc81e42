package manifest

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestSelect(t *testing.T) {
	m := &Manifest{}
	for _, p := range []string{"a.txt", "B.txt", "docs/a.txt", "docs/deep/b.txt", "docs/deep/x64/run", "x64/run", "[odd]"} {
		m.Files = append(m.Files, File{Path: p, Length: 3})
	}
	for _, p := range []string{"docs", "docs/deep", "docs/deep/x64", "docs/hollow", "x64"} {
		m.Dirs = append(m.Dirs, Dir{Path: p})
	}
	const whole, none = "whole", "none"
	for _, c := range []struct{ include, exclude, want string }{
		{"", "", whole},
		{"**", "", whole},
		{"*.txt", "", "a.txt B.txt"},
		{"b.txt", "", none},
		{"[a-z].txt ?.nothing", "", "a.txt"},
		{"**/*.txt", "", "a.txt B.txt docs/a.txt docs/deep/b.txt docs/ docs/deep/"},
		{"docs", "", "docs/a.txt docs/deep/b.txt docs/deep/x64/run docs/ docs/deep/ docs/deep/x64/ docs/hollow/"},
		{"docs/", "docs/deep", "docs/a.txt docs/ docs/hollow/"},
		{"docs/**/x64", "", "docs/deep/x64/run docs/ docs/deep/ docs/deep/x64/"},
		{"**/x64", "docs", "x64/run x64/"},
		{"", "**/x64 **/*.txt", "[odd] docs/ docs/hollow/"},
		{"", "docs/hollow", "a.txt B.txt docs/a.txt docs/deep/b.txt docs/deep/x64/run x64/run [odd] docs/ docs/deep/ docs/deep/x64/ x64/"},
		{`\[odd\] docs/hollow`, "", "[odd] docs/ docs/hollow/"},
		{"docs/hollow", "", none},
		{"a.txt", "a.txt", none},
	} {
		s, err := m.Select(strings.Fields(c.include), strings.Fields(c.exclude))
		var got []string
		switch {
		case errors.Is(err, ErrNothingThere):
			got = []string{none}
		case err != nil:
			t.Fatal(err)
		case s == nil:
			got = []string{whole}
		default:
			for i := range m.Files {
				if s.Has(i) {
					got = append(got, m.Files[i].Path)
				}
			}
			if s.Count != len(got) || s.Bytes != int64(3*len(got)) {
				t.Errorf("%+v: %d files of %d bytes are counted", c, s.Count, s.Bytes)
			}
			for i := range m.Dirs {
				if s.HasDir(i) {
					got = append(got, m.Dirs[i].Path+"/")
				}
			}
		}
		if !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("include %q, exclude %q: %q", c.include, c.exclude, got)
		}
	}
	for _, bad := range []string{"", "/", "/a", "a//b", "../a", "./a", "a/[", "[z-a]x/["} {
		if _, err := m.Select([]string{bad}, nil); !errors.Is(err, ErrPattern) {
			t.Errorf("pattern %q: %v", bad, err)
		}
		if _, err := m.Select(nil, []string{bad}); !errors.Is(err, ErrPattern) {
			t.Errorf("pattern %q to exclude: %v", bad, err)
		}
	}
}

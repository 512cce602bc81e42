package manifest

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// paths are what is in a package, folders with a slash.
func paths(m *Manifest) (all []string) {
	for _, d := range m.Dirs {
		all = append(all, d.Path+"/")
	}
	for _, f := range m.Files {
		all = append(all, f.Path)
	}
	slices.Sort(all)
	return all
}

func TestExclude(t *testing.T) {
	tree := writeTree(t, "pkg", map[string]string{
		"lost+found/": "", "a/b/Thumbs.db": "x", "a/Thumbs.db": "x", "a/b/c": "c", "a/empty/": "", "node_modules/x/y": "", "a.log": "",
		"a/link>": "Thumbs.db", "aux": "",
	})
	for _, c := range []struct {
		what     string
		patterns []string
		left     string
		excluded int
		nothing  string // patterns that matched nothing
	}{
		{"nothing", nil, "a.log a/ a/Thumbs.db a/b/ a/b/Thumbs.db a/b/c a/empty/ a/link lost+found/ node_modules/ node_modules/x/ node_modules/x/y", 1, ""},
		{"folders", []string{"lost+found", "node_modules/"}, "a.log a/ a/Thumbs.db a/b/ a/b/Thumbs.db a/b/c a/empty/ a/link", 3, ""},
		{"a name anywhere", []string{"**/Thumbs.db", "node_modules"}, "a.log a/ a/b/ a/b/c a/empty/ a/link lost+found/", 4, ""},
		{"a name at the top only", []string{"Thumbs.db", "node_modules", "lost+found"}, "a.log a/ a/Thumbs.db a/b/ a/b/Thumbs.db a/b/c a/empty/ a/link", 3, "Thumbs.db"},
		{"what is in a folder, and not the folder", []string{"a/*", "*.log", "node*", "lost*"}, "a/", 8, ""},
		{"within what is excluded", []string{"a", "a/b/c", "x/y", "node_modules", "lost+found", "*.LOG"}, "a.log", 4, "x/y *.LOG"},
	} {
		var survey Survey
		raw, err := Build(t.Context(), tree, BuildOptions{Exclude: append(c.patterns, "aux"), Survey: &survey})
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if got := strings.Join(paths(open(t, raw)), " "); got != c.left {
			t.Errorf("%s: left are %s", c.what, got)
		}
		if got := strings.Join(survey.Unmatched, " "); got != c.nothing || survey.Excluded != c.excluded {
			t.Errorf("%s: excluded %d; matched nothing: %q", c.what, survey.Excluded, got)
		}
	}
	if _, err := Build(t.Context(), tree, BuildOptions{Exclude: []string{"*"}}); !errors.Is(err, ErrNothingThere) {
		t.Errorf("everything excluded: %v", err)
	}
	for _, bad := range []string{"", "/a", "../a", "a//b", "[a"} {
		if _, err := Build(t.Context(), tree, BuildOptions{Exclude: []string{bad}}); !errors.Is(err, ErrPattern) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestLeftovers: what nobody means to hand out is named once, by a pattern that leaves all of it out.
func TestLeftovers(t *testing.T) {
	tree := writeTree(t, "pkg", map[string]string{
		"lost+found/": "", "a/.git/config": "", "Thumbs.db": "", "a/b/thumbs.db": "", "._a": "", "a/._b": "", "digit/a": "",
		"$RECYCLE.BIN/x": "", ".win.handout/record.db": "", "node_modules.txt": "", "a/~$report.docx": "",
	})
	var survey Survey
	build(t, tree, BuildOptions{Survey: &survey, AllowNonWindowsNames: true})
	want := []string{"$RECYCLE.BIN", "**/._*", ".win.handout", "a/.git", "a/~$report.docx", "lost+found"}
	got := slices.DeleteFunc(slices.Clone(survey.Leftovers), func(s string) bool { return strings.EqualFold(s, "**/thumbs.db") })
	if !slices.Equal(got, want) || len(survey.Leftovers) != len(want)+1 {
		t.Errorf("%q", survey.Leftovers)
	}
	var after Survey
	build(t, tree, BuildOptions{Survey: &after, Exclude: survey.Leftovers, AllowNonWindowsNames: true})
	if len(after.Unmatched) > 0 {
		t.Errorf("proposed and matching nothing: %q", after.Unmatched)
	}
}

func TestReadExcludes(t *testing.T) {
	utf16 := "\xff\xfea\x00*\x00\r\x00\n\x00#\x00b\x00\n\x00"
	for _, c := range []struct{ what, text, want string }{
		{"lines", "a\n**/b\n", "a|**/b"},
		{"blank lines and comments", "\n# all\n  \n\ta \n#b\n\\#c\n", `a|\#c`},
		{"CRLF and no end", "a\r\n\r\nb c\r\nd", "a|b c|d"},
		{"a byte order mark", "\ufeffa\n", "a"},
		{"a comment behind one", "\ufeff# a\nb\n", "b"},
		{"UTF-16", utf16, "a*"},
		{"nothing", "", ""},
	} {
		got, err := ReadExcludes(strings.NewReader(c.text))
		if err != nil || strings.Join(got, "|") != c.want {
			t.Errorf("%s: %q, %v", c.what, got, err)
		}
	}
	for _, c := range []struct{ what, text, reason string }{
		{"no pattern", "a\n\n[b\n", "line 3"},
		{"an absolute path", "/a\n", "line 1"},
		{"a disk image", "\x89PNG\r\n", "not UTF-8"},
		{"too much", strings.Repeat("a\n", maxExcludes), "more than"},
	} {
		if got, err := ReadExcludes(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %q, %v", c.what, got, err)
		}
	}
}

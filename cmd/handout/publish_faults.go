package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"handout/manifest"
)

// excludeFlags say what of a tree is not published.
type excludeFlags struct {
	globs []string
	files []string
}

func (e *excludeFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&e.globs, "exclude", nil, "leave out the files and folders that `GLOB` matches, such as lost+found or '**/Thumbs.db'; repeatable")
	fs.StringArrayVar(&e.files, "exclude-from", nil, "leave out what the globs in `FILE` match, one a line, # begins a comment; -: standard input; repeatable")
}

// patterns are all globs that were given.
func (e *excludeFlags) patterns(a *app) ([]string, error) {
	all := append([]string(nil), e.globs...)
	for _, name := range e.files {
		f := a.in
		if name != "-" {
			var err error
			if f, err = os.Open(name); err != nil {
				return nil, usagef("--exclude-from: %w", err)
			}
			defer f.Close()
		}
		patterns, err := manifest.ReadExcludes(f)
		if err != nil {
			return nil, usagef("--exclude-from %s: %w", name, err)
		}
		all = append(all, patterns...)
	}
	return all, nil
}

// faultAdvice is what helps against faults of a kind; excluding is always possible.
var faultAdvice = map[manifest.FaultKind]string{
	manifest.BadName:      "No package can hold such names. Rename, or leave out:",
	manifest.BadOnWindows: "Rename what Windows cannot have. If only Linux machines fetch the package: --allow-non-windows-names. To leave it out:",
	manifest.Unreadable:   "To take what this user may not read: publish as one who may (root, an administrator). To leave it out:",
	manifest.SpecialFile:  "A package holds files, folders and symlinks. To leave out the rest:",
	manifest.BadSymlink:   "A symlink must lead to something in the tree, by a relative path. Mend it, or leave it out:",
}

// faultsError is all that keeps a tree from being published, in lines for people.
func faultsError(tree string, faults *manifest.Faults) error {
	var lines []string
	sample := faults.Sample()
	for _, f := range sample {
		lines = append(lines, "  "+errorText(f))
	}
	if more := faults.Count() - len(sample); more > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more", more))
	}
	for kind := range manifest.FaultKind(len(faultAdvice)) {
		if first, n := faults.Of(kind); n > 0 {
			lines = append(lines, faultAdvice[kind]+" "+excludeText(first, n))
		}
	}
	return advisedError{fmt.Errorf("publish %s: %s, nothing is written", tree, countText(faults.Count(), "fault")), strings.Join(lines, "\n")}
}

// excludeText is the flags that leave out the faulty entries, or some of them.
func excludeText(faults []*manifest.Fault, n int) string {
	const most = 3
	var flags []string
	for _, f := range faults[:min(len(faults), most)] {
		flags = append(flags, "--exclude "+shellWord(manifest.ExcludePattern(f.Path)))
	}
	text := strings.Join(flags, " ")
	if n > most {
		text += " ..."
	}
	return text
}

// shellWord is s as it is typed in a shell.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:@%+=,", r) || r > 0x7f && !hidden(r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + printable(strings.ReplaceAll(s, "'", `'\''`)) + "'"
}

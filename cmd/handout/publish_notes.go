package main

import (
	"fmt"
	"strings"

	"handout/manifest"
)

// traitText says what a package does not carry.
var traitText = map[manifest.Trait]string{
	manifest.TraitACL:          "access control lists",
	manifest.TraitAttributes:   "hidden, system, compressed or encrypted attributes",
	manifest.TraitCapabilities: "file capabilities",
	manifest.TraitSetgid:       "setgid bits",
	manifest.TraitSetuid:       "setuid bits",
	manifest.TraitSticky:       "sticky bits",
	manifest.TraitStreams:      "alternate data streams",
	manifest.TraitXattrs:       "extended attributes",
}

// droppedText is what the publisher's tree has of a trait that machines will not get.
func droppedText(d manifest.Dropped) string {
	example := ""
	if d.Example != "" {
		example = ", for example " + printable(d.Example)
	}
	if d.Trait == manifest.TraitHardLink {
		return fmt.Sprintf("hard links: %s of other files in the tree, which arrive as copies%s", countText(d.Count, "name"), example)
	}
	noun := "files and folders"
	if d.Count == 1 {
		noun = "file or folder"
	}
	return fmt.Sprintf("%s of %d %s%s", traitText[d.Trait], d.Count, noun, example)
}

// tellSurvey says what a publisher should know of a tree that was published.
func (a *app) tellSurvey(m *manifest.Manifest, s *manifest.Survey) {
	if s.Excluded > 0 {
		fmt.Fprintf(a.out, "  left out: %s by --exclude, with all in them\n", countText(s.Excluded, "entry"))
	}
	for _, d := range s.Dropped {
		fmt.Fprintf(a.out, "  not in the package: %s\n", droppedText(d))
	}
	for _, pattern := range s.Unmatched {
		a.warn("--exclude %s matches nothing (a path from the top of the tree; '**/NAME' is a name anywhere)", shellWord(pattern))
	}
	a.tellLeftovers(s, "is in the package", "are in the package")
	if m.Top != nil && m.Top.Mode&0o055 != 0o055 {
		a.warn("the folder itself has mode %04o, and will have it on the machines: others than its owner may not look into it there", m.Top.Mode)
	}
}

// tellLeftovers names what seldom is meant to be in a package.
func (a *app) tellLeftovers(s *manifest.Survey, one, many string) {
	if len(s.Leftovers) == 0 {
		return
	}
	const most = 8
	var flags []string
	for _, pattern := range s.Leftovers[:min(len(s.Leftovers), most)] {
		flags = append(flags, "--exclude "+shellWord(pattern))
	}
	verb := one
	if len(s.Leftovers) > 1 {
		verb = many
	}
	a.warn("%s %s; if that is not meant: %s", strings.Join(printables(s.Leftovers[:min(len(s.Leftovers), most)]), ", "), verb, strings.Join(flags, " "))
}

func printables(list []string) (all []string) {
	for _, s := range list {
		all = append(all, printable(s))
	}
	return all
}

func (a *app) warn(format string, args ...any) {
	fmt.Fprintf(a.err, "handout: note: "+format+"\n", args...)
}

package main

import (
	"fmt"
	"regexp"
	"strconv"
)

// version is one version, as each kind of package needs it. All of them order by the tag and then by the commits after it.
type version struct {
	text string // as the program prints it
	pkg  string // for deb and rpm: 1.2.3, or 1.2.3+7.g0123abc for seven commits after it
	msi  string // three numbers up to 255, 255 and 65535 (Windows Installer compares no more)
}

var described = regexp.MustCompile(`^v?(\d+)\.(\d+)\.(\d+)(?:-(\d+)-(g[0-9a-f]+))?(-dirty)?$`)

// perPatch is how many commits may follow a tag before its MSI is taken for that of the next.
const perPatch = 1000

// versionOf takes what was given, or what git says. Without any tag all commits count as after 0.0.0.
func versionOf(given string, git func(...string) (string, error)) (version, error) {
	text := given
	if text == "" {
		var err error
		if text, err = git("describe", "--tags", "--match", "v[0-9]*", "--dirty"); err != nil {
			count, countErr := git("rev-list", "--count", "HEAD")
			commit, commitErr := git("describe", "--always", "--dirty", "--exclude", "*")
			if countErr != nil || commitErr != nil {
				return version{}, err
			}
			text = fmt.Sprintf("0.0.0-%s-g%s", count, commit)
		}
	}
	m := described.FindStringSubmatch(text)
	if m == nil {
		return version{}, fmt.Errorf("%q is no version such as v1.2.3", text)
	}
	n := [3]int{}
	for i := range n {
		var err error
		if n[i], err = strconv.Atoi(m[i+1]); err != nil {
			return version{}, fmt.Errorf("version %q: %w", text, err)
		}
	}
	after, _ := strconv.Atoi("0" + m[4])
	v := version{text: text, pkg: fmt.Sprintf("%d.%d.%d", n[0], n[1], n[2])}
	if m[4] != "" {
		v.pkg += "+" + m[4] + "." + m[5]
	}
	if m[6] != "" {
		v.pkg += "+dirty"
	}
	build := n[2]*perPatch + min(after, perPatch-1)
	if n[0] > 255 || n[1] > 255 || build > 65535 {
		return version{}, fmt.Errorf("version %q is beyond what Windows Installer knows", text)
	}
	v.msi = fmt.Sprintf("%d.%d.%d", n[0], n[1], build)
	return v, nil
}

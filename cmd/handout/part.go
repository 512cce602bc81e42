package main

import (
	"github.com/spf13/cobra"

	"handout/manifest"
)

// partFlags select a part of a package.
type partFlags struct {
	include, exclude []string
}

func (f *partFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&f.include, "include", nil, "only the files and folders that `GLOB` matches, such as 'docs/*.pdf' or '**/x64'; repeatable")
	fs.StringArrayVar(&f.exclude, "exclude", nil, "not those that `GLOB` matches, even if --include does; repeatable")
}

// of is the part of m that is selected; nil: the whole.
func (f *partFlags) of(m *manifest.Manifest) (*manifest.Selection, error) {
	only, err := m.Select(f.include, f.exclude)
	if err != nil {
		return nil, usagef("--include, --exclude: %w", err)
	}
	return only, nil
}

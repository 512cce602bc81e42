package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"handout/manifest"
	"handout/sources"
)

// absences are the files that an origin was found to lack. Who publishes wants to know all of them, and not one a run.
type absences struct {
	looked bool
	files  []string // the first of them, by their paths
	count  int
	all    bool // every file that is missing here was asked for
}

const (
	maxAbsentNamed = 20
	// An origin that lacks a file is asked for the others that are missing here, so many at most and for so long: the tree may
	// be another one altogether.
	maxAbsentAsked = 2000
	absentLook     = 5 * time.Second
)

// lookForAbsent asks place p once, over the connection that found a file missing, which of the files that are not here it lacks.
func (d *download) lookForAbsent(ctx context.Context, p *place, o sources.Origin) {
	p.mu.Lock()
	looked := p.absent.looked
	p.absent.looked = true
	p.mu.Unlock()
	if looked {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, absentLook)
	defer cancel()
	found, asked := absences{looked: true, all: true}, 0
	one := make([]byte, 1)
	for i := range d.m.Files {
		f := &d.m.Files[i]
		if f.Length == 0 || !d.lacksFile(f) {
			continue
		}
		if asked++; asked > maxAbsentAsked {
			found.all = false
			break
		}
		path := f.Path
		if d.m.Single {
			path = ""
		}
		err := o.ReadRange(ctx, path, 0, one)
		switch {
		case errors.Is(err, sources.ErrMissing):
			if found.count++; len(found.files) < maxAbsentNamed {
				found.files = append(found.files, f.Path)
			}
		case err != nil && !isAboutFile(err):
			found.all = false
		}
		if ctx.Err() != nil {
			found.all = false
			break
		}
	}
	p.mu.Lock()
	p.absent = found
	p.mu.Unlock()
}

// lacksFile reports whether any piece of a file is missing here.
func (d *download) lacksFile(f *manifest.File) bool {
	last := manifest.PieceIndex((f.Offset + f.Length - 1) / d.m.PieceLength)
	for i := manifest.PieceIndex(f.Offset / d.m.PieceLength); i <= last; i++ {
		if d.tree.Lacks(i) {
			return true
		}
	}
	return false
}

// err names the absent files of the origin that is called name, where there are several; else nil.
func (a absences) err(name string) error {
	if a.count < 2 {
		return nil
	}
	count, rest := fmt.Sprint(a.count), ""
	if !a.all {
		count = "at least " + count
	}
	if more := a.count - len(a.files); more > 0 {
		rest = fmt.Sprintf(" and %d more", more)
	}
	return fmt.Errorf("%s lacks %s files: %s%s: %w", name, count, strings.Join(a.files, ", "), rest, sources.ErrMissing)
}

package agent

import (
	"context"
	"errors"
	"time"

	"handout/agent/plan"
	"handout/agent/site"
	"handout/manifest"
	"handout/sources"
)

// Of a server without ranges each large file is read from its front, by one machine of the site under one lease
// (plan.Bound). A place learns it by the first read that would have begun far into a file; the steward is told with the
// next ask, and tells the others with the leases it gives.

// fronts is which files a place gives only from their front. It is guarded by the place's mu.
type fronts struct {
	files map[int]bool  // by their number in the manifest
	parts bool          // of another file a part was had
	asked map[int]bool  // of these the server was asked whether it serves ranges
	bound plan.Bitfield // what follows for runs; no pieces: nothing, or not worked out yet
}

// has reports whether a file is taken for one: it was found to be, or others were. A large file is asked for while only one
// was found, which may be a program's answer among files that lie on a disk.
func (f *fronts) has(m *manifest.Manifest, file int) bool {
	return f.files[file] || !f.parts && (len(f.files) > 1 || len(f.files) == 1 && m.Files[file].Length < worthAsking)
}

// worthAsking is how large a file must be for its server to be asked whether it serves ranges of it, in bytes.
const worthAsking = 4 << 20

// noRanges notes that a place gives the file of a failed read only from its front; false: it was known.
func (p *place) noRanges(m *manifest.Manifest, err error) (news bool) {
	e, ok := errors.AsType[*sources.ReadError](err)
	if !ok {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range m.Files {
		if sources.FilePath(m, k) == e.Path && m.Files[k].Length > 0 {
			if p.fronts.files[k] {
				return false
			}
			if p.fronts.files == nil {
				p.fronts.files = map[int]bool{}
			}
			p.fronts.files[k] = true
			p.fronts.bound = plan.Bitfield{}
			return true
		}
	}
	return false
}

// bound is what the place's files without ranges mean for runs; no pieces: it has none.
func (p *place) bound(m *manifest.Manifest) plan.Bitfield {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.fronts.files) > 0 && p.fronts.bound.Len() == 0 {
		files := make([]plan.Extent, len(m.Files))
		for k := range m.Files {
			files[k] = plan.Extent{Offset: m.Files[k].Offset, Length: m.Files[k].Length}
		}
		p.fronts.bound = plan.Bound(files, m.PieceLength, m.NumPieces(), func(k int) bool { return p.fronts.has(m, k) })
	}
	return p.fronts.bound
}

// bound is what holds for the place that would be read from now.
func (d *download) bound() plan.Bitfield {
	for _, p := range d.places {
		if p.usable() {
			return p.bound(d.m)
		}
	}
	return plan.Bitfield{}
}

// front is a run that is read from the front of its files (plan.Lease.Front). Its stream alone uses it.
type front struct {
	d        *download
	lease    *site.Lease
	run      plan.Run
	next     manifest.PieceIndex // comes next
	last     manifest.PieceIndex // the last of run that is lacking
	reserved manifest.PieceIndex // up to here neighbours are not asked
	bytes    int64               // that came
	unwanted time.Time           // since when the origin should be left alone; zero: it should not
}

// frontOf is the run of a lease that reads from the front; nil: it reads ranges.
func (d *download) frontOf(l *site.Lease) *front {
	if !l.Front {
		return nil
	}
	r := l.Run
	return &front{d: d, lease: l, run: r, next: r.First, last: r.First + manifest.PieceIndex(r.Len) - 1, reserved: r.First}
}

// reserve keeps neighbours from being asked for what will come soon. What comes later they may bring: it is skipped then,
// and if nothing is lacking behind it the reading ends.
func (f *front) reserve() {
	end := f.run.First + manifest.PieceIndex(f.run.Len)
	upTo := min(end, f.next+1+manifest.PieceIndex(f.d.piecesIn(frontAhead)))
	if upTo <= f.reserved {
		return
	}
	r := plan.Run{First: f.reserved, Len: int(upTo - f.reserved)}
	f.reserved = upTo
	if f.d.swarm != nil {
		f.d.swarm.Reserve(r)
	}
	f.d.mu.Lock()
	r.Mark(f.d.reading)
	f.d.mu.Unlock()
}

// frontAhead is how far ahead of the reading neighbours are not asked.
const frontAhead = time.Second

// errEnough ends the reading of a run from the front early: nothing more of it is wanted.
var errEnough = errors.New("enough")

// unwantedFor is how long the origin must be of no use before a whole file is given up: to begin again means from its front.
const unwantedFor = 2 * time.Second

// passed notes that piece i of n bytes came.
func (f *front) passed(i manifest.PieceIndex, n int) error {
	if f == nil {
		return nil
	}
	d := f.d
	f.next = i + 1
	f.bytes += int64(n)
	d.agent.site.Reads(f.lease, f.next)
	for f.last > i && !d.tree.Lacks(f.last) {
		f.last--
	}
	if f.last <= i {
		return errEnough
	}
	f.reserve()
	d.mu.Lock()
	defer d.mu.Unlock()
	if plan.Lasting(time.Now(), &f.unwanted, d.verdict.Connections == 0) > unwantedFor {
		return errEnough
	}
	return nil
}

// from is the origin for a run: of files that are known to come only from their front, and of all under a lease for that,
// what lies before the run is read past.
func (d *download) from(o sources.Origin, p *place, f *front) sources.Origin {
	return sources.Whole(o, func(path string) bool {
		if f != nil {
			return true
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.fronts.files) == 0 {
			return false
		}
		for k := range d.m.Files {
			if p.fronts.has(d.m, k) && sources.FilePath(d.m, k) == path {
				return true
			}
		}
		return false
	})
}

// askRanges asks the server before a run that begins within a file, until one such was read: a server without ranges would
// send the file from its front, and a room that begins together each machine some hundred kilobytes of it. The error is
// sources.ErrNoRanges.
func (p *place) askRanges(ctx context.Context, o sources.Origin, m *manifest.Manifest, first manifest.PieceIndex) error {
	spans := m.Spans(m.PieceOffset(first), 1)
	if len(spans) == 0 || spans[0].Offset < partFrom {
		return nil
	}
	file := spans[0].File
	p.probing.Lock()
	defer p.probing.Unlock()
	p.mu.Lock()
	known := p.fronts.parts || p.fronts.asked[file] || p.fronts.files[file]
	p.mu.Unlock()
	if known {
		return nil
	}
	path := sources.FilePath(m, file)
	there, err := sources.Ranges(ctx, o, path)
	if ctx.Err() != nil {
		return nil // the read will say so
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fronts.asked == nil {
		p.fronts.asked = map[int]bool{}
	}
	p.fronts.asked[file] = true
	if err != nil || there {
		return nil
	}
	return &sources.ReadError{Path: path, Offset: spans[0].Offset, Origin: o.String(), Err: sources.ErrNoRanges}
}

// partFrom is how far into a file a run must begin to show that there are ranges: nearer its front it may have been skipped to.
const partFrom = 64 << 10

// foundNoRanges takes note of a server without ranges.
func (d *download) foundNoRanges(ctx context.Context, p *place, err error) {
	if !p.noRanges(d.m, err) {
		d.agent.log.Log(ctx, p.level(), "origin can't be read from the middle of a file", "origin", p.name, "error", err)
		p.pause(err)
		return
	}
	d.agent.log.Log(ctx, p.level(), "origin does not serve ranges: its large files are read from their front, each by one machine of the site",
		"origin", p.name, "error", err)
}

// hadPart notes that a run was read from within a file: there are ranges.
func (p *place) hadPart(m *manifest.Manifest, r plan.Run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fronts.parts {
		return
	}
	for _, s := range m.Spans(m.PieceOffset(r.First), 1) {
		if s.Offset > partFrom && !p.fronts.files[s.File] {
			p.fronts.parts = true
			p.fronts.bound = plan.Bitfield{}
		}
	}
}

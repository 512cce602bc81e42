package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"handout/testlab/picture"
	"handout/testlab/room"
)

// result is what a tool did in rooms of one size.
type result struct {
	hosts    int
	tool     string
	attempts []attempt
}

type results []result

// table prints the median of each figure.
func (all results) table(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "  N\ttool\truns\tT_last/T*\tT_mean/T*\torigin bytes/F\ton the wire/F\tmost origin connections\tCPU s per machine\n")
	for _, r := range all {
		of := r.median
		last, mean := "", ""
		if missing := r.missing(); missing > 0 {
			last, mean = fmt.Sprintf("not done: %d of %d", missing, r.hosts), "-"
		} else {
			last = fmt.Sprintf("%.3f", of(func(a attempt) float64 { return a.time(a.Last) }))
			mean = fmt.Sprintf("%.3f", of(func(a attempt) float64 { return a.time(a.Mean) }))
		}
		fmt.Fprintf(w, "  %d\t%s\t%d\t%s\t%s\t%.3f\t%.3f\t%.0f\t%.2f\n", r.hosts, r.tool, len(r.attempts), last, mean,
			of(func(a attempt) float64 { return a.Copies() }),
			of(func(a attempt) float64 { return a.CopiesOnWire() }),
			of(func(a attempt) float64 { return float64(a.MostConnections) }),
			of(func(a attempt) float64 { return a.cpu.Seconds() }))
	}
	return w.Flush()
}

// median is that of a figure.
func (r result) median(field func(attempt) float64) float64 {
	var values []float64
	for _, a := range r.attempts {
		values = append(values, field(a))
	}
	return median(values)
}

// time as a multiple of the bound; endless where somebody was not done, so that no median takes it for a fast one.
func (a attempt) time(d time.Duration) float64 {
	if a.Done < a.Hosts {
		return math.Inf(1)
	}
	return a.OfBound(d)
}

// missing is how many hosts were not done in the median attempt.
func (r result) missing() int {
	var all []int
	for _, a := range r.attempts {
		all = append(all, a.Hosts-a.Done)
	}
	return median(all)
}

// draw writes the first attempt of each tool as a picture: a row for each tool, a column for each size of room.
func (all results) draw(to string) {
	var sizes []int
	var tools []string
	for _, r := range all {
		if !slices.Contains(sizes, r.hosts) {
			sizes = append(sizes, r.hosts)
		}
		if !slices.Contains(tools, r.tool) {
			tools = append(tools, r.tool)
		}
	}
	slices.SortFunc(sizes, cmp.Compare)
	g := picture.Grid{
		Title: "What the origin and the neighbours sent, so far",
		X:     "time, in seconds",
		Y:     "bytes on the wire, in copies of the payload",
	}
	for _, tool := range tools {
		row := make([]picture.Panel, len(sizes))
		for _, r := range all {
			if r.tool == tool {
				f := r.attempts[0].Figures
				row[slices.Index(sizes, r.hosts)] = picture.Panel{
					Title:  fmt.Sprintf("%s, N = %d: %s", tool, r.hosts, verdict(f)),
					Curves: curves(f, float64(f.Bytes)),
				}
			}
		}
		g.Rows = append(g.Rows, row)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, g.SVG(), 0o644)); err != nil {
		fmt.Printf("  no picture (-picture says where it goes): %v\n", err)
		return
	}
	fmt.Printf("  picture: %s\n", to)
}

func verdict(f room.Figures) string {
	if f.Done < f.Hosts {
		return fmt.Sprintf("not done: %d of %d", f.Hosts-f.Done, f.Hosts)
	}
	return fmt.Sprintf("%.2f T*", f.OfBound(f.Last))
}

// curves are the bytes over the seconds, in the given unit.
func curves(f room.Figures, unit float64) []picture.Curve {
	origin, hosts := picture.Curve{Name: "from the origin"}, picture.Curve{Name: "from neighbours"}
	for _, t := range f.Traffic {
		origin.Points = append(origin.Points, picture.Point{X: t.At.Seconds(), Y: float64(t.Origin) / unit})
		hosts.Points = append(hosts.Points, picture.Point{X: t.At.Seconds(), Y: float64(t.Hosts) / unit})
	}
	return []picture.Curve{origin, hosts}
}

// printTraffic shows when the links were busy.
func printTraffic(f room.Figures) {
	const characters = 60
	if len(f.Traffic) == 0 {
		return
	}
	end, link := f.Traffic[len(f.Traffic)-1].At, float64(linkRate)/8
	sent := curves(f, 1)
	fmt.Printf("    from the origin  |%s| full: its link, %.1f s\n", sent[0].Line(characters, link), end.Seconds())
	fmt.Printf("    from neighbours  |%s| full: %d links\n", sent[1].Line(characters, link*float64(f.Hosts)), f.Hosts)
}

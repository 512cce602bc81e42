package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// outcomes are a row's runs.
type outcomes struct {
	row
	all []outcome
}

// table prints medians beside what is wanted.
func table(to io.Writer, rows []outcomes) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "scenario\tMiB\truns\tT_last\twanted\tof\tseconds over\torigin bytes/F\twanted\tmost origin connections\twanted\tafter 2 s\taverage\n")
	for _, r := range rows {
		if len(r.all) == 0 {
			fmt.Fprintf(w, "%s\t%d\t0\twrong\n", r.name, r.size)
			continue
		}
		missing := func(o outcome) int { return o.judged - o.done }
		// Of the figures of time the run in the middle, late ones last.
		byTime := slices.SortedFunc(slices.Values(r.all), func(a, b outcome) int {
			if missing(a) != missing(b) {
				return missing(a) - missing(b)
			}
			return int(a.last - b.last)
		})
		middle := byTime[(len(byTime)-1)/2]
		last, over := fmt.Sprintf("%.3f", middle.ofReference()), fmt.Sprintf("%.1f", (middle.last-middle.reference).Seconds())
		if missing(middle) > 0 {
			last, over = fmt.Sprintf("not done: %d of %d", missing(middle), middle.judged), "-"
		}
		most := "K"
		if r.most != "" {
			most = r.most
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%.3f\t%s\t%.0f\t%s\t%.0f\t%.1f\n", r.name, r.size, len(r.all), last, r.wantedTime(), r.reference, over,
			median(r.all, func(o outcome) float64 { return o.copies }), r.copies,
			median(r.all, func(o outcome) float64 { return float64(o.most) }), most,
			median(r.all, func(o outcome) float64 { return float64(o.met) }),
			median(r.all, func(o outcome) float64 { return o.average }))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		for _, o := range r.all {
			if o.remark != "" {
				fmt.Fprintf(to, "%s: %s\n", r.name, strings.TrimPrefix(o.remark, "; "))
			}
		}
	}
	return nil
}

func (w row) wantedTime() string {
	switch {
	case w.late > 0:
		return fmt.Sprintf("1 + %.0f s", w.late.Seconds())
	case w.last > 0:
		return fmt.Sprintf("%.2f", w.last)
	default:
		return "all finish"
	}
}

// median of an even number of values is the lower of the middle two.
func median(all []outcome, of func(outcome) float64) float64 {
	var values []float64
	for _, o := range all {
		values = append(values, of(o))
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

package plan

import (
	"cmp"
	"slices"
	"time"
)

// Budget is what a cache may take. Zero is no bound.
type Budget struct {
	MaxBytes int64 // of all that lies in the cache
	MinFree  int64 // bytes that must stay free on its disk for others
}

// Excess is how many bytes must go from a cache that holds used of them, on a disk with free left, so that coming more
// fit; free below 0 is not known. 0: it fits as it is.
func (b Budget) Excess(used, free, coming int64) int64 {
	var excess int64
	if b.MaxBytes > 0 {
		excess = max(excess, used+coming-b.MaxBytes)
	}
	if free >= 0 && (b.MinFree > 0 || coming > 0) {
		excess = max(excess, coming+b.MinFree-free)
	}
	return excess
}

// Cached is one complete package of a cache.
type Cached struct {
	Bytes  int64
	Used   time.Time // when a neighbour last asked for it, or it was fetched; zero: nobody knows
	Pinned bool      // an admin wants it here
	Named  bool      // the config wants it here
	Busy   bool      // it is being fetched, installed, or held by somebody else
	Needed bool      // a neighbour lacks pieces of it that nobody else near has
}

// Stays is why a package must not go, in a few words; empty: it may.
func (c Cached) Stays() string {
	switch {
	case c.Pinned:
		return "pinned"
	case c.Named:
		return "wanted by the config"
	case c.Busy:
		return "in use"
	case c.Needed:
		return "needed by neighbours, who have it from nobody else"
	}
	return ""
}

// Evict chooses which packages, by index, go to free excess bytes, and says how many that frees: the least useful first,
// which is the one not used for longest, and of two the larger. Where all that may go is not enough, it is all of that.
func Evict(cached []Cached, excess int64) (victims []int, freed int64) {
	var order []int
	for i, c := range cached {
		if c.Stays() == "" {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := cached[i], cached[j]
		return cmp.Or(a.Used.Compare(b.Used), cmp.Compare(b.Bytes, a.Bytes))
	})
	for _, i := range order {
		if freed >= excess {
			break
		}
		victims = append(victims, i)
		freed += cached[i].Bytes
	}
	return victims, freed
}

package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
)

// FaultKind tells faults apart by what helps against them. Whatever it is, BuildOptions.Exclude can leave it out.
type FaultKind uint8

const (
	BadName      FaultKind = iota // no package can hold the name: not UTF-8, a control character, too long
	BadOnWindows                  // it cannot exist on Windows; BuildOptions.AllowNonWindowsNames waives that
	Unreadable                    // this user may not read it
	SpecialFile                   // a socket, a named pipe, a device
	BadSymlink                    // it leads out of the tree, or nowhere in the end
	faultKinds
)

// Fault is one entry of a tree that keeps the tree from being a package. Its text names the entry, safe to print.
type Fault struct {
	Kind FaultKind
	Path string // relative to the tree's root, as the disk has it: not safe to print
	err  error
}

func (f *Fault) Error() string { return f.err.Error() }
func (f *Fault) Unwrap() error { return f.err }

// onFault is told of a fault. An error ends the search: Open needs no second reason.
type onFault func(*Fault) error

func firstFault(f *Fault) error { return f.err }

// faultsKept is how many faults of each kind are kept; the others are counted.
const faultsKept = 20

// Faults is Build's error for all that keeps a tree from being a package.
type Faults struct {
	mu    sync.Mutex
	kinds [faultKinds]struct {
		first []*Fault // by path
		count int
	}
}

// add is an onFault that goes on. It may be called concurrently.
func (s *Faults) add(f *Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &s.kinds[f.Kind]
	k.count++
	at, _ := slices.BinarySearchFunc(k.first, f, func(a, b *Fault) int { return cmp.Compare(a.Path, b.Path) })
	if at < faultsKept {
		k.first = slices.Insert(k.first, at, f)
		k.first = k.first[:min(len(k.first), faultsKept)]
	}
	return nil
}

// Count is the number of faults.
func (s *Faults) Count() (n int) {
	for k := range s.kinds {
		n += s.kinds[k].count
	}
	return n
}

// Of returns the first faults of a kind, by path and at most 20, and how many there are.
func (s *Faults) Of(kind FaultKind) (first []*Fault, count int) {
	return s.kinds[kind].first, s.kinds[kind].count
}

// Sample is the first 20 faults, less of each kind where there are several: what there is, all at once.
func (s *Faults) Sample() []*Fault {
	var take [faultKinds]int
	for left, grown := faultsKept, true; grown; {
		grown = false
		for k := range take {
			if left > 0 && take[k] < len(s.kinds[k].first) {
				take[k]++
				left--
				grown = true
			}
		}
	}
	var sample []*Fault
	for k := range take {
		sample = append(sample, s.kinds[k].first[:take[k]]...)
	}
	return sample
}

func (s *Faults) Error() string {
	first := s.Sample()[0].Error()
	if n := s.Count(); n > 1 {
		return fmt.Sprintf("%s; and %d more of the tree's entries cannot be published", first, n-1)
	}
	return first
}

func (s *Faults) Unwrap() (all []error) {
	for _, f := range s.Sample() {
		all = append(all, f)
	}
	return all
}

// found is the error for what was found so far; nil: nothing.
func (s *Faults) found() error {
	if s.Count() == 0 {
		return nil
	}
	return s
}

// unreadable makes a fault of what the system says of path.
func unreadable(path string, err error) *Fault {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err // its path is the publisher's own, and not fit to print
	}
	return &Fault{Unreadable, path, fmt.Errorf("path %s: %w", quote(path), err)}
}

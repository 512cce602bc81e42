package store

import (
	"errors"
	"os"
	"sync"

	"handout/agent/plan"
	"handout/manifest"
)

// Tree is one package on disk, growing or published. Its methods are safe for concurrent use.
type Tree struct {
	m    *manifest.Manifest
	o    Options
	lay  *layout // as the tree grows: the whole package
	goal *layout // as it is published: what Options.Only says
	dest string  // absolute
	base string  // of dest in parent, or itself

	parent    *os.Root // dest's folder, or dest, see seatOf
	around    *os.Root // the folder that the staging folder lies in: parent, or Options.Stage
	stageName string   // of the staging folder in around
	stage     *staging // nil: published, and nothing is kept beside it
	token     string   // tells this staging folder from those of other machines; "" while it lies beside dest

	land    *landing   // while it's ours: always for a tree that grows beside dest, else for the time of publication
	owner   *ownership // of land; nil beside dest
	flusher *flusher   // nil: was found published

	claims []sync.Mutex // for each piece: held while it is written to or verified
	moving sync.RWMutex // after claims; held for writing while the tree moves or is closed
	at     *place       // guarded by moving and, for writing, ending; nil: closed

	reused    int64      // bytes; set by Open
	ending    sync.Mutex // one Publish or Close at a time; before all others
	closed    bool       // guarded by ending
	mu        sync.Mutex // guards the following; never held while anything is done on the disk
	have      plan.Bitfield
	doubt     plan.Bitfield // complete, but to be hashed before they are read out
	published bool
}

// Have returns the pieces that are complete and can be read out; it is the caller's own. Of a part only those can that lie in
// it wholly: what a piece on its border, or an earlier run, has of other files goes at publication.
func (t *Tree) Have() plan.Bitfield {
	have := t.goal.wanted.Clone()
	have.Without(t.Missing())
	have.Without(t.goal.border)
	return have
}

// Has reports whether piece i is complete and can be read out.
func (t *Tree) Has(i manifest.PieceIndex) bool { return t.goal.offers(i) && t.isHere(i) }

// Missing returns the pieces that are wanted and not complete; it is the caller's own.
func (t *Tree) Missing() plan.Bitfield {
	missing := t.goal.wanted.Clone()
	missing.Without(t.here())
	return missing
}

// Lacks reports whether piece i is wanted and not complete.
func (t *Tree) Lacks(i manifest.PieceIndex) bool { return t.goal.wanted.Has(i) && !t.isHere(i) }

// Bytes are those of the wanted pieces that are complete, and of all that are wanted.
func (t *Tree) Bytes() (here, all int64) {
	have := t.here()
	for i := range t.goal.wanted.All {
		all += t.m.PieceSize(i)
		if have.Has(i) {
			here += t.m.PieceSize(i)
		}
	}
	return here, all
}

// here are the pieces that are complete.
func (t *Tree) here() plan.Bitfield {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.have.Clone()
}

func (t *Tree) isHere(i manifest.PieceIndex) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.have.Has(i)
}

// Published reports whether the tree stands at its destination.
func (t *Tree) Published() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.published
}

// Reused is how many bytes of complete pieces Open took from files that were here already.
func (t *Tree) Reused() int64 { return t.reused }

// Dest is the destination as an absolute path.
func (t *Tree) Dest() string { return t.dest }

// Close flushes and records what is complete and gives the tree up. What is not published stays for the next Open,
// unless there is not one complete piece. Closing again does nothing.
func (t *Tree) Close() error {
	t.ending.Lock()
	defer t.ending.Unlock()
	return t.close(true)
}

// abandon leaves everything as a killed process would, for tests.
func (t *Tree) abandon() {
	t.ending.Lock()
	defer t.ending.Unlock()
	t.close(false)
}

func (t *Tree) close(orderly bool) error {
	if t.closed {
		return nil
	}
	t.closed = true
	unfinished := orderly && !t.Published()
	var err error
	if t.flusher != nil {
		t.flusher.halt()
		if unfinished && t.at != nil {
			err = t.flusher.flush()
		}
	}
	t.moving.Lock()
	defer t.moving.Unlock()
	if t.at != nil {
		t.at.close()
		t.at = nil
	}
	if t.stage != nil {
		have := t.here()
		_, kept := t.stage.standing()
		if _, doubtful := t.Doubtful(); orderly && t.Published() && t.o.Keep && !doubtful {
			err = errors.Join(err, t.stage.put(map[string][]byte{keyOpen: nil}))
		}
		switch {
		case orderly && t.elsewhere() && t.Published() && !t.o.Keep:
			t.dropStaging()
		case !unfinished || have.Count() > 0:
			err = errors.Join(err, t.stage.close())
		case kept != nil:
			err = errors.Join(err, t.stage.dropGrowing(), t.stage.close())
		default:
			err = errors.Join(err, t.stage.discard())
		}
	}
	t.closeFolders()
	return err
}

func (t *Tree) closeFolders() {
	if t.elsewhere() {
		t.around.Close()
	}
	t.parent.Close()
}

// show lets a place found or made at the destination be the tree from now on.
func (t *Tree) show(at *place) {
	t.at = at
	t.mu.Lock()
	t.have.Or(t.goal.wanted)
	t.published = true
	t.mu.Unlock()
}

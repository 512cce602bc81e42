package store

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"handout/agent/plan"
	"handout/manifest"
)

// flusher sees to it that verified pieces reach the disk and then the record, in that order, in batches and behind the
// back of those who write.
type flusher struct {
	t    *Tree
	kick chan struct{} // holds one: enough bytes are waiting
	stop chan struct{}
	once sync.Once     // around closing stop
	done chan struct{} // closed when the goroutine is gone

	turn     sync.Mutex    // held for the length of a flush
	recorded plan.Bitfield // what the record says; guarded by turn

	mu      sync.Mutex
	dirty   map[int]struct{} // files written to since the last flush
	pending []manifest.PieceIndex
	waiting int64 // bytes of the pending pieces
	err     error // see broken
}

func newFlusher(t *Tree, recorded plan.Bitfield) *flusher {
	return &flusher{
		t:        t,
		kick:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		recorded: recorded,
		dirty:    make(map[int]struct{}),
	}
}

// run flushes until halt is called.
func (f *flusher) run() {
	defer close(f.done)
	tick := time.NewTicker(f.t.o.FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-tick.C:
		case <-f.kick:
		}
		if err := f.flush(); err != nil {
			f.t.o.Log.Error("pieces could not be recorded", "tree", f.t.dest, "err", err)
		}
	}
}

// halt ends run. It does not flush.
func (f *flusher) halt() {
	f.once.Do(func() { close(f.stop) })
	<-f.done
}

// wrote remembers the files that must be flushed. It is called after the write: were it before, a flush between the two
// would take the mark and leave the bytes.
func (f *flusher) wrote(spans []manifest.Span) {
	f.mu.Lock()
	for _, s := range spans {
		f.dirty[s.File] = struct{}{}
		f.t.at.flushed.remove(s.File)
	}
	f.mu.Unlock()
}

// verified hands a piece over to be recorded; all that was written of it has been reported to wrote.
func (f *flusher) verified(i manifest.PieceIndex) {
	f.mu.Lock()
	f.pending = append(f.pending, i)
	f.waiting += f.t.m.PieceSize(i)
	enough := f.waiting >= f.t.o.FlushBytes
	f.mu.Unlock()
	if enough {
		select {
		case f.kick <- struct{}{}:
		default:
		}
	}
}

// broken is not nil after a flush failed: the kernel may have dropped what was written and say so only once, so that
// nothing can be promised any more. The next Open finds out what is left.
func (f *flusher) broken() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// flush flushes and records all pieces verified before it was called.
func (f *flusher) flush() error {
	f.turn.Lock()
	defer f.turn.Unlock()
	f.mu.Lock()
	pending, dirty, err := f.pending, f.dirty, f.err
	if len(pending) == 0 || err != nil {
		f.mu.Unlock()
		return err
	}
	f.pending, f.waiting, f.dirty = nil, 0, make(map[int]struct{})
	f.mu.Unlock()

	at := f.t.at // stays where it is: whoever moves it halts the flusher first
	if err := at.syncFiles(slices.Sorted(maps.Keys(dirty)), at.names.Swap(false)); err != nil {
		err = explain(err, "flush", f.t.dest)
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
		return err
	}
	recorded := f.recorded.Clone()
	for _, i := range pending {
		recorded.Set(i)
	}
	if err := f.t.stage.put(map[string][]byte{keyPieces: packBits(recorded)}); err != nil {
		f.mu.Lock()
		f.pending = append(pending, f.pending...) // flushed, and to be recorded next time
		f.mu.Unlock()
		return fmt.Errorf("record pieces: %w", err)
	}
	f.recorded = recorded
	return nil
}

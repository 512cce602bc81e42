package store

import (
	"context"
	"crypto/sha256"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"handout/agent/plan"
	"handout/manifest"
)

// reuse takes what it can of a tree from files that lie on this machine already. Where a file's bytes may be is a guess;
// a piece counts only after its SHA-256 was seen to be right. It runs within Open, before anybody else has the Tree.
type reuse struct {
	t       *Tree
	donors  []*donor
	bySize  map[int64][]*candidate
	files   map[int]*wanted
	open    *cache[*candidate, donated]
	buffers sync.Pool    // of *[]byte, a piece long
	reused  atomic.Int64 // bytes

	mu   sync.Mutex    // guards what follows, and right and wrong in files
	held plan.Bitfield // pieces that are right and wait for settleLinks
}

// wanted is a file that has a part in a missing piece, and the guess where it may be had.
type wanted struct {
	from   *candidate // nil: no guess
	shift  int64      // where a byte lies in from, less where it belongs
	fresh  bool       // from has not been tried yet
	placed placing
	proven bool // linked, and its SHA-256 was seen to be right
	right  bool // a piece with a part of it was right
	wrong  bool // a piece within it was wrong
}

// placing is how a whole file came into the staging tree.
type placing uint8

const (
	notPlaced placing = iota
	cloned            // shares its blocks, copied on write: it may be written to like any other
	linked            // is the old tree's own file, which must not be written to
)

// reuse completes the pieces that can be put together from what lies here.
func (t *Tree) reuse(ctx context.Context) error {
	r := &reuse{
		t:      t,
		bySize: make(map[int64][]*candidate),
		files:  make(map[int]*wanted),
		open:   newCache[*candidate, donated](max(t.o.MaxOpen/4, 1)),
		held:   plan.NewBitfield(t.m.NumPieces()),
	}
	r.buffers.New = func() any { b := make([]byte, t.m.PieceLength); return &b }
	defer r.close()
	for i := range t.Missing().All {
		for _, s := range t.spans(i) {
			if r.files[s.File] == nil {
				r.files[s.File] = &wanted{}
			}
		}
	}
	if r.donors = t.donors(); len(r.donors) == 0 || len(r.files) == 0 {
		return nil
	}
	if err := r.survey(ctx); err != nil {
		return err
	}
	for _, guess := range []func(context.Context) error{r.place, r.search, r.fromTheEnd} {
		if err := guess(ctx); err != nil {
			return err
		}
		if err := r.take(ctx); err != nil {
			return err
		}
	}
	t.reused = r.reused.Load()
	t.o.Log.Info("looked for what is here already", "tree", t.dest, "reused", t.reused)
	return nil
}

func (r *reuse) close() {
	r.open.closeIdle()
	for _, d := range r.donors {
		d.root.Close()
	}
}

func (t *Tree) spans(i manifest.PieceIndex) []manifest.Span {
	return t.m.Spans(t.m.PieceOffset(i), t.m.PieceSize(i))
}

// take tries every missing piece of which all parts have a guess, one of them a new one.
func (r *reuse) take(ctx context.Context) error {
	for again := true; again; {
		try := r.worthTrying()
		if err := r.t.roomFor(r.placed()); err != nil {
			return err
		}
		if err := r.t.at.eachPiece(ctx, try, r.t.o.Reusing, r.assemble); err != nil {
			return err
		}
		for _, w := range r.files {
			w.fresh = false
		}
		var err error
		if again, err = r.settleLinks(ctx); err != nil {
			return err
		}
	}
	return nil
}

// placed are the bytes that take no more space: of whole files that are in the staging tree.
func (r *reuse) placed() (bytes int64) {
	for file, w := range r.files {
		if w.placed != notPlaced {
			bytes += r.t.m.Files[file].Length
		}
	}
	return bytes
}

func (r *reuse) worthTrying() plan.Bitfield {
	try := r.t.Missing()
	for i := range r.t.Missing().All {
		guessed, fresh := true, false
		for _, s := range r.t.spans(i) {
			w := r.files[s.File]
			guessed = guessed && w.from != nil
			fresh = fresh || w.fresh
		}
		if !guessed || !fresh {
			try.Clear(i)
		}
	}
	return try
}

// assemble puts a piece together and, if it is right, writes what of it is not in the staging tree.
func (r *reuse) assemble(i manifest.PieceIndex) error {
	buf := r.buffers.Get().(*[]byte)
	defer r.buffers.Put(buf)
	data, spans := (*buf)[:r.t.m.PieceSize(i)], r.t.spans(i)
	if !r.collect(spans, data) {
		return nil
	}
	right := sha256.Sum256(data) == r.t.m.PieceSHA256(i)
	r.judge(spans, right)
	if !right {
		return nil
	}
	off, links := r.t.m.PieceOffset(i), false
	for _, s := range spans {
		switch r.files[s.File].placed {
		case notPlaced:
			if err := r.t.write(off, data[:s.Length]); err != nil {
				return err
			}
		case cloned:
			r.t.flusher.wrote([]manifest.Span{s})
		case linked:
			links = true
		}
		off, data = off+s.Length, data[s.Length:]
	}
	if links {
		r.mu.Lock()
		r.held.Set(i)
		r.mu.Unlock()
		return nil
	}
	return r.complete(i)
}

// collect reads the parts of a piece. What can't be read is not to be had here: that is no error.
func (r *reuse) collect(spans []manifest.Span, data []byte) bool {
	for _, s := range spans {
		w := r.files[s.File]
		var err error
		if w.placed != notPlaced {
			err = r.t.at.readPart(s, data[:s.Length])
		} else {
			err = r.read(w.from, data[:s.Length], s.Offset+w.shift)
		}
		if err != nil {
			r.t.o.Log.Debug("a file is not reused", "file", w.from.shown(), "error", err)
			return false
		}
		data = data[s.Length:]
	}
	return true
}

func (r *reuse) complete(i manifest.PieceIndex) error {
	r.reused.Add(r.t.m.PieceSize(i))
	return r.t.complete(i)
}

// judge notes what a piece says of the guesses behind it.
func (r *reuse) judge(spans []manifest.Span, right bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range spans {
		w := r.files[s.File]
		w.right = w.right || right
		w.wrong = w.wrong || !right && len(spans) == 1
	}
}

// search looks for files by their content. Those of the right size are hashed for every file that was guessed wrong, or
// of which the pieces did not say whether it was.
func (r *reuse) search(ctx context.Context) error {
	doubtful := make(map[int]*wanted)
	hash := make(map[*candidate]struct{})
	for i := range r.t.Missing().All {
		for _, s := range r.t.spans(i) {
			w := r.files[s.File]
			if w.right && !w.wrong || w.proven {
				continue
			}
			doubtful[s.File] = w
			for _, c := range r.bySize[r.t.m.Files[s.File].Length] {
				if c.sum == nil {
					hash[c] = struct{}{}
				}
			}
		}
	}
	if err := r.hash(ctx, hash); err != nil {
		return err
	}
	byContent := r.byContent()
	for file, w := range doubtful {
		sum := r.t.m.Files[file].SHA256
		if w.from != nil && w.from.sum != nil && *w.from.sum == sum {
			continue // right; what lies beside it in the piece was not
		}
		if c := byContent[sum]; c != nil && w.placed != linked {
			*w = wanted{from: c, fresh: true}
		}
	}
	return r.place(ctx)
}

// byContent are the candidates whose SHA-256 is known.
func (r *reuse) byContent() map[[32]byte]*candidate {
	known := make(map[[32]byte]*candidate)
	for _, same := range r.bySize {
		for _, c := range same {
			if c.sum != nil {
				known[*c.sum] = c
			}
		}
	}
	return known
}

// hash finds the SHA-256 of candidates, on all cores.
func (r *reuse) hash(ctx context.Context, which map[*candidate]struct{}) error {
	var total int64
	for c := range which {
		total += c.info.Size()
	}
	var done atomic.Int64
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	for c := range which {
		work.Go(func() error {
			err := r.hashOne(ctx, c)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				r.t.o.Log.Debug("a file is not reused", "file", c.shown(), "error", err)
			}
			r.t.o.Progress(done.Add(c.info.Size()), total)
			return nil
		})
	}
	return work.Wait()
}

// fromTheEnd guesses that where a file has another length than the one of its path, what follows the difference is the
// same.
func (r *reuse) fromTheEnd(context.Context) error {
	for file, w := range r.files {
		if w.from != nil && w.placed == notPlaced && w.shift == 0 {
			w.shift = w.from.info.Size() - r.t.m.Files[file].Length
			w.fresh = w.shift != 0
		}
	}
	return nil
}

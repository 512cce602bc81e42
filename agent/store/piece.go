package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"handout/manifest"
)

// errPublished: a piece of a published tree was found to be wrong, and only another Tree mends it.
var errPublished = errors.New("nothing is written to a published tree")

// ReadAt reads from a complete piece, off being counted within it. As io.ReaderAt says, n < len(p) only with an error,
// which is io.EOF at the piece's end. ErrIncomplete: the piece isn't complete. ErrChanged: somebody changed the
// published file. It may be called concurrently; while the tree moves to its destination it waits.
func (t *Tree) ReadAt(i manifest.PieceIndex, p []byte, off int64) (int, error) {
	if !t.Has(i) {
		return 0, fmt.Errorf("read piece %d of %s: %w", i, t.dest, ErrIncomplete)
	}
	size := t.m.PieceSize(i)
	if off < 0 || off > size {
		return 0, fmt.Errorf("read piece %d of %s at %d: %w", i, t.dest, off, fs.ErrInvalid)
	}
	if err := t.vouch(i); err != nil {
		return 0, err
	}
	n := min(len(p), int(size-off))
	t.moving.RLock()
	defer t.moving.RUnlock()
	if t.at == nil {
		return 0, ErrClosed
	}
	if err := t.at.read(t.m.PieceOffset(i)+off, p[:n]); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt keeps a block of a piece, off being counted within it; Verify says later what it was worth. ErrComplete: the
// piece is complete and nothing was written. It may be called concurrently.
func (t *Tree) WriteAt(i manifest.PieceIndex, p []byte, off int64) (int, error) {
	if !t.goal.wanted.Has(i) || off < 0 || off+int64(len(p)) > t.m.PieceSize(i) {
		return 0, fmt.Errorf("write to piece %d of %s at %d: %w", i, t.dest, off, fs.ErrInvalid)
	}
	release, err := t.claim(i)
	if err != nil {
		return 0, err
	}
	defer release()
	if t.isHere(i) {
		return 0, fmt.Errorf("write to piece %d of %s: %w", i, t.dest, ErrComplete)
	}
	if t.Published() {
		return 0, fmt.Errorf("write to piece %d of %s: %w", i, t.dest, errPublished)
	}
	if err := t.write(t.m.PieceOffset(i)+off, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Verify checks what was written of piece i by its SHA-256; true: it is complete from now on. False: some of it is
// missing or wrong, and it may be written again. No write can come between the check and its consequence.
func (t *Tree) Verify(i manifest.PieceIndex) (bool, error) {
	if !t.goal.wanted.Has(i) {
		return false, fmt.Errorf("verify piece %d of %s: %w", i, t.dest, fs.ErrInvalid)
	}
	release, err := t.claim(i)
	if err != nil {
		return false, err
	}
	defer release()
	if t.isHere(i) {
		return true, nil
	}
	if t.Published() {
		return false, fmt.Errorf("verify piece %d of %s: %w", i, t.dest, errPublished)
	}
	ok, err := t.at.verify(i)
	if !ok || err != nil {
		return false, err
	}
	return true, t.complete(i)
}

// Put takes a whole piece from memory and completes it. ErrCorrupt: data is not that piece, and nothing was written. A
// piece that is complete already is left as it is, without an error. It may be called concurrently.
func (t *Tree) Put(i manifest.PieceIndex, data []byte) error {
	if !t.goal.wanted.Has(i) || int64(len(data)) != t.m.PieceSize(i) {
		return fmt.Errorf("put piece %d of %s: %w", i, t.dest, fs.ErrInvalid)
	}
	if sha256.Sum256(data) != t.m.PieceSHA256(i) {
		return fmt.Errorf("put piece %d of %s: %w", i, t.dest, ErrCorrupt)
	}
	release, err := t.claim(i)
	if err != nil {
		return err
	}
	defer release()
	if t.isHere(i) {
		return nil
	}
	if t.Published() {
		return fmt.Errorf("put piece %d of %s: %w", i, t.dest, errPublished)
	}
	if err := t.write(t.m.PieceOffset(i), data); err != nil {
		return err
	}
	return t.complete(i)
}

// claim makes piece i the caller's alone, and keeps the tree where it is, until release is called.
func (t *Tree) claim(i manifest.PieceIndex) (release func(), err error) {
	t.claims[i].Lock()
	t.moving.RLock()
	release = func() {
		t.moving.RUnlock()
		t.claims[i].Unlock()
	}
	if t.at == nil {
		release()
		return nil, ErrClosed
	}
	return release, nil
}

// write writes to a claimed piece that is not complete.
func (t *Tree) write(off int64, p []byte) error {
	if err := t.flusher.broken(); err != nil {
		return err
	}
	err := t.at.write(off, p)
	t.flusher.wrote(t.m.Spans(off, int64(len(p)))) // also what was written before an error
	return err
}

// complete makes a claimed piece complete that was found to be right.
func (t *Tree) complete(i manifest.PieceIndex) error {
	if err := t.stage.note(i); err != nil {
		return err
	}
	t.mu.Lock()
	t.have.Set(i)
	t.mu.Unlock()
	t.flusher.verified(i)
	return nil
}

// verify reports whether piece i is there and right. What is missing is no error.
func (p *place) verify(i manifest.PieceIndex) (bool, error) {
	h := sha256.New()
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for off, end := p.m.PieceOffset(i), p.m.PieceOffset(i)+p.m.PieceSize(i); off < end; {
		b := buf[:min(bufferSize, end-off)]
		err := p.read(off, b)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		h.Write(b)
		off += int64(len(b))
	}
	return [32]byte(h.Sum(nil)) == p.m.PieceSHA256(i), nil
}

package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"

	"handout/manifest"
)

// zeroBlock is what zeros are compared with, and where they have to be written.
var zeroBlock [bufferSize]byte

// zeroPieces returns a function that tells whether a piece is all zeros, by its SHA-256: the holes of a sparse file, and
// what else was never written to.
func zeroPieces(m *manifest.Manifest) func(i manifest.PieceIndex) bool {
	sums := map[int64][32]byte{} // by length: all but the last piece have the same
	return func(i manifest.PieceIndex) bool {
		n := m.PieceSize(i)
		sum, ok := sums[n]
		if !ok {
			h := sha256.New()
			for left := n; left > 0; left -= bufferSize {
				h.Write(zeroBlock[:min(left, bufferSize)])
			}
			h.Sum(sum[:0])
			sums[n] = sum
		}
		return sum == m.PieceSHA256(i)
	}
}

// missingZeros are the bytes of missing pieces that are all zeros: they take no room where files have holes.
func (t *Tree) missingZeros() (bytes int64) {
	isZero := zeroPieces(t.m)
	for i := range t.Missing().All {
		if isZero(i) {
			bytes += t.m.PieceSize(i)
		}
	}
	return bytes
}

// fillZeros completes the missing pieces that are all zeros: nobody is asked for them and, where the file system has holes,
// nothing is written. It runs within Open, before anybody else has the Tree.
func (t *Tree) fillZeros(ctx context.Context) error {
	isZero := zeroPieces(t.m)
	for i := range t.Missing().All {
		if !isZero(i) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		spans := t.spans(i)
		for _, s := range spans {
			if _, ok := t.at.linked[s.File]; ok {
				continue // right as it is
			}
			if err := t.at.zero(s); err != nil {
				return explain(err, "write", t.at.say(s.File))
			}
		}
		t.flusher.wrote(spans)
		if err := t.complete(i); err != nil {
			return err
		}
	}
	return nil
}

// zero lets a part of a file be zeros. A file that is new is all hole; in one of an earlier run there may be blocks that
// were never verified.
func (p *place) zero(s manifest.Span) error {
	h, err := p.writer(s.File)
	if err != nil {
		return err
	}
	defer p.files.release(h)
	if isHole(h.v, s.Offset, s.Length) {
		return nil
	}
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for off, end := s.Offset, s.Offset+s.Length; off < end; off += bufferSize {
		b := buf[:min(bufferSize, end-off)]
		if _, err := h.v.ReadAt(b, off); err != nil && err != io.EOF {
			return err
		}
		if bytes.Equal(b, zeroBlock[:len(b)]) {
			continue
		}
		if _, err := h.v.WriteAt(zeroBlock[:len(b)], off); err != nil {
			return err
		}
	}
	return nil
}

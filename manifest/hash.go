package manifest

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	// readersPerCore keeps a disk busy while others hash: more than one, since a tree of small files costs a cold disk
	// its latency for each of them.
	readersPerCore = 4
	// hashMemory is how many bytes of pieces hashTree holds at once, if the cores have enough to do with them.
	hashMemory = 64 << 20
	// hashAhead is how many bytes before their turn the disk is asked for pieces.
	hashAhead = 64 << 20
)

// hashTree fills in the hashes of m's pieces and files, reading every byte once.
//
// A worker takes one piece after the other: it reads it, takes its SHA-1 and SHA-256 and the SHA-256 of every file
// that lies in it whole. That alone would do for a tree of small files. A file of many pieces has a SHA-256 that must
// be taken from front to back: its parts are queued in a chain, and whichever worker adds the part that the chain
// waits for goes on with it as far as parts are there. So nobody waits for another's turn while there is a piece to
// hash. One huge file keeps three cores busy, no more: its own hash is a third of the work.
//
// Memory: hashMemory, or one piece for each core and two more where pieces are long.
func hashTree(ctx context.Context, m *Manifest, files []found, progress func(done, total int64)) error {
	cores := runtime.GOMAXPROCS(0)
	workers := readersPerCore * cores
	buffers := min(2*workers, m.NumPieces(), max(cores+2, int(hashMemory/m.PieceLength)))
	h := &hasher{m: m, files: files, progress: progress, chains: map[int]*chain{}, buffers: make(chan *pieceBuffer, buffers)}
	for range buffers {
		h.buffers <- &pieceBuffer{}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for range min(workers, buffers) {
		running.Go(func() {
			if err := h.work(ctx); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return h.emptyFiles()
}

type hasher struct {
	m        *Manifest
	files    []found
	progress func(done, total int64)

	zeroOnce   sync.Once // around what follows
	zeroSHA1   [20]byte  // of a piece of zeros
	zeroSHA256 [32]byte

	next    atomic.Int64      // the piece to take
	buffers chan *pieceBuffer // those not in use

	mu     sync.Mutex // guards what follows
	chains map[int]*chain
	done   int64
}

// pieceBuffer holds one piece until its hashes, and those of the parts of files in it, are taken.
type pieceBuffer struct {
	bytes []byte
	uses  atomic.Int32
}

func (h *hasher) release(b *pieceBuffer) {
	if b.uses.Add(-1) == 0 {
		h.buffers <- b
	}
}

// work hashes pieces until there are none left. It has the buffer before it takes the piece, so that the first piece
// not yet hashed always has one and every chain can go on.
func (h *hasher) work(ctx context.Context) error {
	for {
		var b *pieceBuffer
		select {
		case b = <-h.buffers:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := ctx.Err(); err != nil { // select is fair, not strict
			return context.Cause(ctx)
		}
		piece := h.next.Add(1) - 1
		if piece >= int64(h.m.NumPieces()) {
			h.buffers <- b
			return nil
		}
		if err := h.hashPiece(PieceIndex(piece), b); err != nil {
			return err
		}
	}
}

func (h *hasher) hashPiece(piece PieceIndex, b *pieceBuffer) error {
	size := h.m.PieceSize(piece)
	if b.bytes == nil {
		b.bytes = make([]byte, min(h.m.PieceLength, h.m.Length))
	}
	content := b.bytes[:size]
	h.announce(int64(piece) + hashAhead/h.m.PieceLength)
	spans := h.m.Spans(h.m.PieceOffset(piece), size)
	at := content
	for _, s := range spans {
		if err := h.read(s, at[:s.Length]); err != nil {
			return err
		}
		at = at[s.Length:]
	}

	pieceSHA1, pieceSHA256 := h.sums(content)
	copy(h.m.pieceSHA1[int(piece)*sha1.Size:], pieceSHA1[:])
	copy(h.m.pieceSHA256[int(piece)*sha256.Size:], pieceSHA256[:])

	b.uses.Store(1)
	at = content
	for _, s := range spans {
		f := &h.m.Files[s.File]
		part := at[:s.Length]
		at = at[s.Length:]
		switch {
		case s.Length < f.Length:
			b.uses.Add(1)
			h.addPart(s, part, b)
		case s.Length == size:
			f.SHA256 = pieceSHA256 // the file is the piece
		default:
			f.SHA256 = sha256.Sum256(part)
		}
	}
	h.release(b)
	h.report(size)
	return nil
}

// zeroes is a stretch of zeros to compare with.
var zeroes [64 << 10]byte

// sums are the SHA-1 and SHA-256 of a piece. Sparse files are mostly zeros, of which they are taken once.
func (h *hasher) sums(piece []byte) ([20]byte, [32]byte) {
	for rest := piece; len(rest) > 0; rest = rest[min(len(rest), len(zeroes)):] {
		if part := rest[:min(len(rest), len(zeroes))]; !bytes.Equal(part, zeroes[:len(part)]) {
			return sha1.Sum(piece), sha256.Sum256(piece)
		}
	}
	if int64(len(piece)) != h.m.PieceLength {
		return sha1.Sum(piece), sha256.Sum256(piece) // the last one
	}
	h.zeroOnce.Do(func() { h.zeroSHA1, h.zeroSHA256 = sha1.Sum(piece), sha256.Sum256(piece) })
	return h.zeroSHA1, h.zeroSHA256
}

// announce lets the disk begin to read a piece, unless walk has done so.
func (h *hasher) announce(piece int64) {
	if piece >= int64(h.m.NumPieces()) {
		return
	}
	i := PieceIndex(piece)
	for _, s := range h.m.Spans(h.m.PieceOffset(i), h.m.PieceSize(i)) {
		if f := &h.files[s.File]; !f.announced {
			announce(f.path, s.Offset, s.Length)
		}
	}
}

func (h *hasher) report(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done += n
	if h.progress != nil {
		h.progress(h.done, h.m.Length)
	}
}

// read fills p from a file that must still be as it was found. Looking once it is read is enough: a change before or
// meanwhile shows in the size, the time or the file's identity.
func (h *hasher) read(s Span, p []byte) error {
	f := h.files[s.File]
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.ReadAt(p, s.Offset); errors.Is(err, io.EOF) {
		return errChanged(f)
	} else if err != nil {
		return err
	}
	return unchanged(f, file)
}

func unchanged(f found, file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, f.info) || info.Size() != f.info.Size() || !info.ModTime().Equal(f.info.ModTime()) {
		return errChanged(f)
	}
	return nil
}

func errChanged(f found) error {
	return fmt.Errorf("path %s: it changed while it was read", quote(f.path))
}

// emptyFiles deals with what no piece has a byte of. They are opened all the same: what can't be read is no part of
// a package, and one may have grown.
func (h *hasher) emptyFiles() error {
	for i := range h.m.Files {
		f := &h.m.Files[i]
		if f.Length > 0 || f.Target != "" {
			continue
		}
		if err := h.read(Span{File: i}, nil); err != nil {
			return err
		}
		f.SHA256 = sha256.Sum256(nil)
	}
	return nil
}

package swarm

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/storage"

	"handout/manifest"
)

// Pieces is where the swarm reads pieces from and puts blocks. It is called concurrently.
type Pieces interface {
	Has(i manifest.PieceIndex) bool
	// Lacks reports whether the piece is to be fetched. One that neither is to be nor can be had here is no concern of ours,
	// or serves this machine alone.
	Lacks(i manifest.PieceIndex) bool
	// ReadAt reads from a complete piece, off being within it.
	ReadAt(i manifest.PieceIndex, p []byte, off int64) (int, error)
	// WriteAt keeps a block of a piece that is lacking; it need not keep one of another.
	WriteAt(i manifest.PieceIndex, p []byte, off int64) (int, error)
	// Verify checks what was written by the manifest's SHA-256; true: the piece is no longer lacking.
	Verify(i manifest.PieceIndex) (bool, error)
}

// tree shows Pieces to the engine. Nothing the engine believes makes a piece complete: only Verify does.
type tree struct {
	m      *manifest.Manifest
	pieces Pieces
	done   func(i manifest.PieceIndex, right bool) // called after a piece was verified
	// withhold is called, without any lock of the engine, for a piece that the engine takes for incomplete after a check.
	withhold func(i manifest.PieceIndex)
}

func (s tree) OpenTorrent(context.Context, *metainfo.Info, metainfo.Hash) (storage.TorrentImpl, error) {
	return storage.TorrentImpl{
		Piece: func(p metainfo.Piece) storage.PieceImpl { return piece{s, manifest.PieceIndex(p.Index())} },
		Close: func() error { return nil },
	}, nil
}

type piece struct {
	tree
	i manifest.PieceIndex
}

func (p piece) ReadAt(b []byte, off int64) (int, error) { return p.pieces.ReadAt(p.i, b, off) }

// WriteAt drops a block that comes after its piece was completed from elsewhere: told of an error, the engine would
// stop downloading altogether.
func (p piece) WriteAt(b []byte, off int64) (int, error) {
	if !p.pieces.Lacks(p.i) {
		return len(b), nil
	}
	n, err := p.pieces.WriteAt(p.i, b, off)
	if err != nil && !p.pieces.Lacks(p.i) {
		return len(b), nil
	}
	return n, err
}

// SelfHash lets the piece be read once and checked by SHA-256; the engine is told the SHA-1 it expects where that holds. To
// every neighbour it announces what it takes for complete. So a piece that serves this machine alone is not complete to it,
// which no neighbour is to blame for: with an error none is. Nor is any for a wrong piece, as far as the engine knows: it
// would ban an address, for as long as it lives. trust judges.
func (p piece) SelfHash() (metainfo.Hash, error) {
	ok, err := p.pieces.Verify(p.i)
	if err != nil {
		return metainfo.Hash{}, fmt.Errorf("verify piece %d: %w", p.i, err)
	}
	p.done(p.i, ok)
	if !ok || !p.pieces.Has(p.i) {
		return metainfo.Hash{}, io.EOF // the one error that is not logged as trouble
	}
	return p.m.PieceSHA1(p.i), nil
}

func (p piece) MarkComplete() error { return nil }

// MarkNotComplete comes before the engine asks for the piece again. SelfHash would be too early to speak to the engine: it
// may be waiting for that with its lock held.
func (p piece) MarkNotComplete() error {
	p.withhold(p.i)
	return nil
}

func (p piece) Completion() storage.Completion {
	return storage.Completion{Ok: true, Complete: p.pieces.Has(p.i)}
}

var _ [sha1.Size]byte = metainfo.Hash{} // the two SHA-1 types are one

// noStorage refuses torrents that do not say where their pieces lie.
type noStorage struct{}

func (noStorage) OpenTorrent(context.Context, *metainfo.Info, metainfo.Hash) (storage.TorrentImpl, error) {
	return storage.TorrentImpl{}, errors.New("torrent without storage")
}

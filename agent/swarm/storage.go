package swarm

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/storage"

	"handout/manifest"
)

// Pieces is where the swarm reads pieces from and puts blocks. It is called concurrently.
type Pieces interface {
	Has(i manifest.PieceIndex) bool
	// ReadAt reads from a complete piece, off being within it.
	ReadAt(i manifest.PieceIndex, p []byte, off int64) (int, error)
	// WriteAt keeps a block of an incomplete piece; it need not keep one of a complete piece.
	WriteAt(i manifest.PieceIndex, p []byte, off int64) (int, error)
	// Verify checks what was written by the manifest's SHA-256; true: the piece is complete from now on.
	Verify(i manifest.PieceIndex) (bool, error)
}

// tree shows Pieces to the engine. Nothing the engine believes makes a piece complete: only Verify does.
type tree struct {
	m      *manifest.Manifest
	pieces Pieces
	done   func() // called after a piece was verified
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
	if p.pieces.Has(p.i) {
		return len(b), nil
	}
	n, err := p.pieces.WriteAt(p.i, b, off)
	if err != nil && p.pieces.Has(p.i) {
		return len(b), nil
	}
	return n, err
}

// SelfHash lets the piece be read once and checked by SHA-256; the engine is told the SHA-1 it expects where that holds.
func (p piece) SelfHash() (metainfo.Hash, error) {
	ok, err := p.pieces.Verify(p.i)
	if err != nil {
		return metainfo.Hash{}, fmt.Errorf("verify piece %d: %w", p.i, err)
	}
	sum := p.m.PieceSHA1(p.i)
	if !ok {
		sum[0] ^= 0xff
	}
	p.done()
	return sum, nil
}

func (p piece) MarkComplete() error    { return nil }
func (p piece) MarkNotComplete() error { return nil }

func (p piece) Completion() storage.Completion {
	return storage.Completion{Ok: true, Complete: p.pieces.Has(p.i)}
}

var _ [sha1.Size]byte = metainfo.Hash{} // the two SHA-1 types are one

// noStorage refuses torrents that do not say where their pieces lie.
type noStorage struct{}

func (noStorage) OpenTorrent(context.Context, *metainfo.Info, metainfo.Hash) (storage.TorrentImpl, error) {
	return storage.TorrentImpl{}, errors.New("torrent without storage")
}

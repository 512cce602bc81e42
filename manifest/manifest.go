// Package manifest is the vocabulary every room shares and the gate strangers' files come through.
//
// A manifest is a BitTorrent v1 metainfo file (BEP 3, BEP 47) with two more top-level keys: "handout" says what a
// torrent cannot (version, origins, SHA-256 of every piece and file, times, modes, empty folders, policy) and
// "handout-signatures" holds minisign signatures over the exact bytes of "handout". Build makes one from a tree,
// Open checks one. Whoever holds a *Manifest from Open may rely on it: signature, paths, sizes and counts were checked.
package manifest

import (
	"encoding/hex"
	"io/fs"
	"time"
)

// PieceIndex numbers the pieces of one package from 0.
type PieceIndex uint32

// InfoHash is the SHA-1 of the info dictionary (BEP 3): the identity of a package's content.
type InfoHash [20]byte

func (h InfoHash) String() string { return hex.EncodeToString(h[:]) }

// Manifest describes one version of one package. Open makes it; it is read-only afterwards and safe for concurrent use.
type Manifest struct {
	InfoHash InfoHash
	// Root is the name of the tree's folder, or of the one file: the torrent's own name. A single clean path element.
	Root string
	// Single is true where the package is one file and no folder; Files then has that one file, its Path equal to Root.
	Single bool

	Name    string // the package's name, shown to people; Root where the publisher gave none
	Version string // free text, may be empty
	Serial  uint64 // grows with every publication of Name
	Created time.Time
	Expires time.Time // zero: never
	Origins []string  // URLs of the tree (or of the one file), best first; never credentials

	Length      int64 // bytes of all files
	PieceLength int64 // bytes; a power of two; the last piece may be shorter
	BlockSize   int64 // bytes a peer is asked for at once (policy)

	Files []File // regular files and symlinks in the torrent's order, which is the order of their bytes
	Dirs  []Dir  // every folder below the tree's root, parents before children; empty for a single file

	Signatures []Signature // one for each signature in the file that was looked at; empty: unsigned

	raw         []byte
	pieceSHA1   []byte
	pieceSHA256 []byte
}

// File is a regular file, or a symlink if Target is set.
type File struct {
	Path    string      // relative to the tree's root, slash-separated, clean, checked
	Offset  int64       // of the file's first byte within the package
	Length  int64       // bytes; 0 for a symlink
	Mode    fs.FileMode // permission bits only
	ModTime time.Time
	Target  string   // of a symlink: relative, slash-separated, stays within the tree; empty: a regular file
	SHA256  [32]byte // of the content; zero for a symlink
}

// Dir is a folder of the tree.
type Dir struct {
	Path    string // as File.Path
	Mode    fs.FileMode
	ModTime time.Time
}

// Span is a stretch of one file.
type Span struct {
	File   int   // index in Manifest.Files
	Offset int64 // within the file
	Length int64 // > 0
}

// Raw is the file's bytes, as a stock BitTorrent client reads them. The caller must not change them.
func (m *Manifest) Raw() []byte { return m.raw }

// NumPieces is the number of pieces; 0 for a package without a byte.
func (m *Manifest) NumPieces() int { return len(m.pieceSHA256) / 32 }

// PieceOffset is where piece i begins within the package, in bytes.
func (m *Manifest) PieceOffset(i PieceIndex) int64 { return int64(i) * m.PieceLength }

// PieceSize is the length of piece i in bytes: PieceLength for all but the last.
func (m *Manifest) PieceSize(i PieceIndex) int64 {
	return min(m.PieceLength, m.Length-m.PieceOffset(i))
}

// PieceSHA256 is the signed hash of piece i: the one that is checked.
func (m *Manifest) PieceSHA256(i PieceIndex) (sum [32]byte) {
	copy(sum[:], m.pieceSHA256[int(i)*32:])
	return sum
}

// PieceSHA1 is the torrent's own hash of piece i (BEP 3), for stock clients and the engine.
func (m *Manifest) PieceSHA1(i PieceIndex) (sum [20]byte) {
	copy(sum[:], m.pieceSHA1[int(i)*20:])
	return sum
}

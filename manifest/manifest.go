// Package manifest is the vocabulary every room shares and the gate strangers' files come through.
//
// A manifest is a BitTorrent v1 metainfo file (BEP 3, BEP 47) with two more top-level keys: "handout" says what a
// torrent cannot (version, origins, SHA-256 of every piece and file, times, modes, empty folders, policy) and
// "handout-signatures" holds minisign signatures over the exact bytes of "handout". Build makes one from a tree,
// Open checks one. Whoever holds a *Manifest from Open may rely on it: signature, paths, sizes and counts were checked.
//
// Everything believed is either in "handout" or in "info", whose SHA-256 stands in "handout", so one signature covers
// it all. The other top-level keys (url-list, announce, comment) are for stock clients: Open never reads them.
package manifest

import (
	"encoding/hex"
	"io/fs"
	"sort"
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
	Top   *Dir   // the tree's root, with an empty Path; nil: a single file, or made by a handout that did not say

	Dropped []Dropped // what the publisher's tree has and no package carries, by Trait

	// NonWindowsNames is true where the publisher waived the rules for names on Windows: whoever writes the tree
	// there calls CheckWindows first. What is unsafe everywhere was refused all the same.
	NonWindowsNames bool

	Signatures []Signature // one for each signature in the file; empty: unsigned

	raw         []byte
	info        []byte // within raw
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

// InfoBytes is the torrent's info dictionary as it stands in Raw: what InfoHash is the SHA-1 of. The caller must not
// change it.
func (m *Manifest) InfoBytes() []byte { return m.info }

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

// Spans says in which files the package's bytes [off, off+n) lie, in their order. What lies outside the package is
// left out, and so are empty files: no span is empty.
func (m *Manifest) Spans(off, n int64) []Span {
	end := m.Length
	if n < end-off { // and not off+n < end, which may overflow
		end = off + n
	}
	off = max(off, 0)
	var spans []Span
	first := sort.Search(len(m.Files), func(i int) bool { return m.Files[i].Offset+m.Files[i].Length > off })
	for i := first; i < len(m.Files) && off < end; i++ {
		f := &m.Files[i]
		length := min(end, f.Offset+f.Length) - off
		if length <= 0 {
			continue
		}
		spans = append(spans, Span{File: i, Offset: off - f.Offset, Length: length})
		off += length
	}
	return spans
}

// Expired reports whether the package's time is over at now. A clock that stands before the package was made cannot
// be right (an installer's says 1980 where its battery is empty) and expires nothing.
func (m *Manifest) Expired(now time.Time) bool {
	return !m.Expires.IsZero() && !now.Before(m.Created) && !now.Before(m.Expires)
}

package sources

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"handout/manifest"
)

// Corrupt reports bytes that don't match the manifest: the origin's fault, or of something on the way. Nothing of the
// piece may be used.
type Corrupt struct {
	Piece  manifest.PieceIndex
	Origin string   // whoever sent it
	Files  []string // which may be wrong, by their paths: those known to be where that can be told, else all of the piece
	Doubt  string   // what the origin found odd about one of them; "": nothing
}

func (e *Corrupt) Error() string {
	text := fmt.Sprintf("piece %d from %s does not match the manifest: %s", e.Piece, e.Origin, strings.Join(e.Files, ", "))
	if e.Doubt != "" {
		text += ": " + e.Doubt
	}
	return text
}

// Check holds data, piece i as read from o, against the manifest: nil, or a *Corrupt.
func Check(o Origin, m *manifest.Manifest, i manifest.PieceIndex, data []byte) error {
	if sha256.Sum256(data) == m.PieceSHA256(i) {
		return nil
	}
	c := &Corrupt{Piece: i, Origin: o.String()}
	var partly []string
	at := int64(0)
	for _, s := range m.Spans(m.PieceOffset(i), int64(len(data))) {
		f := &m.Files[s.File]
		part := data[at : at+s.Length]
		at += s.Length
		switch {
		case s.Length < f.Length:
			partly = append(partly, f.Path)
		case sha256.Sum256(part) != f.SHA256:
			c.Files = append(c.Files, f.Path)
		}
	}
	if len(c.Files) == 0 {
		c.Files = partly
	}
	for _, path := range c.Files {
		if m.Single {
			path = "" // as it was asked for
		}
		if c.Doubt = doubt(o, path); c.Doubt != "" {
			break
		}
	}
	return c
}

package manifest

import (
	"bytes"
	"crypto/sha1"
	"path"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	library "aead.dev/minisign"
)

func signText(k PrivateKey, message []byte) []byte {
	r := library.NewReader(bytes.NewReader(message))
	if _, err := r.Read(make([]byte, len(message)+1)); err != nil {
		panic(err)
	}
	var s library.Signature
	if err := s.UnmarshalText(r.SignWithComments(k.key, "a test", "")); err != nil {
		panic(err)
	}
	return canonical(s)
}

// checkInvariants asserts, in words other than Open's, what everyone who holds a Manifest relies on.
func checkInvariants(t testing.TB, m *Manifest) {
	t.Helper()
	if m.InfoHash != sha1.Sum(m.InfoBytes()) || !bytes.Contains(m.Raw(), m.InfoBytes()) {
		t.Error("the info-hash is not that of the info bytes")
	}
	offset := int64(0)
	kinds := map[string]string{"": "folder"}
	for _, d := range m.Dirs {
		if kinds[path.Dir("/" + d.Path)[1:]] != "folder" {
			t.Errorf("folder %q comes before its parent", d.Path)
		}
		if kinds[d.Path] != "" {
			t.Errorf("folder %q comes twice", d.Path)
		}
		kinds[d.Path] = "folder"
		checkPathInvariants(t, d.Path)
	}
	for _, f := range m.Files {
		if f.Offset != offset || f.Length < 0 {
			t.Errorf("%q lies at %d and has %d bytes; %d come before", f.Path, f.Offset, f.Length, offset)
		}
		offset += f.Length
		if kinds[f.Path] != "" {
			t.Errorf("%q is a %s, too", f.Path, kinds[f.Path])
		}
		kinds[f.Path] = "file"
		if !m.Single && kinds[path.Dir("/" + f.Path)[1:]] != "folder" {
			t.Errorf("%q does not lie in a folder", f.Path)
		}
		checkPathInvariants(t, f.Path)
		if f.Mode&^0o777 != 0 {
			t.Errorf("%q has the mode %v", f.Path, f.Mode)
		}
		if f.Target != "" {
			if in := path.Join("/x", path.Dir(f.Path), f.Target); path.IsAbs(f.Target) || in != "/x" && !strings.HasPrefix(in, "/x/") {
				t.Errorf("%q leads out to %q", f.Path, f.Target)
			}
		}
	}
	if offset != m.Length {
		t.Errorf("%d bytes of files, length %d", offset, m.Length)
	}
	if m.Single && (len(m.Files) != 1 || m.Files[0].Path != m.Root || len(m.Dirs) > 0) {
		t.Error("a single file that is not alone")
	}
	if len(m.pieceSHA1) != 20*m.NumPieces() || len(m.pieceSHA256) != 32*m.NumPieces() {
		t.Error("hashes of half a piece")
	}
	if m.PieceLength <= 0 || m.BlockSize <= 0 || m.BlockSize > m.PieceLength {
		t.Errorf("pieces of %d, blocks of %d", m.PieceLength, m.BlockSize)
	}
	sum := int64(0)
	for i := range m.NumPieces() {
		size := m.PieceSize(PieceIndex(i))
		if size <= 0 || size > m.PieceLength {
			t.Errorf("piece %d has %d bytes", i, size)
		}
		sum += size
	}
	if sum != m.Length {
		t.Errorf("%d bytes in pieces, length %d", sum, m.Length)
	}
	if m.Top != nil && (m.Single || m.Top.Path != "" || m.Top.Mode&^0o777 != 0) {
		t.Errorf("the root is %+v", m.Top)
	}
	last := Trait("")
	for _, d := range m.Dropped {
		if d.Trait <= last || d.Count < 1 || d.Count > MaxFiles+MaxDirs+1 || d.Example != "" {
			t.Errorf("dropped: %+v", d)
		}
		last = d.Trait
	}
	checkReencoding(t, m)
}

func checkPathInvariants(t testing.TB, p string) {
	t.Helper()
	if p == "" || path.Clean(p) != p || path.IsAbs(p) || p == ".." || strings.HasPrefix(p, "../") || !utf8.ValidString(p) ||
		strings.ContainsAny(p, "\x00\n\r\x1b") {
		t.Errorf("path %q", p)
	}
}

// checkReencoding: what Build would write of this manifest, Open reads as the same.
func checkReencoding(t testing.TB, m *Manifest) {
	t.Helper()
	again, err := Open(encode(m, forStockClients{}), Trust{AllowUnsigned: true})
	if err != nil {
		t.Errorf("encoded once more: %v", err)
		return
	}
	if !sameContent(again, m) {
		t.Errorf("encoded once more it reads\n%+v, not\n%+v", again, m)
	}
}

// sameContent compares all that a manifest says, but not the bytes it was read from, nor who signed it.
func sameContent(a, b *Manifest) bool {
	x, y := *a, *b
	for _, m := range []*Manifest{&x, &y} {
		m.raw, m.info, m.Signatures, m.InfoHash = nil, nil, nil, InfoHash{}
		m.pieceSHA1, m.pieceSHA256 = append([]byte{}, m.pieceSHA1...), append([]byte{}, m.pieceSHA256...)
		m.Origins = append([]string{}, m.Origins...)
	}
	return reflect.DeepEqual(x, y)
}

package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"handout/manifest"
)

// What Wine cannot show of what follows: that NTFS fills nothing before a write far out in a sparse file (it asks Linux), that
// a real scanner lets go in time, who has a file open, and how a volume with case-sensitive folders behaves.

// oneFile is a package of one file with so many bytes.
func oneFile(t *testing.T, size int) packed {
	t.Helper()
	source := filepath.Join(fastDir(t), "source.img")
	must(t, os.WriteFile(source, file(size, 1).data, 0o600))
	return packDir(t, source, manifest.MinPieceLength)
}

// hold opens a file as a scanner does: others may read and write it, but not rename or remove it.
func hold(t *testing.T, path string) windows.Handle {
	t.Helper()
	wide, err := windows.UTF16PtrFromString(path)
	must(t, err)
	h, err := windows.CreateFile(wide, windows.GENERIC_READ, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil,
		windows.OPEN_EXISTING, 0, 0)
	must(t, err)
	return h
}

func same(t *testing.T, p packed, dest string) {
	t.Helper()
	data, err := os.ReadFile(dest)
	must(t, err)
	if string(data) != string(p.bytes) {
		t.Errorf("%s has other content", dest)
	}
}

// TestScannerHoldsTheFile: publication waits for a scanner that lets go, and names the file where it does not.
func TestScannerHoldsTheFile(t *testing.T) {
	p := oneFile(t, 100_000)
	dest := filepath.Join(fastDir(t), "dest.img")
	tree := p.open(t, dest, Options{})
	p.fill(t, tree)
	staged := filepath.Join(filepath.Dir(dest), stagingName("dest.img"), treeName, p.m.Files[0].Path)
	h := hold(t, staged)
	err := tree.Publish(t.Context())
	wantErr(t, err, ErrInUse)
	if !strings.Contains(err.Error(), p.m.Files[0].Path) {
		t.Errorf("the error does not name the file: %v", err)
	}
	time.AfterFunc(200*time.Millisecond, func() { windows.CloseHandle(h) })
	must(t, tree.Publish(t.Context()))
	same(t, p, dest)
}

// TestReadOnlyDestinationIsReplaced: the attribute protects a file from mistakes, not from --replace.
func TestReadOnlyDestinationIsReplaced(t *testing.T) {
	p := oneFile(t, 100_000)
	dest := filepath.Join(fastDir(t), "dest.img")
	must(t, os.WriteFile(dest, []byte("old"), 0o400))
	p.publish(t, dest, Options{Replace: true})
	same(t, p, dest)
	onlyThis(t, dest)
}

// TestLongPath: a destination beyond the 260 characters that older calls know.
func TestLongPath(t *testing.T) {
	p := oneFile(t, 100_000)
	dest := fastDir(t)
	for len(dest) < 400 {
		dest = filepath.Join(dest, strings.Repeat("folder", 8))
	}
	dest = filepath.Join(dest, "dest.img")
	p.publish(t, dest, Options{})
	same(t, p, dest)
}

// TestSparseFile: a piece far out in a large file does not fill all before it.
func TestSparseFile(t *testing.T) {
	p := oneFile(t, 8<<20)
	dest := filepath.Join(fastDir(t), "dest.img")
	tree := p.open(t, dest, Options{})
	last := p.m.NumPieces() - 1
	must(t, tree.Put(manifest.PieceIndex(last), p.piece(last)))
	h := hold(t, filepath.Join(filepath.Dir(dest), stagingName("dest.img"), treeName, p.m.Files[0].Path))
	var standard struct { // FILE_STANDARD_INFO
		allocation, end int64
		links           uint32
		flags           [4]byte
	}
	err := windows.GetFileInformationByHandleEx(h, windows.FileStandardInfo, (*byte)(unsafe.Pointer(&standard)), uint32(unsafe.Sizeof(standard)))
	windows.CloseHandle(h)
	must(t, err)
	if standard.allocation > 2<<20 || standard.end != p.m.Length {
		t.Errorf("one piece of %d bytes makes a file of %d that takes up %d", len(p.piece(last)), standard.end, standard.allocation)
	}
	p.fill(t, tree)
	must(t, tree.Publish(t.Context()))
	same(t, p, dest)
}

// TestOtherCase: where case makes no difference, a destination by another spelling is the same one.
func TestOtherCase(t *testing.T) {
	p := oneFile(t, 100_000)
	dir := fastDir(t)
	p.publish(t, filepath.Join(dir, "Dest.img"), Options{})
	again := p.open(t, filepath.Join(dir, "DEST.IMG"), Options{})
	if !again.Published() {
		t.Error("not recognised")
	}
}

package manifest

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDropped: what a package does not carry is counted, with an example, and the signed manifest has the counts.
func TestDropped(t *testing.T) {
	tree := writeTree(t, "pkg", map[string]string{"a": "a", "b*": "b", "c/d": "d", "plain": "p", "l>": "a"})
	full := func(p string) string { return filepath.Join(tree, p) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	acl := binary.LittleEndian.AppendUint32(nil, 2) // POSIX_ACL_XATTR_VERSION
	for _, e := range [][2]uint16{{1, 6}, {2, 4}, {4, 4}, {16, 6}, {32, 4}} {
		acl = binary.LittleEndian.AppendUint16(acl, e[0])
		acl = binary.LittleEndian.AppendUint16(acl, e[1])
		acl = binary.LittleEndian.AppendUint32(acl, 1234)
	}
	if err := unix.Setxattr(full("a"), "user.comment", []byte("x"), 0); err != nil {
		t.Skipf("needs a file system with extended attributes for its temporary folder: %v", err)
	}
	must(unix.Setxattr(full("c"), "user.origin", []byte("x"), 0))
	must(unix.Setxattr(full("a"), "system.posix_acl_access", acl, 0))
	must(unix.Setxattr(full("c"), "system.posix_acl_default", acl, 0))
	must(os.Chmod(full("b"), fs.ModeSetuid|fs.ModeSetgid|0o755))
	must(os.Chmod(full("c"), fs.ModeSticky|0o777))
	must(os.Chmod(tree, fs.ModeSetgid|0o750))
	must(os.Link(full("plain"), full("c/same")))
	must(os.Link(full("plain"), full("c/same too")))
	must(os.Link(full("a"), filepath.Join(filepath.Dir(tree), "outside"))) // one name of it only is in the tree
	want := "acl 2 a (system.posix_acl_access), hard link 2 , setgid 2 ., setuid 1 b, sticky 1 c, xattrs 2 a (user.comment)"
	if os.Geteuid() == 0 {
		capability := append(binary.LittleEndian.AppendUint32(nil, 0x02000001), make([]byte, 16)...)
		capability[5] = 0x20 // CAP_NET_RAW
		must(unix.Setxattr(full("b"), "security.capability", capability, 0))
		must(unix.Setxattr(full("c/d"), "security.NTACL", []byte("x"), 0))
		want = "acl 3 a (system.posix_acl_access), capabilities 1 b, " + want[strings.Index(want, "hard"):]
	}
	var survey Survey
	m := open(t, build(t, tree, BuildOptions{Survey: &survey}))
	var got []string
	for _, d := range survey.Dropped {
		if d.Trait == TraitHardLink {
			d.Example = "" // whichever was seen later
		}
		got = append(got, fmt.Sprint(d.Trait, " ", d.Count, " ", d.Example))
	}
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("dropped: %s\nwant: %s", s, want)
	}
	if len(m.Dropped) != len(survey.Dropped) {
		t.Fatalf("the manifest says %v", m.Dropped)
	}
	for i, d := range m.Dropped {
		if s := survey.Dropped[i]; d.Trait != s.Trait || d.Count != s.Count || d.Example != "" {
			t.Errorf("the manifest says %+v", d)
		}
	}
	if m.Top == nil || m.Top.Mode != 0o750 || m.Files[1].Mode != 0o755 {
		t.Errorf("%+v, %+v", m.Top, m.Files[1])
	}
	checkInvariants(t, m)
	if m := open(t, build(t, full("b"), BuildOptions{})); m.Top != nil || len(m.Dropped) == 0 || m.Files[0].Mode != 0o755 {
		t.Errorf("a single file: %+v", m)
	}
}

// TestTop: the root's mode and time are in the manifest and outside the info-hash.
func TestTop(t *testing.T) {
	tree := writeTree(t, "pkg", map[string]string{"a": "a"})
	created := time.Unix(1e9, 0)
	when := time.Unix(-7, 123456789).UTC()
	var hashes []InfoHash
	for _, mode := range []fs.FileMode{0o700, 0o755, 0o2775 &^ 0o2000, 0o555} {
		if err := os.Chmod(tree, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(tree, when, when); err != nil {
			t.Fatal(err)
		}
		m := open(t, build(t, tree, BuildOptions{Created: created}))
		if m.Top == nil || m.Top.Mode != mode || !m.Top.ModTime.Equal(when) || m.Top.Path != "" {
			t.Errorf("%v: %+v", mode, m.Top)
		}
		checkInvariants(t, m)
		hashes = append(hashes, m.InfoHash)
	}
	if hashes[0] != hashes[1] {
		t.Error("the info-hash changes with the root's mode")
	}
}

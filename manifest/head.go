package manifest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// HeadSize is how many bytes of a file CheckHead needs to tell what it is, if the file has as many: an ISO image names
// itself behind 32 KiB.
const HeadSize = 36 << 10

// CheckHead holds the first bytes of a file against what every manifest begins with. Its error, an ErrInvalid, names the
// file as what it is: many are given in a manifest's place, the package's own image above all, and a server that wants
// people to log in answers with a page.
func CheckHead(head []byte) error {
	if key, ok := bytes.CutPrefix(head, []byte("d")); ok { // a dictionary, and the length of its first key
		if rest := bytes.TrimLeft(key, "0123456789"); len(rest) < len(key) && len(rest) > 0 && rest[0] == ':' {
			return nil
		}
	}
	return fmt.Errorf("%w: it is %s", ErrInvalid, kindOf(head))
}

// magics are how files of a kind begin: a is what stands at an offset.
var magics = []struct {
	at   int
	a    string
	what string
}{
	{0, "\x1f\x8b", "gzip data: unpack it first"},
	{0, "BZh", "bzip2 data: unpack it first"},
	{0, "\xfd7zXZ\x00", "xz data: unpack it first"},
	{0, "\x28\xb5\x2f\xfd", "zstd data: unpack it first"},
	{0, "\x04\x22\x4d\x18", "lz4 data: unpack it first"},
	{0, "PK\x03\x04", "a zip archive, or what is packed as one"},
	{0, "PK\x05\x06", "an empty zip archive"},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive"},
	{0, "Rar!\x1a\x07", "a rar archive"},
	{0, "MSCF", "a cabinet file"},
	{0, "!<arch>\n", "a .deb package or another ar archive"},
	{0, "\xed\xab\xee\xdb", "an RPM package"},
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an MSI package or another OLE file"},
	{257, "ustar", "a tar archive"},
	{0, "MSWIM\x00\x00\x00", "a Windows image (WIM)"},
	{0, "WLPWM\x00\x00\x00", "a Windows image in parts (SWM)"},
	{0, "vhdxfile", "a disk image (VHDX)"},
	{0, "conectix", "a disk image (VHD)"},
	{0, "QFI\xfb", "a disk image (qcow2)"},
	{0, "KDMV", "a disk image (VMDK)"},
	{0x40, "\x7f\x10\xda\xbe", "a disk image (VDI)"},
	{0, "hsqs", "a squashfs image"},
	{32769, "CD001", "a disk image (ISO 9660)"},
	{32769, "BEA01", "a disk image (UDF)"},
	{512, "EFI PART", "a disk image (with a GUID partition table)"},
	{3, "NTFS    ", "a disk image (NTFS)"},
	{54, "FAT1", "a disk image (FAT)"},
	{82, "FAT32", "a disk image (FAT)"},
	{0x438, "\x53\xef", "a disk image (ext4 or its like)"},
	{510, "\x55\xaa", "a disk image (with a boot sector)"},
	{0, "\x7fELF", "a program (ELF)"},
	{0, "MZ", "a program (Windows)"},
	{0, "%PDF", "a PDF document"},
	{0, "\x89PNG", "a picture"},
	{0, "\xff\xd8\xff", "a picture"},
	{0, "GIF8", "a picture"},
	{0, "\xff\xfe", "a text in UTF-16"},
	{0, "\xfe\xff", "a text in UTF-16"},
}

// words are how texts of a kind begin, in lower case.
var words = []struct{ begin, what string }{
	{"magnet:", "a magnet link: handout takes a .torrent file"},
	{"ed2k:", "an ed2k link"},
	{"#!", "a script"},
	{"untrusted comment: minisign encrypted", "a secret key: keep it to yourself"},
	{"untrusted comment: minisign public", "a public key: it goes behind --trust"},
	{"untrusted comment:", "a key or a signature of minisign"},
	{"-----begin", "a key or a certificate (PEM)"},
	{"version https://git-lfs", "a pointer of Git LFS: the file itself was not fetched"},
	{"http://", "a link: give it in the file's place"},
	{"https://", "a link: give it in the file's place"},
	{"{", "JSON"},
	{"[internetshortcut]", "a link (Windows shortcut)"},
	{"[[", "a text, perhaps a config"},
	{"[", "a text, perhaps JSON or a config"},
}

// kindOf names what begins with head.
func kindOf(head []byte) string {
	if len(head) == 0 {
		return "empty"
	}
	for _, m := range magics {
		if len(head) >= m.at+len(m.a) && string(head[m.at:m.at+len(m.a)]) == m.a {
			return m.what
		}
	}
	switch {
	case len(bytes.Trim(head, "\x00")) == 0:
		return "nothing but zeros: was its transfer cut off?"
	case len(head) >= 4 && binary.LittleEndian.Uint32(head) == 0x0000004c:
		return "a Windows shortcut"
	}
	text := strings.ToLower(string(bytes.TrimLeft(bytes.TrimPrefix(head[:min(len(head), 2048)], []byte("\xef\xbb\xbf")), " \t\r\n")))
	switch {
	case strings.HasPrefix(text, "<?xml"), strings.HasPrefix(text, "<metalink"):
		if strings.Contains(text, "<metalink") {
			return "a Metalink: handout takes a .torrent file"
		}
		if strings.Contains(text, "<html") {
			return page
		}
		return "XML"
	case strings.HasPrefix(text, "<"):
		for _, tag := range []string{"<!doctype html", "<html", "<head", "<body", "<script", "<title", "<meta", "<!--", "<h1", "<p", "<div", "<center"} {
			if strings.HasPrefix(text, tag) {
				return page
			}
		}
		return "XML or HTML"
	}
	for _, w := range words {
		if strings.HasPrefix(text, w.begin) {
			return w.what
		}
	}
	if start := head[:min(len(head), 512)]; isText(start) {
		return "a text"
	}
	return fmt.Sprintf("of another kind: it begins with % x", head[:min(len(head), 8)])
}

const page = "an HTML page: does somebody have to log in there, or is the address wrong?"

// isText reports whether b, which may end within a character, is one.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 && len(b) >= utf8.UTFMax || r < ' ' && r != '\t' && r != '\n' && r != '\r' {
			return false
		}
		b = b[n:]
	}
	return true
}

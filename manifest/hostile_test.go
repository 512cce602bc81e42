package manifest

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"handout/manifest/internal/bencode"
)

// vector is an attack and the reason for which it is refused; an empty reason: it is none.
type vector struct {
	threat string
	raw    []byte
	reason string
}

// spoil makes a vector of a small right manifest.
func spoil(threat, reason string, how func(d draft)) vector {
	d := draftOf("a/", "a/file", "b>a/file")
	how(d)
	return vector{threat, d.encode(), reason}
}

// names makes a vector of a manifest that is right but for the names in it.
func names(threat, reason string, entries ...string) vector {
	return vector{threat, draftOf(entries...).encode(), reason}
}

// elements makes a vector of a file whose path has these elements.
func elements(threat, reason string, path ...string) vector {
	return spoil(threat, reason, func(d draft) { d.file(0)["path"] = path })
}

func vectors() []vector {
	right := draftOf("a/", "a/file", "b>a/file").encode()
	long := strings.Repeat("x", MaxElement)
	deep := strings.Repeat("x/", MaxPath/2) + "x"
	var list []vector
	list = append(list,
		vector{"nothing is wrong", right, ""},
		names("nothing to hand out", ""),

		// Bencoding.
		vector{"nothing", nil, "ends too early"},
		vector{"no dictionary", []byte("i1e"), "where a dictionary should be"},
		vector{"cut short", right[:len(right)-1], "ends too early"},
		vector{"padded", append(slices.Clone(right), 0), "more after the end"},
		vector{"two in one file", slices.Concat(right, right), "more after the end"},
		vector{"a string longer than the file", []byte("d4:info99999999:e"), "a string of 99999999 bytes"},
		vector{"a string length beyond 64 bits", []byte("d4:info99999999999999999999:e"), "too large"},
		vector{"a negative string length", []byte("d4:info-1:e"), "no digit"},
		vector{"leading zeros", []byte("d4:infoi007ee"), "leading zeros"},
		vector{"minus zero", []byte("d4:infoi-0ee"), "minus zero"},
		vector{"an integer without an end", []byte("d4:infoi12"), "ends too early"},
		vector{"nested to exhaust the stack", []byte("d1:x" + strings.Repeat("l", 1<<20)), "nested deeper"},
		vector{"larger than the limit", make([]byte, MaxSize+1), "over the limit"},
		vector{"two info dictionaries", []byte("d4:infode4:infodee"), "none twice"},
		vector{"keys out of order", []byte("d4:infode7:handoutdee"), "must ascend"},
		spoil("a thousand top-level keys", "top level", func(d draft) {
			for i := range 1000 {
				d.top[fmt.Sprint(i)] = 0
			}
		}),

		// What a manifest consists of.
		vector{"a plain torrent", encodeAny(dict{"info": draftOf("f").info}), "neither SHA-256 nor a signature"},
		vector{"no info", encodeAny(dict{"handout": dict{}}), `no "info" key`},
		spoil("info is no dictionary", "should be", func(d draft) {
			sum := sha256.Sum256(encodeAny("text"))
			d.top["info"], d.handout["info sha256"] = "text", sum[:]
		}),
		spoil("the signed section is for another info", "its SHA-256 differs", func(d draft) {
			d.top["info"] = draftOf("a/", "a/evil", "b>a/file").info
		}),
		spoil("the hash of info is cut short", "has 5 bytes", func(d draft) { d.handout["info sha256"] = "short" }),
		spoil("unknown keys", "", func(d draft) {
			d.top["azureus"], d.info["source"], d.handout["zzz"] = dict{"a": 1}, "somewhere", []any{1, "a"}
		}),
		spoil("a list where text should be", "should be", func(d draft) { d.info["name"] = []any{} }),

		// Another opinion for other programs.
		spoil("paths only the engine would read", "otherwise than we do", func(d draft) {
			d.file(0)["path.utf-8"] = []string{"..", "evil"}
		}),
		spoil("a name only the engine would read", "otherwise than we do", func(d draft) { d.info["name.utf-8"] = ".." }),
		spoil("a hybrid torrent", "otherwise than we do", func(d draft) { d.info["meta version"] = 2 }),
		spoil("a version 2 tree", "otherwise than we do", func(d draft) { d.info["file tree"] = dict{} }),
		spoil("one file and many", "either files or a length", func(d draft) { d.info["length"] = 5 }),
		spoil("neither one file nor many", "either files or a length", func(d draft) { delete(d.info, "files") }),

		// Sizes and counts.
		spoil("a negative size", "a file of -1 bytes", func(d draft) { d.file(0)["length"] = -1 }),
		spoil("a size beyond 64 bits", "too large", func(d draft) {
			d.file(0)["length"] = verbatim("i9223372036854775808e")
		}),
		spoil("a huge size", "a file of", func(d draft) { d.file(0)["length"] = 1 << 62 }),
		vector{"sizes that overflow together", func() []byte {
			d := draftOf("a", "b")
			d.file(0)["length"], d.file(1)["length"] = MaxLength, MaxLength
			return d.encode()
		}(), "in all"},
		spoil("no size", "no length", func(d draft) { delete(d.file(0), "length") }),
		spoil("a piece too few", "pieces need", func(d draft) { d.info["pieces"] = "" }),
		spoil("a piece too many", "pieces need", func(d draft) { d.info["pieces"] = make([]byte, 40) }),
		spoil("half a piece hash", "pieces need", func(d draft) { d.info["pieces"] = make([]byte, 10) }),
		spoil("a SHA-256 too few", "pieces need", func(d draft) { d.handout["piece sha256"] = "" }),
		spoil("a file's SHA-256 missing", "bytes of SHA-256", func(d draft) { d.handout["file sha256"] = make([]byte, 32) }),
		spoil("a mode missing", "of modes", func(d draft) { d.handout["modes"] = "" }),
		spoil("a time missing", "of times", func(d draft) { d.handout["mtimes"] = "" }),
		spoil("a folder's mode missing", "folders", func(d draft) { d.handout["dir modes"] = "" }),
		spoil("pieces of no length", "piece length 0", func(d draft) { d.info["piece length"] = 0 }),
		spoil("pieces of negative length", "piece length -16384", func(d draft) { d.info["piece length"] = -16384 }),
		spoil("pieces of one byte", "piece length 1:", func(d draft) { d.info["piece length"] = 1 }),
		spoil("pieces of a GiB", "piece length", func(d draft) { d.info["piece length"] = 1 << 30 }),
		spoil("pieces of an odd length", "piece length", func(d draft) { d.info["piece length"] = 100_000 }),
		spoil("blocks of no length", "block size 0", func(d draft) { d.handout["policy"] = dict{} }),
		spoil("blocks longer than pieces", "block size", func(d draft) { d.handout["policy"] = dict{"block size": 1 << 15} }),
		spoil("a million origins", "more than 64 origins", func(d draft) {
			d.handout["origins"] = make([]string, 1_000_000)
		}),
		spoil("a setuid bit", "more than permissions", func(d draft) { d.handout["modes"] = "\x09\xed\x01\xff" }),
		spoil("a mode against the attribute", "contradict", func(d draft) { d.handout["modes"] = "\x01\xed\x01\xff" }),
		spoil("an attribute nobody knows", "contradict", func(d draft) { d.file(0)["attr"] = "p" }),
		spoil("a file's hash against its piece's", "not that of piece 0", func(d draft) {
			d.handout["file sha256"] = make([]byte, 64)
		}),
		vector{"an empty file with a hash of something", func() []byte {
			d := draftOf("f")
			d.file(0)["length"], d.info["pieces"], d.handout["piece sha256"] = 0, "", ""
			return d.encode()
		}(), "an empty file"},

		// Words and dates.
		spoil("no name", "name is empty", func(d draft) { delete(d.handout, "name") }),
		spoil("a name that moves the cursor", "control character", func(d draft) { d.handout["name"] = "\x1b[2J" }),
		spoil("a version that is no text", "UTF-8", func(d draft) { d.handout["version"] = "\xff" }),
		spoil("an endless name", "over the limit", func(d draft) { d.handout["name"] = strings.Repeat("n", 1000) }),
		spoil("no date", "date or the serial", func(d draft) { delete(d.handout, "created") }),
		spoil("no serial", "date or the serial", func(d draft) { delete(d.handout, "serial") }),
		spoil("a negative serial", `"serial" is -1`, func(d draft) { d.handout["serial"] = -1 }),
		spoil("a date beyond the calendar", "not between", func(d draft) { d.handout["created"] = 1 << 60 }),
		spoil("expired before it was made", "expires before", func(d draft) { d.handout["expires"] = 1 }),
		spoil("an origin with a password", "manifest is public", func(d draft) {
			d.handout["origins"] = []string{"https://user:secret@origin.example/"}
		}),
		spoil("a share with a password", "manifest is public", func(d draft) {
			d.handout["origins"] = []string{"smb://lab;imaging:secret@fs/pkg"}
		}),
		spoil("a share with an empty password", "manifest is public", func(d draft) {
			d.handout["origins"] = []string{"smb://imaging:@fs/pkg"}
		}),
		spoil("a share with a password in its user's name", "manifest is public", func(d draft) {
			d.handout["origins"] = []string{"SMB://imaging%3Asecret@fs/pkg"}
		}),
		spoil("a share with a user that moves the cursor", "no text", func(d draft) {
			d.handout["origins"] = []string{"smb://%1b%5b2J@fs/pkg"}
		}),
		spoil("a share with a user that is no text", "no text", func(d draft) {
			d.handout["origins"] = []string{"smb://%ff%fe@fs/pkg"}
		}),
		spoil("a share with a password behind what is no URL", "no URL", func(d draft) {
			d.handout["origins"] = []string{"smb://u:secret@fs:port/pkg"}
		}),
		spoil("a share and who is to read it", "", func(d draft) {
			d.handout["origins"] = []string{"smb://lab;imaging@fs/pkg", "smb://imaging@fs:4455/pkg"}
		}),
		spoil("a web server and who is to read it", "only smb:", func(d draft) {
			d.handout["origins"] = []string{"https://user@origin.example/"}
		}),
		spoil("an origin that moves the cursor", "control character", func(d draft) {
			d.handout["origins"] = []string{"https://origin.example/\x1b[2J"}
		}),
		spoil("an empty origin", "is empty", func(d draft) { d.handout["origins"] = []string{""} }),

		// Paths that lead elsewhere, everywhere.
		elements("up and out", `element ".."`, "..", "evil"),
		elements("up and out at the end", `element ".."`, "a", ".."),
		elements("up within the tree", `element ".."`, "a", "..", "file"),
		elements("the folder itself", `element "."`, "a", "."),
		elements("an absolute path in one element", "slash in it", "/etc/passwd"),
		elements("an absolute path by an empty element", "absolute", "", "etc", "passwd"),
		elements("a slash in an element", "slash in it", "a/../../evil"),
		elements("an empty element", "empty element", "a", "", "file"),
		elements("an empty path", "is empty"),
		elements("an empty name", "is empty", ""),
		elements("NUL", "control character U+0000", "a", "fi\x00le"),
		elements("a control character", "control character U+001B", "a", "\x1b[2Jfile"),
		elements("a control character of the second kind", "control character U+009B", "a", "\u009b2J"),
		elements("not UTF-8", "UTF-8", "a", "\xff\xfe"),
		elements("an overlong encoding of a slash", "UTF-8", "a", "..\xc0\xafevil"),
		elements("an element over the limit", "over the limit of 255", "a", long+"x"),
		elements("a path over the limit", "over the limit", strings.Split(deep, "/")...),
		spoil("a root that leads out", `element ".."`, func(d draft) { d.info["name"] = ".." }),
		spoil("a root of two elements", "slash", func(d draft) { d.info["name"] = "a/b" }),
		spoil("an absolute root", "absolute", func(d draft) { d.info["name"] = "/etc" }),
		spoil("no root", "empty", func(d draft) { delete(d.info, "name") }),
		spoil("a device as root", "device", func(d draft) { d.info["name"] = "NUL" }),
		vector{"a single file with a folder", func() []byte {
			d := draftOf("root", "x/")
			d.info["length"] = 5
			delete(d.info, "files")
			return d.encode()
		}(), "single file"},
		vector{"a single symlink", func() []byte {
			d := draftOf("root>.")
			d.info["length"], d.info["attr"] = 0, "l"
			delete(d.info, "files")
			return d.encode()
		}(), "that is a symlink"},
		names("a folder that leads out", `element ".."`, "../", "a"),

		// Paths that clash.
		names("one path twice", "comes twice", "a", "a"),
		names("one folder twice", "comes twice", "a/", "a/"),
		names("paths out of order", "must ascend", "b", "a"),
		names("a file and a folder", "a file and a folder", "a/", "a"),
		names("a file under a file", "under the file", "a", "a/b"),
		names("a file under a symlink", "under the symlink", "a>b", "a/b", "b"),
		names("a file deep under a symlink", "under the symlink", "a/", "a/b>c", "a/b/c/d/e"),
		names("a folder under a symlink", "under the symlink", "a>b", "a/b/"),
		names("a folder not listed", "not listed", "a/b"),
		names("names that differ in case", "only in case", "README", "readme"),
		names("folders that differ in case", "only in case", "A/", "A/x", "a/", "a/y"),
		names("a symlink that differs in case from a folder", "only in case", "A>b", "a/", "a/file", "b/"),
		names("case beyond ASCII", "only in case", "ÄPFEL", "äpfel"),
		names("the Kelvin sign is a K", "only in case", "k", "\u212a"),
		names("NFC and NFD are two names", "", "u\u0308", "ü"),

		// Names Windows reads otherwise.
		names("a drive", "not possible on Windows", "C:/", "C:/evil"),
		elements("a drive-relative path", "not possible on Windows", "C:evil"),
		names("a UNC path", "not possible on Windows", `\\server\share/`, `\\server\share/evil`),
		names("a device path", "not possible on Windows", `\\?\C:/`, `\\?\C:/evil`),
		elements("backslashes up and out", "not possible on Windows", `..\..\evil`),
		elements("an alternate data stream", "not possible on Windows", "a", "file:stream"),
		elements("the folder's own index stream", "not possible on Windows", "a", "file::$INDEX_ALLOCATION"),
		elements("wildcards", "not possible on Windows", "a", "*.exe"),
		elements("the null device", "device", "a", "NUL"),
		elements("the null device with an extension", "device", "a", "nul.txt"),
		elements("the null device with two", "device", "a", "Nul.tar.gz"),
		names("the console", "device", "CON/", "CON/file"),
		elements("the console's input", "device", "a", "conin$"),
		elements("a serial port", "device", "a", "com1"),
		elements("a superscript serial port", "device", "a", "COM²"),
		elements("a printer with a space", "device", "a", "LPT1 .txt"),
		elements("a dot at the end", "dot or a space", "a", "file."),
		names("three dots", "dot or a space", ".../", ".../evil"),
		names("dots and a space", "dot or a space", ".. /", ".. /evil"),
		elements("a space at the end", "dot or a space", "a", "file "),

		// Symlinks.
		names("out of the tree", "out of the tree", "l>../evil"),
		names("out of the tree from below", "out of the tree", "a/", "a/l>../../evil"),
		names("down, then out", "out of the tree", "l>a/../../evil"),
		names("an absolute target", "absolute", "l>/etc/passwd"),
		names("an empty target", "empty", "l>"),
		names("NUL in a target", "control character", "l>a\x00b"),
		names("an endless target", "over the limit", "l>"+strings.Repeat("x/", MaxTarget)+"x"),
		names("a drive as a target", "not possible on Windows", `l>C:\Windows`),
		names("a share as a target", "not possible on Windows", `l>\\server\share`),
		names("backslashes in a target", "not possible on Windows", `l>..\..\evil`),
		names("in circles", "circle", "a>b", "b>a"),
		names("to itself", "circle", "a>a"),
		names("out through another", "through other symlinks", "a/", "a/b/", "a/b/top>../..", "a/b/x>top/../evil"),
		names("out through another in another case", "through other symlinks", "a/", "a/b/", "a/b/top>../..", "a/b/x>TOP/../evil"),
		names("out through two others", "through other symlinks",
			"a/", "a/b/", "a/b/c/", "a/b/c/1>../..", "a/b/c/2>1/..", "a/b/c/3>2/../evil"),
		names("within, through another", "", "a/", "a/b/", "a/b/x>../../up/../f", "f", "up>a/b"),
		names("to the root", "", "a/", "a/top>.."),
		names("dangling", "", "l>not/there"),
		names("through fifty others", "symlinks on its way", chainOfLinks(50)...),
		spoil("a target the torrent contradicts", "the torrent says", func(d draft) {
			d.file(1)["symlink path"] = []string{"a"}
		}),
		spoil("a target too many", "more than symlinks", func(d draft) { d.handout["links"] = []string{"a/file", "a"} }),
		spoil("a target too few", "no target", func(d draft) { d.handout["links"] = []string{} }),
		spoil("a symlink with content", "content of its own", func(d draft) {
			d.file(0)["length"], d.file(1)["length"] = 0, 5
			empty := sha256.Sum256(nil)
			d.handout["file sha256"] = append(empty[:], make([]byte, 32)...)
		}),
		// The tree's root, and what no package carries.
		spoil("the root's mode and time", "", func(d draft) { d.handout["root mode"], d.handout["root mtime"] = 0o700, -5 }),
		spoil("a root that is setuid", "is 04755", func(d draft) { d.handout["root mode"], d.handout["root mtime"] = 0o4755, 0 }),
		spoil("a root of a negative mode", "is -01", func(d draft) { d.handout["root mode"], d.handout["root mtime"] = -1, 0 }),
		spoil("a root with a mode and no time", "without the other", func(d draft) { d.handout["root mode"] = 0o755 }),
		spoil("a root with a time and no mode", "without the other", func(d draft) { d.handout["root mtime"] = 0 }),
		spoil("a root of a mode in words", "an integer should be", func(d draft) { d.handout["root mode"] = "0755" }),
		spoil("traits that were dropped", "", func(d draft) { d.handout["dropped"] = dict{"acl": 1, "setuid": MaxFiles} }),
		spoil("a trait of later days", "", func(d draft) { d.handout["dropped"] = dict{"acl": 1, "colour": []string{"red"}} }),
		spoil("a trait of no file", "of 0 files", func(d draft) { d.handout["dropped"] = dict{"acl": 0} }),
		spoil("a trait of more than there can be", "files and folders", func(d draft) { d.handout["dropped"] = dict{"acl": 1 << 40} }),
		spoil("a trait twice", "none twice", func(d draft) { d.handout["dropped"] = verbatim("d3:acli1e3:acli1ee") }),
		spoil("traits that are a list", "a dictionary should be", func(d draft) { d.handout["dropped"] = []string{"acl"} }),
		spoil("half a symlink", "where a symlink leads to", func(d draft) { delete(d.file(1), "attr") }),
	)
	return list
}

// chainOfLinks is l01 that leads to l02, and so on n times.
func chainOfLinks(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("l%02d>l%02d", i, i+1))
	}
	slices.SortFunc(list, cmp.Compare)
	return list
}

// TestHostileManifests: a trusted key has signed every one of these, and it helps none.
func TestHostileManifests(t *testing.T) {
	private, public, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors() {
		t.Run(v.threat, func(t *testing.T) {
			for name, trust := range map[string]Trust{
				"unsigned": {AllowUnsigned: true},
				"signed":   {Keys: []PublicKey{public}},
			} {
				raw := v.raw
				if name == "signed" {
					f, err := readFrame(raw)
					if err != nil {
						continue // there is nothing in it to sign
					}
					raw = f.withSignatures([][]byte{signText(private, f.signedBytes())})
				}
				m, err := Open(raw, trust)
				switch {
				case v.reason == "" && err != nil:
					t.Errorf("%s: refused: %v", name, err)
				case v.reason == "":
					checkInvariants(t, m)
				case err == nil:
					t.Errorf("%s: accepted; it should say %q", name, v.reason)
				case !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), v.reason):
					t.Errorf("%s: refused with %q, should be %q", name, err, v.reason)
				case strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x9b }):
					t.Errorf("%s: the error has control characters in it: %q", name, err)
				case strings.Contains(err.Error(), "secret"):
					t.Errorf("%s: the error tells the password: %q", name, err)
				case len(err.Error()) > 2000:
					t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
				}
			}
		})
	}
}

// TestWaivedWindowsNames: the waiver lets in what only Windows cannot have, and nothing else.
func TestWaivedWindowsNames(t *testing.T) {
	for _, v := range vectors() {
		d, err := waive(v.raw)
		if err != nil {
			continue // no whole manifest
		}
		m, err := Open(d, Trust{AllowUnsigned: true})
		windows := strings.Contains(v.reason, "Windows") || strings.Contains(v.reason, "device") ||
			strings.Contains(v.reason, "dot or a space") || strings.Contains(v.reason, "only in case") ||
			v.threat == "out through another in another case"
		switch {
		case (err == nil) != (windows || v.reason == ""):
			t.Errorf("%s: %v", v.threat, err)
		case err == nil && windows == (m.CheckWindows() == nil):
			t.Errorf("%s: CheckWindows says %v", v.threat, m.CheckWindows())
		case err == nil && windows && strings.Contains(v.reason, "Windows") && !errors.Is(m.CheckWindows(), ErrWindowsName):
			t.Errorf("%s: %v is not ErrWindowsName", v.threat, m.CheckWindows())
		}
	}
}

// waive sets the key that waives the rules for Windows.
func waive(raw []byte) ([]byte, error) {
	f, err := readFrame(raw)
	if err != nil {
		return nil, err
	}
	d := dict{}
	r := bencode.NewReader(f.handout)
	if err := r.Dict(func(key []byte) error {
		value, err := r.Raw()
		d[string(key)] = verbatim(value)
		return err
	}); err != nil {
		return nil, err
	}
	d[keyNonWindows] = 1
	return encodeAny(dict{"info": verbatim(f.info), "handout": d}), nil
}

package manifest

import (
	"crypto/sha256"
	"encoding/binary"
	"net/url"
	"path"
	"slices"
	"strings"

	"handout/manifest/internal/bencode"
)

// The keys of the "handout" dictionary; concatenated binary values run along the files or folders in their order.
const (
	keyCreated     = "created"      // seconds since 1970
	keyDirModes    = "dir modes"    // two bytes each
	keyDirMtimes   = "dir mtimes"   // eight bytes each
	keyDirs        = "dirs"         // list of paths
	keyDropped     = "dropped"      // dictionary: for each Trait the number of files and folders; absent: none, or not looked for
	keyExpires     = "expires"      // seconds since 1970; absent: never
	keyFileSHA256  = "file sha256"  // 32 bytes each; zero for a symlink
	keyInfoSHA256  = "info sha256"  // 32 bytes
	keyLinks       = "links"        // targets of the symlinks, in the order of their files, as the tree has them
	keyModes       = "modes"        // two bytes each: permission bits, most significant byte first
	keyMtimes      = "mtimes"       // eight bytes each: signed nanoseconds since 1970, most significant byte first
	keyName        = "name"         //
	keyNonWindows  = "non-windows"  // 1: the rules for names on Windows were waived; absent: they hold
	keyOrigins     = "origins"      // list of URLs
	keyPieceSHA256 = "piece sha256" // 32 bytes each
	keyPolicy      = "policy"       // dictionary: "block size"
	keyTopMode     = "root mode"    // permission bits of the tree's root; absent, with the next: as the machine makes it
	keyTopMtime    = "root mtime"   // signed nanoseconds since 1970
	keySerial      = "serial"       //
	keyVersion     = "version"      // absent: none

	keyBlockSize = "block size"
)

const (
	keyHandout    = "handout"
	keyInfo       = "info"
	keySignatures = "handout-signatures"
)

// forStockClients is what is written for other BitTorrent clients alone and is not signed.
type forStockClients struct {
	announce string
	urlList  []string
}

// encode writes m as an unsigned torrent file. It believes m: Build hands the result to Open before anyone else sees it.
func encode(m *Manifest, stock forStockClients) []byte {
	info := encodeInfo(m)
	b := make([]byte, 0, 2*len(info)+4096)
	b = append(b, 'd')
	if stock.announce != "" {
		b = bencode.AppendString(b, "announce")
		b = bencode.AppendString(b, stock.announce)
	}
	b = bencode.AppendString(b, "created by")
	b = bencode.AppendString(b, "handout")
	b = bencode.AppendString(b, "creation date")
	b = bencode.AppendInt(b, m.Created.Unix())
	b = bencode.AppendString(b, keyHandout)
	b = appendHandout(b, m, sha256.Sum256(info))
	b = bencode.AppendString(b, keyInfo)
	b = append(b, info...)
	if len(stock.urlList) > 0 {
		b = bencode.AppendString(b, "url-list")
		b = bencode.AppendStrings(b, stock.urlList)
	}
	return append(b, 'e')
}

// encodeInfo writes the info dictionary (BEP 3) with the attributes of BEP 47. There is no "private" key: it would
// stop stock clients from finding each other on the LAN.
func encodeInfo(m *Manifest) []byte {
	b := []byte{'d'}
	if m.Single {
		b = appendAttr(b, &m.Files[0])
	} else {
		b = bencode.AppendString(b, "files")
		b = append(b, 'l')
		for i := range m.Files {
			b = appendFile(b, &m.Files[i])
		}
		b = append(b, 'e')
	}
	if m.Single {
		b = bencode.AppendString(b, "length")
		b = bencode.AppendInt(b, m.Length)
	}
	b = bencode.AppendString(b, "name")
	b = bencode.AppendString(b, m.Root)
	b = bencode.AppendString(b, "piece length")
	b = bencode.AppendInt(b, m.PieceLength)
	b = bencode.AppendString(b, "pieces")
	b = bencode.AppendString(b, m.pieceSHA1)
	return append(b, 'e')
}

func appendFile(b []byte, f *File) []byte {
	b = append(b, 'd')
	b = appendAttr(b, f)
	b = bencode.AppendString(b, "length")
	b = bencode.AppendInt(b, f.Length)
	b = bencode.AppendString(b, "path")
	b = bencode.AppendStrings(b, strings.Split(f.Path, "/"))
	if f.Target != "" {
		b = bencode.AppendString(b, "symlink path")
		b = bencode.AppendStrings(b, symlinkPath(f))
	}
	return append(b, 'e')
}

// symlinkPath is where the symlink f leads to, in elements from the tree's root (BEP 47); none: the root itself.
func symlinkPath(f *File) []string {
	resolved, _ := lexicalTarget(f.Path, f.Target)
	if resolved == "" {
		return nil
	}
	return strings.Split(resolved, "/")
}

func appendAttr(b []byte, f *File) []byte {
	attr := attrOf(f)
	if attr == "" {
		return b
	}
	b = bencode.AppendString(b, "attr")
	return bencode.AppendString(b, attr)
}

// attrOf is what BEP 47 can say of f: "l" a symlink, "x" its owner may execute it.
func attrOf(f *File) string {
	switch {
	case f.Target != "":
		return "l"
	case f.Mode&0o100 != 0:
		return "x"
	}
	return ""
}

func appendHandout(b []byte, m *Manifest, infoSHA256 [32]byte) []byte {
	var dirs, links []string
	var dirModes, dirMtimes, modes, mtimes, sums []byte
	for _, d := range m.Dirs {
		dirs = append(dirs, d.Path)
		dirModes = binary.BigEndian.AppendUint16(dirModes, uint16(d.Mode))
		dirMtimes = binary.BigEndian.AppendUint64(dirMtimes, uint64(d.ModTime.UnixNano()))
	}
	for _, f := range m.Files {
		modes = binary.BigEndian.AppendUint16(modes, uint16(f.Mode))
		mtimes = binary.BigEndian.AppendUint64(mtimes, uint64(f.ModTime.UnixNano()))
		sums = append(sums, f.SHA256[:]...)
		if f.Target != "" {
			links = append(links, f.Target)
		}
	}

	putInt := func(key string, n int64) {
		b = bencode.AppendInt(bencode.AppendString(b, key), n)
	}
	putBytes := func(key string, s []byte) {
		b = bencode.AppendString(bencode.AppendString(b, key), s)
	}
	putList := func(key string, list []string) {
		b = bencode.AppendStrings(bencode.AppendString(b, key), list)
	}
	b = append(b, 'd')
	putInt(keyCreated, m.Created.Unix())
	putBytes(keyDirModes, dirModes)
	putBytes(keyDirMtimes, dirMtimes)
	putList(keyDirs, dirs)
	if len(m.Dropped) > 0 {
		b = append(bencode.AppendString(b, keyDropped), 'd')
		for _, d := range m.Dropped {
			putInt(string(d.Trait), int64(d.Count))
		}
		b = append(b, 'e')
	}
	if !m.Expires.IsZero() {
		putInt(keyExpires, m.Expires.Unix())
	}
	putBytes(keyFileSHA256, sums)
	putBytes(keyInfoSHA256, infoSHA256[:])
	putList(keyLinks, links)
	putBytes(keyModes, modes)
	putBytes(keyMtimes, mtimes)
	putBytes(keyName, []byte(m.Name))
	if m.NonWindowsNames {
		putInt(keyNonWindows, 1)
	}
	putList(keyOrigins, m.Origins)
	putBytes(keyPieceSHA256, m.pieceSHA256)
	b = bencode.AppendString(b, keyPolicy)
	b = append(b, 'd')
	putInt(keyBlockSize, m.BlockSize)
	b = append(b, 'e')
	if m.Top != nil {
		putInt(keyTopMode, int64(m.Top.Mode))
		putInt(keyTopMtime, m.Top.ModTime.UnixNano())
	}
	putInt(keySerial, int64(m.Serial))
	if m.Version != "" {
		putBytes(keyVersion, []byte(m.Version))
	}
	return append(b, 'e')
}

// urlList is what BEP 19 lets stock clients use of origins: those on HTTP whose last element is the root's name, since
// such a client puts that name behind the URL itself.
func urlList(origins []string, root string, single bool) []string {
	var list []string
	for _, origin := range origins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
			continue
		}
		if path.Base(u.Path) != root || single && strings.HasSuffix(u.Path, "/") {
			continue
		}
		if !single {
			u = u.JoinPath("..")
			u = u.JoinPath("/")
		}
		list = append(list, u.String())
	}
	return slices.Compact(list)
}

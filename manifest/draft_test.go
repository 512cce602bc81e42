package manifest

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"handout/manifest/internal/bencode"
)

// dict is a dictionary for the tests' own encoder, which writes whatever it is told, keys in order.
type dict map[string]any

// verbatim is written as it is.
type verbatim string

func encodeAny(v any) []byte {
	switch v := v.(type) {
	case int:
		return bencode.AppendInt(nil, int64(v))
	case string:
		return bencode.AppendString(nil, v)
	case []byte:
		return bencode.AppendString(nil, v)
	case verbatim:
		return []byte(v)
	case []string:
		return bencode.AppendStrings(nil, v)
	case []any:
		b := []byte{'l'}
		for _, e := range v {
			b = append(b, encodeAny(e)...)
		}
		return append(b, 'e')
	case dict:
		b := []byte{'d'}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b = append(bencode.AppendString(b, key), encodeAny(v[key])...)
		}
		return append(b, 'e')
	}
	panic(fmt.Sprintf("no bencoding for %T", v))
}

// draft is a manifest before it is encoded. draftOf makes right ones, the tests then spoil them.
type draft struct{ info, handout, top dict }

func (d draft) encode() []byte {
	info := encodeAny(d.info)
	if _, ok := d.handout["info sha256"]; !ok {
		sum := sha256.Sum256(info)
		d.handout["info sha256"] = sum[:]
	}
	if _, ok := d.top["info"]; !ok {
		d.top["info"] = verbatim(info)
	}
	if _, ok := d.top["handout"]; !ok {
		d.top["handout"] = verbatim(encodeAny(d.handout))
	}
	return encodeAny(d.top)
}

func (d draft) file(i int) dict { return d.info["files"].([]any)[i].(dict) }

// draftOf is a right manifest of files, symlinks ("path>target") and folders ("path/"), of which only the names may be
// wrong. Every file holds five zeros.
func draftOf(entries ...string) draft {
	const size = 5
	pieceLength := MinPieceLength
	var files []any
	var sums, modes, mtimes, dirModes, dirMtimes []byte
	var links, dirs []string
	length := 0
	for _, e := range entries {
		if path, ok := strings.CutSuffix(e, "/"); ok {
			dirs = append(dirs, path)
			dirModes = append(dirModes, 1, 0o355)
			dirMtimes = append(dirMtimes, make([]byte, 8)...)
			continue
		}
		path, target, isLink := strings.Cut(e, ">")
		file := dict{"length": size, "path": strings.Split(path, "/")}
		sum := sha256.Sum256(make([]byte, size))
		if isLink {
			links = append(links, target)
			resolved, _ := lexicalTarget(path, target)
			file["attr"], file["length"], file["symlink path"] = "l", 0, strings.Split(resolved, "/")
			sum = [32]byte{}
		} else {
			length += size
		}
		files = append(files, file)
		sums = append(sums, sum[:]...)
		modes = binary.BigEndian.AppendUint16(modes, 0o644)
		mtimes = append(mtimes, make([]byte, 8)...)
	}
	var sha1s, sha256s []byte
	for left := length; left > 0; left -= pieceLength {
		piece := make([]byte, min(left, pieceLength))
		one, two := sha1.Sum(piece), sha256.Sum256(piece)
		sha1s, sha256s = append(sha1s, one[:]...), append(sha256s, two[:]...)
	}
	return draft{
		info: dict{"files": files, "name": "root", "piece length": pieceLength, "pieces": sha1s},
		handout: dict{
			"created": 1_700_000_000, "name": "Package", "serial": 1, "origins": []string{"https://origin.example/root"},
			"policy": dict{"block size": MinBlockSize}, "piece sha256": sha256s, "file sha256": sums, "modes": modes,
			"mtimes": mtimes, "links": links, "dirs": dirs, "dir modes": dirModes, "dir mtimes": dirMtimes,
		},
		top: dict{},
	}
}

package manifest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"handout/manifest/internal/bencode"

	"handout/manifest/amount"
)

// infoDict is the info dictionary as it was found; of what is in it only sizes and counts were looked at.
type infoDict struct {
	name        string
	single      bool
	length      int64
	pieceLength int64
	pieces      []byte
	files       []infoFile
}

type infoFile struct {
	path        string
	length      int64
	attr        string
	symlinkPath string // BEP 47: from the tree's root
}

// secondOpinion are keys from which the engine or another client would take other paths or sizes than those checked.
var secondOpinion = map[string]bool{"path.utf-8": true, "name.utf-8": true, "file tree": true, "meta version": true}

func readInfo(raw []byte) (*infoDict, error) {
	d := &infoDict{}
	single := infoFile{length: -1}
	hasFiles := false
	r := bencode.NewReader(raw)
	err := r.Dict(func(key []byte) (err error) {
		switch string(key) {
		case "attr":
			single.attr, err = readString(r)
		case "files":
			hasFiles = true
			d.files, err = readFiles(r)
		case "length":
			single.length, err = readLength(r)
		case "name":
			d.name, err = readString(r)
		case "piece length":
			d.pieceLength, err = r.Int()
		case "pieces":
			d.pieces, err = r.Bytes()
		default:
			if secondOpinion[string(key)] {
				return fmt.Errorf("it has the key %q, by which clients would read it otherwise than we do", key)
			}
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case hasFiles == (single.length >= 0):
		return nil, errors.New("it needs either files or a length")
	case single.attr == "l":
		return nil, errors.New("a package of a single file that is a symlink")
	case hasFiles && single.attr != "":
		return nil, errors.New("an attribute belongs to a file")
	case !hasFiles:
		d.single = true
		single.path = d.name
		d.files = []infoFile{single}
	}
	for _, f := range d.files {
		if d.length += f.length; d.length > MaxLength {
			return nil, fmt.Errorf("over %s in all", amount.Bytes(MaxLength))
		}
	}
	return d, nil
}

func readFiles(r *bencode.Reader) ([]infoFile, error) {
	var files []infoFile
	err := r.List(func() error {
		if len(files) == MaxFiles {
			return fmt.Errorf("more than %d files", MaxFiles)
		}
		f, err := readFile(r)
		files = append(files, f)
		return err
	})
	return files, err
}

func readFile(r *bencode.Reader) (infoFile, error) {
	f := infoFile{length: -1}
	isLink := false
	err := r.Dict(func(key []byte) (err error) {
		switch string(key) {
		case "attr":
			f.attr, err = readString(r)
		case "length":
			f.length, err = readLength(r)
		case "path":
			f.path, err = readElements(r)
		case "symlink path":
			isLink = true
			f.symlinkPath, err = readElements(r)
		default:
			if secondOpinion[string(key)] {
				return fmt.Errorf("a file has the key %q, by which clients would read it otherwise than we do", key)
			}
		}
		return err
	})
	switch {
	case err != nil:
		return f, err
	case f.length < 0:
		return f, fmt.Errorf("path %s: it has no length", quote(f.path))
	case isLink != (f.attr == "l"):
		return f, fmt.Errorf("path %s: attribute %q, but where a symlink leads to: %t", quote(f.path), f.attr, isLink)
	}
	return f, nil
}

func readString(r *bencode.Reader) (string, error) {
	b, err := r.Bytes()
	return string(b), err
}

func readLength(r *bencode.Reader) (int64, error) {
	n, err := r.Int()
	if err == nil && (n < 0 || n > MaxLength) {
		err = fmt.Errorf("a file of %d bytes", n)
	}
	return n, err
}

// readElements reads a path as BEP 3 writes it, element by element. A slash inside one would move the borders.
func readElements(r *bencode.Reader) (string, error) {
	var path []byte
	first := true
	err := r.List(func() error {
		element, err := r.Bytes()
		if err != nil {
			return err
		}
		if strings.Contains(string(element), "/") {
			return fmt.Errorf("path element %s: it has a slash in it", quote(string(element)))
		}
		if !first {
			path = append(path, '/')
		}
		first = false
		if path = append(path, element...); len(path) > MaxPath {
			return fmt.Errorf("path %s: over the limit of %d bytes", quote(string(path)), MaxPath)
		}
		return nil
	})
	return string(path), err
}

// handoutDict is the "handout" dictionary as it was found.
type handoutDict struct {
	infoSHA256       [32]byte
	name, version    string
	serial           uint64
	created, expires time.Time
	origins          []string
	blockSize        int64
	nonWindowsNames  bool

	pieceSHA256           []byte
	fileSHA256            []byte
	modes, mtimes         []byte
	links                 []string
	dirs                  []string
	dirModes, dirMtimes   []byte
	hasCreated, hasSerial bool

	top                     *Dir
	hasTopMode, hasTopMtime bool
	dropped                 []Dropped
}

func readHandout(raw []byte) (*handoutDict, error) {
	h := &handoutDict{}
	top := &Dir{}
	r := bencode.NewReader(raw)
	err := r.Dict(func(key []byte) (err error) {
		var n int64
		switch string(key) {
		case keyCreated:
			h.hasCreated = true
			h.created, err = readTime(r)
		case keyDirModes:
			h.dirModes, err = r.Bytes()
		case keyDirMtimes:
			h.dirMtimes, err = r.Bytes()
		case keyDirs:
			h.dirs, err = readStrings(r, MaxDirs, "folders")
		case keyDropped:
			h.dropped, err = readDropped(r)
		case keyExpires:
			h.expires, err = readTime(r)
		case keyFileSHA256:
			h.fileSHA256, err = r.Bytes()
		case keyInfoSHA256:
			var sum []byte
			if sum, err = r.Bytes(); err == nil && len(sum) != len(h.infoSHA256) {
				err = fmt.Errorf("%q has %d bytes", key, len(sum))
			}
			copy(h.infoSHA256[:], sum)
		case keyLinks:
			h.links, err = readStrings(r, MaxFiles, "symlinks")
		case keyModes:
			h.modes, err = r.Bytes()
		case keyMtimes:
			h.mtimes, err = r.Bytes()
		case keyName:
			h.name, err = readString(r)
		case keyNonWindows:
			if n, err = r.Int(); err == nil && n != 1 {
				err = fmt.Errorf("%q is %d", key, n)
			}
			h.nonWindowsNames = true
		case keyOrigins:
			h.origins, err = readStrings(r, MaxOrigins, "origins")
		case keyPieceSHA256:
			h.pieceSHA256, err = r.Bytes()
		case keyPolicy:
			err = r.Dict(func(key []byte) (err error) {
				if string(key) == keyBlockSize {
					h.blockSize, err = r.Int()
				}
				return err
			})
		case keyTopMode:
			if n, err = r.Int(); err == nil && n&^int64(fs.ModePerm) != 0 {
				err = fmt.Errorf("%q is %#o", key, n)
			}
			h.hasTopMode, top.Mode = true, fs.FileMode(n)
		case keyTopMtime:
			n, err = r.Int()
			h.hasTopMtime, top.ModTime = true, time.Unix(0, n).UTC()
		case keySerial:
			h.hasSerial = true
			if n, err = r.Int(); err == nil && n < 0 {
				err = fmt.Errorf("%q is %d", key, n)
			}
			h.serial = uint64(n)
		case keyVersion:
			h.version, err = readString(r)
		}
		return err
	})
	if err == nil && (!h.hasCreated || !h.hasSerial) {
		err = errors.New("the date or the serial is missing")
	}
	switch {
	case err != nil:
	case h.hasTopMode != h.hasTopMtime:
		err = fmt.Errorf("one of %q and %q without the other", keyTopMode, keyTopMtime)
	case h.hasTopMode:
		h.top = top
	}
	return h, err
}

// readDropped reads what the publisher's tree had besides. Traits that this handout does not know are passed over.
func readDropped(r *bencode.Reader) (all []Dropped, err error) {
	err = r.Dict(func(key []byte) error {
		if !slices.Contains(knownTraits, Trait(key)) {
			return nil
		}
		n, err := r.Int()
		if err == nil && (n < 1 || n > MaxFiles+MaxDirs+1) {
			err = fmt.Errorf("%q of %d files and folders", key, n)
		}
		all = append(all, Dropped{Trait: Trait(key), Count: int(n)})
		return err
	})
	return all, err
}

func readTime(r *bencode.Reader) (time.Time, error) {
	sec, err := r.Int()
	if err != nil {
		return time.Time{}, err
	}
	return unixTime(sec)
}

func readStrings(r *bencode.Reader, most int, what string) ([]string, error) {
	var list []string
	err := r.List(func() error {
		if len(list) == most {
			return fmt.Errorf("more than %d %s", most, what)
		}
		s, err := readString(r)
		list = append(list, s)
		return err
	})
	return list, err
}

// joinFiles puts together what info and handout say of the files.
func joinFiles(d *infoDict, h *handoutDict) ([]File, error) {
	n := len(d.files)
	if len(h.fileSHA256) != n*32 || len(h.modes) != n*2 || len(h.mtimes) != n*8 {
		return nil, fmt.Errorf("%d files, but %d bytes of SHA-256, %d of modes and %d of times",
			n, len(h.fileSHA256), len(h.modes), len(h.mtimes))
	}
	files := make([]File, n)
	links := h.links
	offset := int64(0)
	for i := range files {
		f := &files[i]
		f.Path, f.Length, f.Offset = d.files[i].path, d.files[i].length, offset
		offset += f.Length
		copy(f.SHA256[:], h.fileSHA256[i*32:])
		var err error
		if f.Mode, f.ModTime, err = readMeta(h.modes, h.mtimes, i); err != nil {
			return nil, fmt.Errorf("path %s: %w", quote(f.Path), err)
		}
		if d.files[i].attr != "l" {
			continue
		}
		if len(links) == 0 {
			return nil, fmt.Errorf("symlink %s: it has no target", quote(f.Path))
		}
		if f.Target, links = links[0], links[1:]; f.Target == "" {
			return nil, fmt.Errorf("symlink %s: its target is empty", quote(f.Path))
		}
	}
	if len(links) > 0 {
		return nil, fmt.Errorf("%d targets more than symlinks", len(links))
	}
	return files, nil
}

func joinDirs(h *handoutDict) ([]Dir, error) {
	n := len(h.dirs)
	if len(h.dirModes) != n*2 || len(h.dirMtimes) != n*8 {
		return nil, fmt.Errorf("%d folders, but %d bytes of modes and %d of times", n, len(h.dirModes), len(h.dirMtimes))
	}
	dirs := make([]Dir, n)
	for i := range dirs {
		d := &dirs[i]
		d.Path = h.dirs[i]
		var err error
		if d.Mode, d.ModTime, err = readMeta(h.dirModes, h.dirMtimes, i); err != nil {
			return nil, fmt.Errorf("path %s: %w", quote(d.Path), err)
		}
	}
	return dirs, nil
}

func readMeta(modes, mtimes []byte, i int) (fs.FileMode, time.Time, error) {
	mode := fs.FileMode(binary.BigEndian.Uint16(modes[i*2:]))
	if mode&^fs.ModePerm != 0 {
		return 0, time.Time{}, fmt.Errorf("mode %#o has more than permissions in it", uint16(mode))
	}
	return mode, time.Unix(0, int64(binary.BigEndian.Uint64(mtimes[i*8:]))).UTC(), nil
}

// The times that fit a manifest: nanoseconds in an int64, the years 1678 to 2262.
var (
	firstTime = time.Unix(0, math.MinInt64)
	lastTime  = time.Unix(0, math.MaxInt64)
)

// storableTime is the nearest time to t that fits a manifest.
func storableTime(t time.Time) time.Time {
	switch {
	case t.Before(firstTime):
		t = firstTime
	case t.After(lastTime):
		t = lastTime
	}
	return time.Unix(0, t.UnixNano()).UTC()
}

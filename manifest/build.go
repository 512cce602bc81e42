package manifest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"handout/manifest/amount"
)

// BuildOptions is what a publisher says about a package. The zero value makes one without a name of its own, a
// version, an origin or an end.
type BuildOptions struct {
	Root    string // the torrent's name; empty: the last element of the tree's path
	Name    string // of the package, shown to people; empty: Root
	Version string // free text
	Serial  uint64 // must fit an int64; the caller sees to it that it grows
	Origins []string

	Announce string // URL of a tracker for stock clients; we use none; empty: none

	PieceLength          int64 // bytes, a power of two; 0: PieceLengthFor the tree's size
	Interop              bool  // blocks of 16 KiB, so that stock clients answer us too
	AllowNonWindowsNames bool  // waive the rules that CheckWindows knows

	// Exclude leaves out what one of these patterns matches, as Select knows them. Such a folder is not even opened.
	Exclude []string
	Survey  *Survey // Build fills it in, also if it fails; nil: nobody asks

	Created time.Time // seconds count; zero: now
	Expires time.Time // seconds count; zero: never

	// Progress is told the bytes hashed and their total, from several goroutines but one call at a time. nil: nobody.
	Progress func(done, total int64)
}

// Build reads the tree, a folder or one file, and returns the unsigned manifest of it: regular files, symlinks, folders,
// permission bits and modification times. Files are ordered by the bytes of their paths, so that one tree always gives
// one info-hash. What a package can't hold or can't be read is Faults, all of it at once; what changes while it is read is
// an error that names it.
// Hashing keeps all cores busy; see hashTree for what it takes in memory.
func Build(ctx context.Context, tree string, o BuildOptions) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("publish %s: %w", quote(tree), err) }
	m, err := describe(o)
	if err != nil {
		return fail(err)
	}
	if m.Root, err = rootName(tree, o.Root); err != nil {
		return fail(err)
	}
	if m.Name == "" {
		m.Name = m.Root
	}
	// All that can be refused is refused before the long work.
	if err := errors.Join(checkWords(m.Name, m.Version), checkOrigins(m.Origins), checkRoot(m.Root, m.NonWindowsNames)); err != nil {
		return fail(err)
	}
	found, err := survey(ctx, tree, m, o)
	if err != nil {
		return fail(err)
	}
	if err := m.layOut(o); err != nil {
		return fail(err)
	}
	if err := hashTree(ctx, m, found, o.Progress); err != nil {
		if errors.Is(err, fs.ErrPermission) { // then perhaps there are more
			faults := &Faults{}
			faults.openEach(ctx, found)
			err = cmp.Or(faults.found(), err)
		}
		return fail(err)
	}
	raw := encode(m, forStockClients{announce: o.Announce, urlList: urlList(m.Origins, m.Root, m.Single)})
	// The gate has the last word: nothing is published that the other side would refuse.
	if _, err := Open(raw, Trust{AllowUnsigned: true}); err != nil {
		return fail(err)
	}
	return raw, nil
}

// survey fills in what m says of the tree before anything is hashed, and returns what was found for each of m.Files.
func survey(ctx context.Context, tree string, m *Manifest, o BuildOptions) ([]found, error) {
	w, err := newWalker(ctx, o)
	if err != nil {
		return nil, err
	}
	found, err := w.walk(tree, m)
	if o.Survey != nil {
		*o.Survey = w.survey(m)
	}
	if err != nil {
		return nil, err
	}
	if err := checkTree(m.Files, m.Dirs, m.NonWindowsNames, w.faults.add); err != nil {
		return nil, err
	}
	if w.faults.Count() > 0 {
		w.faults.openEach(ctx, found)
		return nil, &w.faults
	}
	if w.exclude.count.Load() > 0 && len(m.Files)+len(m.Dirs) == 0 {
		return nil, fmt.Errorf("%w: everything in it is excluded", ErrNothingThere)
	}
	return found, nil
}

func describe(o BuildOptions) (*Manifest, error) {
	created := o.Created
	if created.IsZero() {
		created = time.Now()
	}
	m := &Manifest{
		Name:            o.Name,
		Version:         o.Version,
		Serial:          o.Serial,
		Origins:         o.Origins,
		NonWindowsNames: o.AllowNonWindowsNames,
	}
	if int64(o.Serial) < 0 {
		return nil, fmt.Errorf("serial %d is too large", o.Serial)
	}
	var err error
	if m.Created, err = unixTime(created.Unix()); err != nil {
		return nil, fmt.Errorf("created: %w", err)
	}
	if !o.Expires.IsZero() {
		if m.Expires, err = unixTime(o.Expires.Unix()); err != nil {
			return nil, fmt.Errorf("expires: %w", err)
		}
		if m.Expires.Before(m.Created) {
			return nil, errors.New("it expires before it was created")
		}
	}
	if o.PieceLength != 0 {
		if err := checkPieceLength(o.PieceLength); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func rootName(tree, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	full, err := filepath.Abs(tree)
	if err != nil {
		return "", err
	}
	name := filepath.Base(full)
	if name == filepath.VolumeName(full) || os.IsPathSeparator(name[0]) {
		return "", errors.New("the top of a drive has no name: say which the package's folder is to have")
	}
	return name, nil
}

// layOut gives every file its place and settles pieces and blocks.
func (m *Manifest) layOut(o BuildOptions) error {
	for i := range m.Files {
		m.Files[i].Offset = m.Length
		if m.Length += m.Files[i].Length; m.Files[i].Length > MaxLength || m.Length > MaxLength {
			return fmt.Errorf("path %s: over %s in all", quote(m.Files[i].Path), amount.Bytes(MaxLength))
		}
	}
	m.PieceLength = o.PieceLength
	if m.PieceLength == 0 {
		m.PieceLength = PieceLengthFor(m.Length)
	}
	pieces := (m.Length + m.PieceLength - 1) / m.PieceLength
	if pieces > MaxPieces {
		return fmt.Errorf("%d pieces of %s, over the limit of %d: take longer ones", pieces, amount.Bytes(m.PieceLength), MaxPieces)
	}
	m.BlockSize = min(defaultBlockSize, m.PieceLength)
	if o.Interop {
		m.BlockSize = MinBlockSize
	}
	m.pieceSHA1 = make([]byte, pieces*20)
	m.pieceSHA256 = make([]byte, pieces*32)
	return nil
}

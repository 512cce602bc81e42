package manifest

import (
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"aead.dev/minisign"
)

// What Open refuses wraps one of these.
var (
	// ErrInvalid: the bytes are no manifest, contradict themselves, or describe what must not be written to a disk.
	ErrInvalid = errors.New("invalid manifest")
	// ErrUntrusted: no key that the caller trusts has signed these bytes.
	ErrUntrusted = errors.New("manifest not signed by a trusted key")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}

// Trust says whose manifests are taken.
type Trust struct {
	Keys []PublicKey
	// AllowUnsigned takes a manifest that none of Keys has signed: whoever could change it on its way decides what is
	// fetched. One that claims a signature by one of Keys and doesn't match it is refused all the same.
	AllowUnsigned bool
}

// Open checks raw and returns what it describes. It is the gate for what strangers send: nothing but the shape of raw
// is looked at before a signature is found right, and a signer is believed no path, size or count that does not
// stand up. Errors wrap ErrInvalid or ErrUntrusted and name the reason and the offending path, safe to print.
// Open keeps a copy of raw.
func Open(raw []byte, t Trust) (*Manifest, error) {
	f, err := readFrame(raw)
	if err != nil {
		return nil, err
	}
	signatures, err := t.judge(f)
	if err != nil {
		return nil, err
	}
	h, err := readHandout(f.handout)
	if err != nil {
		return nil, invalid("%q: %w", keyHandout, err)
	}
	if sha256.Sum256(f.info) != h.infoSHA256 {
		return nil, invalid("%q is not what %q was made for: its SHA-256 differs", keyInfo, keyHandout)
	}
	d, err := readInfo(f.info)
	if err != nil {
		return nil, invalid("%q: %w", keyInfo, err)
	}
	m, err := join(f, d, h)
	if err != nil {
		return nil, invalid("%w", err)
	}
	m.Signatures = signatures
	return m, nil
}

// join makes one manifest of the two halves if they fit together and describe what a package may be.
func join(f *frame, d *infoDict, h *handoutDict) (*Manifest, error) {
	m := &Manifest{
		InfoHash:        sha1.Sum(f.info),
		Root:            d.name,
		Single:          d.single,
		Name:            h.name,
		Version:         h.version,
		Serial:          h.serial,
		Created:         h.created,
		Expires:         h.expires,
		Origins:         h.origins,
		Length:          d.length,
		PieceLength:     d.pieceLength,
		BlockSize:       h.blockSize,
		NonWindowsNames: h.nonWindowsNames,
		raw:             f.raw,
		info:            f.info,
		pieceSHA1:       d.pieces,
		pieceSHA256:     h.pieceSHA256,
	}
	var err error
	if m.Files, err = joinFiles(d, h); err != nil {
		return nil, err
	}
	if m.Dirs, err = joinDirs(h); err != nil {
		return nil, err
	}
	if m.Top, m.Dropped = h.top, h.dropped; m.Top != nil && m.Single {
		return nil, errors.New("a folder's mode in a package of a single file")
	}
	return m, m.check(d)
}

// judge holds the signatures against the keys that are trusted.
func (t Trust) judge(f *frame) ([]Signature, error) {
	message := f.signedBytes()
	var list []Signature
	trusted, wrong := false, ""
	for _, s := range f.signatures {
		found := Signature{KeyID: keyID(s.parsed.KeyID)}
		for _, k := range t.Keys {
			if k.key.ID() != s.parsed.KeyID {
				continue
			}
			if minisign.Verify(k.key, message, s.text) {
				found.Trusted, found.Comment = true, s.parsed.TrustedComment
				trusted = true
				break
			}
			wrong = found.KeyID
		}
		list = append(list, found)
	}
	switch {
	case trusted:
		return list, nil
	case wrong != "":
		return nil, fmt.Errorf("%w: the signature by key %s does not match: it is over something else", ErrUntrusted, wrong)
	case t.AllowUnsigned:
		return list, nil
	case len(list) == 0:
		return nil, fmt.Errorf("%w: it has no signature", ErrUntrusted)
	}
	ids := make([]string, len(list))
	for i, s := range list {
		ids[i] = s.KeyID
	}
	return nil, fmt.Errorf("%w: it is signed by %s", ErrUntrusted, strings.Join(ids, ", "))
}

// check compares info with handout, and both with what a package may be.
func (m *Manifest) check(d *infoDict) error {
	if err := checkPieceLength(m.PieceLength); err != nil {
		return err
	}
	pieces := (m.Length + m.PieceLength - 1) / m.PieceLength
	if int64(len(m.pieceSHA1)) != pieces*sha1.Size {
		return fmt.Errorf("%d bytes of SHA-1 where %d pieces need %d", len(m.pieceSHA1), pieces, pieces*sha1.Size)
	}
	if int64(len(m.pieceSHA256)) != pieces*sha256.Size {
		return fmt.Errorf("%d bytes of SHA-256 where %d pieces need %d", len(m.pieceSHA256), pieces, pieces*sha256.Size)
	}
	if m.BlockSize < MinBlockSize || m.BlockSize > min(MaxBlockSize, m.PieceLength) || m.BlockSize&(m.BlockSize-1) != 0 {
		return fmt.Errorf("block size %d: it must be a power of two from %d to %d and no more than a piece",
			m.BlockSize, MinBlockSize, MaxBlockSize)
	}
	if err := checkRoot(m.Root, m.NonWindowsNames); err != nil {
		return err
	}
	if m.Single && len(m.Dirs) > 0 {
		return fmt.Errorf("path %s: a folder in a package of a single file", quote(m.Dirs[0].Path))
	}
	if err := checkTree(m.Files, m.Dirs, m.NonWindowsNames, firstFault); err != nil {
		return err
	}
	for i := range m.Files {
		if err := m.checkFile(&m.Files[i], &d.files[i]); err != nil {
			return err
		}
	}
	if err := checkWords(m.Name, m.Version); err != nil {
		return err
	}
	if !m.Expires.IsZero() && m.Expires.Before(m.Created) {
		return fmt.Errorf("it expires before it was created")
	}
	return checkOrigins(m.Origins)
}

// checkFile compares the two halves of what is said of one file.
func (m *Manifest) checkFile(f *File, inInfo *infoFile) error {
	if f.Target != "" {
		if f.Length != 0 || f.SHA256 != [32]byte{} {
			return fmt.Errorf("symlink %s: it has content of its own", quote(f.Path))
		}
		if want, _ := lexicalTarget(f.Path, f.Target); want != inInfo.symlinkPath {
			return fmt.Errorf("symlink %s to %s: the torrent says it leads to %s",
				quote(f.Path), quote(f.Target), quote(inInfo.symlinkPath))
		}
	}
	if inInfo.attr != attrOf(f) {
		return fmt.Errorf("path %s: attribute %q and mode %v contradict each other", quote(f.Path), inInfo.attr, f.Mode)
	}
	// Where a file is one piece, or none, its hash is known from elsewhere and must be the same.
	piece := PieceIndex(f.Offset / m.PieceLength)
	switch {
	case f.Target != "":
	case f.Length == 0 && f.SHA256 != sha256.Sum256(nil):
		return fmt.Errorf("path %s: an empty file with the SHA-256 of something", quote(f.Path))
	case f.Length > 0 && f.Offset == m.PieceOffset(piece) && f.Length == m.PieceSize(piece) && f.SHA256 != m.PieceSHA256(piece):
		return fmt.Errorf("path %s: its SHA-256 is not that of piece %d, which it fills", quote(f.Path), piece)
	}
	return nil
}

func checkPieceLength(n int64) error {
	if n < MinPieceLength || n > MaxPieceLength || n&(n-1) != 0 {
		return fmt.Errorf("piece length %d: it must be a power of two from %d to %d", n, MinPieceLength, MaxPieceLength)
	}
	return nil
}

// checkRoot: the root is one element, and becomes a folder's or a file's name.
func checkRoot(root string, windowsWaived bool) error {
	if err := CheckPath(root); err != nil {
		return err
	}
	if strings.Contains(root, "/") {
		return fmt.Errorf("name %s: it has a slash in it", quote(root))
	}
	if windowsWaived {
		return nil
	}
	return CheckWindows(root)
}

// checkWords looks at what is shown to people.
func checkWords(name, version string) error {
	for _, w := range []struct{ what, text string }{{"name", name}, {"version", version}} {
		reason := badText(w.text)
		if len(w.text) > MaxText {
			reason = fmt.Sprintf("it has %d bytes, over the limit of %d", len(w.text), MaxText)
		}
		if reason != "" {
			return fmt.Errorf("%s %s: %s", w.what, quote(w.text), reason)
		}
	}
	if name == "" {
		return errors.New("the package's name is empty")
	}
	return nil
}

// checkOrigins: an origin is text that a machine will act on and show; which kinds there are, sources knows.
func checkOrigins(origins []string) error {
	if len(origins) > MaxOrigins {
		return fmt.Errorf("%d origins, over the limit of %d", len(origins), MaxOrigins)
	}
	for i, o := range origins {
		reason := badText(o)
		switch {
		case o == "":
			reason = "it is empty"
		case len(o) > MaxOriginSize:
			reason = fmt.Sprintf("it has %d bytes, over the limit of %d", len(o), MaxOriginSize)
		case slices.Contains(origins[:i], o):
			reason = "it comes twice"
		case reason == "" && strings.Contains(o, "://"):
			// What may hold a password is not shown: everyone who reads the error would have it.
			if u, err := url.Parse(o); err != nil {
				return errors.New("an origin with :// in it that is no URL")
			} else if err := checkUser(u); err != nil {
				return err
			}
		}
		if reason != "" {
			return fmt.Errorf("origin %s: %s", quote(o), reason)
		}
	}
	return nil
}

// checkUser: a share may be named together with who is to read it, which tells no secret and nothing that a machine has no
// account for. With HTTP, where names often are keys, none goes into a manifest.
func checkUser(u *url.URL) error {
	_, password := u.User.Password()
	name := u.User.Username()
	switch {
	case u.User == nil:
		return nil
	case password || strings.Contains(name, ":"):
		return errors.New("an origin with a password in it: a manifest is public")
	case u.Scheme != "smb":
		return errors.New("an origin with a user's name in it: a manifest is public, and only smb: origins may name one")
	case badText(name) != "":
		return errors.New("an origin with a user's name in it that is no text")
	}
	return nil
}

// unixTime refuses years beyond 9999, which do not fit a date people read.
func unixTime(sec int64) (time.Time, error) {
	const year10000 = 253402300800
	if sec < 0 || sec >= year10000 {
		return time.Time{}, fmt.Errorf("the time %d is not between the years 1970 and 9999", sec)
	}
	return time.Unix(sec, 0).UTC(), nil
}

package store

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"handout/manifest"
	"handout/manifest/amount"
)

// Standing returns the manifest of the tree that was published at dest with Options.Keep: what it was then, not what has
// become of it since. It needs no lock. fs.ErrNotExist: nothing is known of dest.
//
// A kept manifest is a file like any other: it is believed as far as t believes its signature, and the tree only as far as
// sizes and times, or hashes, bear it out.
func Standing(dest string, t manifest.Trust) (*manifest.Manifest, error) {
	return readKept(dest, standingName, t)
}

// Growing returns the manifest of the tree that an unfinished run left, or fills now, in the staging folder of dest. It
// needs no lock. fs.ErrNotExist: there is none.
func Growing(dest string, t manifest.Trust) (*manifest.Manifest, error) {
	return readKept(dest, growingName, t)
}

func readKept(dest, name string, t manifest.Trust) (*manifest.Manifest, error) {
	root, err := openBeside(dest)
	if err != nil {
		return nil, wrap(err, "read the kept manifest of", dest)
	}
	defer root.Close()
	m, err := readManifest(root, name, t)
	return m, wrap(err, "read the kept manifest of", dest)
}

// openBeside opens the staging folder of a destination, without its lock. A symlink in its place is not followed.
func openBeside(dest string) (*os.Root, error) {
	_, parent, base, err := seatOf(dest, false)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return openWithin(parent, stagingName(base))
}

// readAtMost reads a regular file of at most max bytes.
func readAtMost(root *os.Root, name string, max int64) ([]byte, error) {
	// Opening a pipe that someone put there would wait for ever.
	if fi, err := root.Lstat(name); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("is a %v, not a file", fi.Mode().Type())
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(data)) > max {
		err = fmt.Errorf("is longer than %s", amount.Bytes(max))
	}
	return data, err
}

// keepManifest writes a manifest into the staging folder, whole or not at all.
func (s *staging) keepManifest(name string, m *manifest.Manifest) error {
	if there, err := readAtMost(s.root, name, manifest.MaxSize); err == nil && bytes.Equal(there, m.Raw()) {
		return nil
	}
	part := name + partSuffix
	f, err := s.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(m.Raw())
		if err == nil {
			err = f.Sync()
		}
		if err2 := f.Close(); err == nil {
			err = err2
		}
	}
	if err == nil {
		err = s.root.Rename(part, name)
	}
	return explain(err, "write", s.path(name))
}

// standing is the manifest's info-hash and the modification times of the tree that was published last, as far as the
// record knows; nil: nothing was.
func (s *staging) standing() (hash manifest.InfoHash, times []byte) {
	published := s.get(keyPublished)
	if len(published) < len(hash) {
		return hash, nil
	}
	return manifest.InfoHash(published[:len(hash)]), published[len(hash):]
}

// dropGrowing forgets the tree that grows. What stands at the destination stays known.
func (s *staging) dropGrowing() error {
	if s.journal != nil {
		s.journal.Close()
		s.journal = nil
	}
	for _, name := range []string{treeName, journalName, growingName} {
		if err := s.remove(name); err != nil {
			return err
		}
	}
	if s.get(keyInfoHash) == nil {
		return nil
	}
	return s.put(map[string][]byte{keyInfoHash: nil, keyPieces: nil, keyLinks: nil})
}

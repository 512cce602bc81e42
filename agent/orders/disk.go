package orders

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"handout/agent/atomicfile"
	"handout/manifest"
)

const (
	bookFile = "book.json"
	maxBook  = 64 << 20
)

// wireBook is a book on the disk. Orders and lists are kept as their texts, and are verified when they are read: the file
// is no authority of its own, but for the serials.
type wireBook struct {
	Keys    string      `json:"keys,omitempty"`
	Entries []wireEntry `json:"entries"`
}

type wireEntry struct {
	Name   string            `json:"name"`
	Text   string            `json:"text,omitempty"`
	Floors map[string]uint64 `json:"floors"` // by key
}

func (b *Book) save(list *taken[KeyList], entries map[string]*entry) error {
	w := wireBook{Entries: []wireEntry{}}
	if list != nil {
		w.Keys = string(list.text)
	}
	for name, e := range entries {
		w.Entries = append(w.Entries, wireEntry{name, string(e.newest.text), e.floors})
	}
	text, err := json.MarshalIndent(w, "", "\t")
	if err != nil {
		return err
	}
	return b.file().Write(text)
}

func (b *Book) file() atomicfile.State {
	return atomicfile.State{Path: filepath.Join(b.dir, bookFile), Mode: 0o640, Most: maxBook}
}

// read takes what save wrote. An order or a list whose key counts no more is left out.
func (b *Book) read(text []byte) error {
	var w wireBook
	if err := json.Unmarshal(text, &w); err != nil {
		return fmt.Errorf("%w (%w)", errDamaged, err)
	}
	if w.Entries == nil {
		return fmt.Errorf("%w (it is no book of orders)", errDamaged)
	}
	var list *taken[KeyList]
	if w.Keys != "" {
		var err error
		if list, err = b.readKeys([]byte(w.Keys)); err != nil {
			return err
		}
	}
	all := map[string]*entry{}
	for _, we := range w.Entries {
		e := &entry{newest: taken[Order]{what: Order{Name: we.Name}}, floors: we.Floors}
		if we.Text != "" {
			var err error
			if e.newest, err = readTaken([]byte(we.Text), we.Floors); err != nil {
				return err
			}
		}
		if we.Floors == nil || e.newest.what.Name != we.Name {
			return errDamaged
		}
		all[we.Name] = e
	}
	b.list, b.entries = list, b.valid(list, all)
	return nil
}

func (b *Book) readKeys(text []byte) (*taken[KeyList], error) {
	s, err := split(text, keysTag, MaxKeysSize)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", errDamaged, err)
	}
	t := &taken[KeyList]{id: s.id(), text: text}
	if t.what, err = readKeys(s.body); err != nil {
		return nil, fmt.Errorf("%w (%w)", errDamaged, err)
	}
	if t.signer, err = manifest.VerifyMessage(s.message, s.minisig, b.rules.Root); err != nil {
		b.log.Warn("the list of keys counts no more: the config names another root key", "error", err)
		return nil, nil
	}
	return t, nil
}

// readTaken reads an order that one of these keys has signed.
func readTaken(text []byte, signers map[string]uint64) (taken[Order], error) {
	s, err := split(text, orderTag, MaxOrderSize)
	if err != nil {
		return taken[Order]{}, fmt.Errorf("%w (%w)", errDamaged, err)
	}
	t := taken[Order]{id: s.id(), text: text}
	var keys []manifest.PublicKey
	for k := range signers {
		if key, err := manifest.ParsePublicKey(k); err == nil {
			keys = append(keys, key)
		}
	}
	if t.what, err = readOrder(s.body); err == nil {
		t.signer, err = manifest.VerifyMessage(s.message, s.minisig, keys)
	}
	if err != nil {
		return t, fmt.Errorf("%w (%w)", errDamaged, err)
	}
	return t, nil
}

// Manifests are files of the book's folder, named for their content.
const manifestEnd = ".torrent"

func (b *Book) manifestFile(id ID) string { return filepath.Join(b.dir, id.String()+manifestEnd) }

// Manifest is the manifest file with this content; fs.ErrNotExist: it is not here yet.
func (b *Book) Manifest(id ID) ([]byte, error) {
	if b.dir == "" {
		return nil, fs.ErrNotExist
	}
	raw, err := atomicfile.Read(b.manifestFile(id), manifest.MaxSize)
	if err == nil && sha256.Sum256(raw) == id || errors.Is(err, fs.ErrNotExist) {
		return raw, err
	}
	// The disk lost it: a neighbour has it.
	if err := os.Remove(b.manifestFile(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		if _, err := atomicfile.SetAside(b.manifestFile(id)); err != nil { // a folder with something in it
			return nil, err
		}
	}
	return nil, fs.ErrNotExist
}

// openManifest opens the file; fs.ErrNotExist: it is not here yet.
func (b *Book) openManifest(id ID) (*os.File, int64, error) {
	if b.dir == "" {
		return nil, 0, fs.ErrNotExist
	}
	f, err := os.Open(b.manifestFile(id))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// HasManifest reports whether the file is here, as far as its name tells.
func (b *Book) HasManifest(id ID) bool {
	if b.dir == "" {
		return false
	}
	_, err := os.Stat(b.manifestFile(id))
	return err == nil
}

// KeepManifest keeps a manifest file that is size bytes of r, and reports whether it is the one with this content.
func (b *Book) KeepManifest(id ID, size int64, r io.Reader) error {
	if b.dir == "" {
		return errors.New("there is no folder to keep a manifest in")
	}
	if size < 1 || size > manifest.MaxSize {
		return fmt.Errorf("a manifest of %d bytes", size)
	}
	return atomicfile.Fill(b.manifestFile(id), 0o640, func(f *os.File) error {
		h := sha256.New()
		if _, err := io.CopyN(io.MultiWriter(f, h), r, size); err != nil {
			return err
		}
		if ID(h.Sum(nil)) != id {
			return errors.New("the manifest is not the one that was ordered: its SHA-256 differs")
		}
		return nil
	})
}

// Tidy removes manifests that nothing stands for any more, and what a crash left. It is not called while manifests arrive.
func (b *Book) Tidy() {
	if b.dir == "" {
		return
	}
	keep := map[string]bool{}
	for _, s := range b.Standing() {
		if s.Kind == Push {
			keep[s.Manifest.String()+manifestEnd] = true
		}
	}
	atomicfile.Sweep(b.dir)
	list, err := os.ReadDir(b.dir)
	if err != nil {
		return
	}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), manifestEnd) && !keep[e.Name()] {
			os.Remove(filepath.Join(b.dir, e.Name()))
		}
	}
}

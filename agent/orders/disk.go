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

	"handout/manifest"
	"handout/manifest/amount"
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
	return writeWhole(filepath.Join(b.dir, bookFile), text)
}

// load reads what save wrote. An order or a list whose key counts no more is left out.
func (b *Book) load() error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	text, err := readAtMost(filepath.Join(b.dir, bookFile), maxBook)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var w wireBook
	if err := json.Unmarshal(text, &w); err != nil {
		return fmt.Errorf("%w (%w)", errDamaged, err)
	}
	if w.Keys != "" {
		if b.list, err = b.loadKeys([]byte(w.Keys)); err != nil {
			return err
		}
	}
	all := map[string]*entry{}
	for _, we := range w.Entries {
		e := &entry{newest: taken[Order]{what: Order{Name: we.Name}}, floors: we.Floors}
		if we.Text != "" {
			if e.newest, err = b.loadOrder([]byte(we.Text), we.Floors); err != nil {
				return err
			}
		}
		if we.Floors == nil || e.newest.what.Name != we.Name {
			return errDamaged
		}
		all[we.Name] = e
	}
	b.entries = b.valid(b.list, all)
	return nil
}

func (b *Book) loadKeys(text []byte) (*taken[KeyList], error) {
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

// loadOrder reads an order that one of these keys has signed.
func (b *Book) loadOrder(text []byte, signers map[string]uint64) (taken[Order], error) {
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
	raw, err := readAtMost(b.manifestFile(id), manifest.MaxSize)
	if err == nil && sha256.Sum256(raw) != id {
		os.Remove(b.manifestFile(id)) // the disk lost it: a neighbour has it
		return nil, fs.ErrNotExist
	}
	return raw, err
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
func (b *Book) KeepManifest(id ID, size int64, r io.Reader) (err error) {
	if b.dir == "" {
		return errors.New("there is no folder to keep a manifest in")
	}
	if size < 1 || size > manifest.MaxSize {
		return fmt.Errorf("a manifest of %d bytes", size)
	}
	f, err := os.CreateTemp(b.dir, partStart+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, h), r, size); err != nil {
		return err
	}
	if ID(h.Sum(nil)) != id {
		return errors.New("the manifest is not the one that was ordered: its SHA-256 differs")
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return rename(f.Name(), b.manifestFile(id))
}

const partStart = "part-"

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
	list, err := os.ReadDir(b.dir)
	if err != nil {
		return
	}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), manifestEnd) && !keep[e.Name()] || strings.HasPrefix(e.Name(), partStart) {
			os.Remove(filepath.Join(b.dir, e.Name()))
		}
	}
}

// readAtMost reads a file that must not be larger than most.
func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %s", path, amount.Bytes(most))
	}
	return b, err
}

// writeWhole writes a file so that after a crash all of the old content is there or all of the new.
func writeWhole(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), partStart+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(content); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return rename(f.Name(), path)
}

// rename is done when a power cut doesn't undo it, where the system can be asked for that.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if d, err := os.Open(filepath.Dir(to)); err == nil {
		d.Sync() // Windows has no such thing for a folder
		d.Close()
	}
	return nil
}

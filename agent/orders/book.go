package orders

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"handout/agent/atomicfile"
	"handout/manifest"
)

// Book is what a machine was told: the orders that stand, by package, the list of keys, and the manifests of what is
// ordered. Its methods are safe for concurrent use.
type Book struct {
	rules Rules
	dir   string // "": in memory only
	log   *slog.Logger
	now   func() time.Time

	mu      sync.Mutex
	list    *taken[KeyList] // nil: none was taken
	entries map[string]*entry
	changed chan struct{} // closed at the next change
}

// Standing is an order that was taken and that nothing has taken the place of.
type Standing struct {
	Order
	ID     ID
	Signer string // the key's id
	// Clash is the package that was pushed to the same place before, or to one that this one lies in or holds: that one stays
	// there. "": none.
	Clash string
}

// Open reads the book in the folder dir, which is made if it isn't there; "": nothing outlives the process. What is in it
// counts only as far as it is signed by keys that still count. A book that is damaged is set aside (package atomicfile).
func Open(dir string, rules Rules, log *slog.Logger) (*Book, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &Book{rules: rules, dir: dir, log: log, now: time.Now, entries: map[string]*entry{}, changed: make(chan struct{})}
	if dir == "" {
		return b, nil
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		aside, err := atomicfile.SetAside(dir)
		log.Error("a file was in the place of the folder for orders", "aside", aside, "error", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("read the orders in %s: %w", dir, err)
	}
	err := b.file().Load(b.read)
	if damage, ok := errors.AsType[*atomicfile.Damage](err); ok {
		// Of two copies one is whole, as a rule. Without either this is a fresh machine: neighbours hand on what stands, and
		// what is refused for its age is refused as far as the config's floor goes.
		log.Error("the book of orders was damaged", "error", damage, "lost", !damage.Whole)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the orders in %s: %w", dir, err)
	}
	return b, nil
}

// Look is Open for who only looks, while an agent may be using the folder: nothing is made, moved or mended in it. A book that
// can't be read is empty, with the reason.
func Look(dir string, rules Rules) (*Book, error) {
	b, err := Open("", rules, nil)
	if err != nil || dir == "" {
		return b, err
	}
	b.dir = dir
	if err = b.file().Look(b.read); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return b, err
}

// Deaf reports whether no order can ever be taken: the config trusts neither a push key nor a root key.
func (b *Book) Deaf() bool { return len(b.rules.Push) == 0 && len(b.rules.Root) == 0 }

// Take takes an order. The outcomes: what stands now; ErrKnown; or a *Refusal, after which nothing has changed.
func (b *Book) Take(text []byte) (Standing, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, err := b.rules.judgeOrder(text, b.list, b.entries, b.now())
	if err != nil {
		return Standing{}, err
	}
	t.text = bytes.Clone(t.text)
	next := maps.Clone(b.entries)
	e := &entry{newest: t, floors: map[string]uint64{}}
	if have := b.entries[t.what.Name]; have != nil {
		maps.Copy(e.floors, have.floors)
	}
	e.floors[t.signer.String()] = t.what.Serial
	next[t.what.Name] = e
	if err := b.become(b.list, next); err != nil {
		return Standing{}, &Refusal{Reason: Failed, Name: t.what.Name, Err: err}
	}
	return b.standing(e), nil
}

// Judge is Take that takes nothing.
func (b *Book) Judge(text []byte) (Order, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, err := b.rules.judgeOrder(text, b.list, b.entries, b.now())
	return t.what, err
}

// TakeKeys takes a list of keys, with the outcomes of Take. What keys have signed that are on it no more falls.
func (b *Book) TakeKeys(text []byte) (KeyList, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, err := b.rules.judgeKeys(text, b.list, b.now())
	if err != nil {
		return KeyList{}, err
	}
	t.text = bytes.Clone(t.text)
	if err := b.become(&t, b.valid(&t, b.entries)); err != nil {
		return KeyList{}, &Refusal{Reason: Failed, Err: err}
	}
	return t.what, nil
}

// valid are the entries of which something is left when only keys that count under list do.
func (b *Book) valid(list *taken[KeyList], all map[string]*entry) map[string]*entry {
	next := map[string]*entry{}
	for name, e := range all {
		keys := b.rules.Push
		if list != nil {
			keys = append(keys[:len(keys):len(keys)], list.what.with(PushRole)...)
		}
		left := &entry{newest: e.newest, floors: map[string]uint64{}}
		for _, k := range keys {
			if s, ok := e.floors[k.String()]; ok {
				left.floors[k.String()] = s
			}
		}
		if b.rules.stands(e.newest.signer, list) {
			next[name] = left
			continue
		}
		b.log.Warn("an order falls, as its key counts no more: push the package again with another key, or it is no longer kept up",
			"package", name, "key", e.newest.signer.ID())
		if len(left.floors) > 0 {
			// Nothing stands, but what the other keys said before must not come back.
			left.newest = taken[Order]{what: Order{Name: name}}
			next[name] = left
		}
	}
	return next
}

// become writes down what the book is from now on, and is it.
func (b *Book) become(list *taken[KeyList], entries map[string]*entry) error {
	if b.dir != "" {
		if err := b.save(list, entries); err != nil {
			return err
		}
	}
	b.list, b.entries = list, entries
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

// Changed returns a channel that the next change closes.
func (b *Book) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// Standing are the pushes and withdrawals that stand, by name.
func (b *Book) Standing() (all []Standing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		if e.newest.text != nil {
			all = append(all, b.standing(e))
		}
	}
	slices.SortFunc(all, func(x, y Standing) int { return cmp.Compare(x.Name, y.Name) })
	return all
}

// Knows reports whether there was ever an order for a package, as far as this book knows.
func (b *Book) Knows(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.entries[name] != nil
}

// Clash is the Standing.Clash of an order that is not taken yet.
func (b *Book) Clash(o Order) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clash(o)
}

func (b *Book) standing(e *entry) Standing {
	o := e.newest.what
	return Standing{Order: o, ID: e.newest.id, Signer: e.newest.signer.ID(), Clash: b.clash(o)}
}

func (b *Book) clash(o Order) (with string) {
	for name, other := range b.entries {
		first := other.newest.what
		if name == o.Name || first.Kind != Push || o.Kind != Push || !overlaps(first, o) {
			continue
		}
		if first.Serial < o.Serial || first.Serial == o.Serial && name < o.Name {
			with = name
		}
	}
	return with
}

// Publishers are those whose packages are taken now: the config's and the list's.
func (b *Book) Publishers() []manifest.PublicKey {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rules.publishers(b.list, b.now())
}

// Keys is the list of keys that was taken, and whether there is one.
func (b *Book) Keys() (KeyList, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.list == nil {
		return KeyList{}, false
	}
	return b.list.what, true
}

// Index is what a machine may hand on: what is over would be refused anyway.
type Index struct {
	Keys   ID // the zero ID: no list
	Orders []ID
}

// Index is what this book may hand on.
func (b *Book) Index() Index {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	var x Index
	if b.list != nil && !expired(b.list.what.Expires, now) {
		x.Keys = b.list.id
	}
	for _, e := range b.entries {
		if e.newest.text != nil && !expired(e.newest.what.Expires, now) {
			x.Orders = append(x.Orders, e.newest.id)
		}
	}
	slices.SortFunc(x.Orders, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	return x
}

// Digest is short and differs, as good as always, between machines that have something to tell each other. "": this
// machine takes part in nothing.
func (b *Book) Digest() string {
	if b.Deaf() {
		return ""
	}
	x := b.Index()
	h := sha256.New()
	h.Write(x.Keys[:])
	for _, id := range x.Orders {
		h.Write(id[:])
	}
	return fmt.Sprintf("%d-%s", len(x.Orders), hex.EncodeToString(h.Sum(nil)[:8]))
}

// Text is the text of an order, or of the list of keys, that is in the index; nil: there is none.
func (b *Book) Text(id ID) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.list != nil && b.list.id == id {
		return b.list.text
	}
	for _, e := range b.entries {
		if e.newest.text != nil && e.newest.id == id {
			return e.newest.text
		}
	}
	return nil
}

// IsKnown reports whether nothing is left to learn from a text with this id.
func (b *Book) IsKnown(id ID) bool { return b.Text(id) != nil }

// errDamaged: what is on the disk is not what was written.
var errDamaged = errors.New("the file is damaged")

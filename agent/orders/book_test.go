package orders

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"handout/agent/atomicfile"
	"handout/manifest"
)

var noon = time.Date(2026, time.December, 1, 12, 0, 0, 0, time.UTC)

func newKey(t testing.TB) manifest.PrivateKey {
	t.Helper()
	k, _, err := manifest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(keys ...manifest.PrivateKey) (list []manifest.PublicKey) {
	for _, k := range keys {
		list = append(list, k.Public())
	}
	return list
}

// push is an order that is good at noon.
func push(name string, serial uint64, change ...func(*Order)) Order {
	o := Order{
		Kind: Push, Name: name, Version: "1.0", Site: "lab", Serial: serial, Issued: noon.Add(-time.Hour), Expires: noon.Add(24 * time.Hour),
		Manifest: sha256.Sum256([]byte(name)), Size: int64(len(name)), InfoHash: manifest.InfoHash{1},
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

func withdraw(name string, serial uint64) Order {
	return Order{Kind: Withdraw, Name: name, Site: "lab", Serial: serial, Issued: noon.Add(-time.Hour), Expires: noon.Add(24 * time.Hour)}
}

func text(t testing.TB, o Order, k manifest.PrivateKey) []byte {
	t.Helper()
	b, err := o.Sign(k)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newBook(t testing.TB, dir string, r Rules) *Book {
	t.Helper()
	if r.Site == "" {
		r.Site = "lab"
	}
	b, err := Open(dir, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.now = func() time.Time { return noon }
	return b
}

func take(t testing.TB, b *Book, texts ...[]byte) {
	t.Helper()
	for _, text := range texts {
		if _, err := b.Take(text); err != nil {
			t.Fatal(err)
		}
	}
}

func reasonOf(err error) Reason {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Reason
	}
	return ""
}

func list(t testing.TB, root manifest.PrivateKey, serial uint64, keys ...ListedKey) []byte {
	t.Helper()
	b, err := KeyList{Serial: serial, Issued: noon.Add(-time.Hour), Expires: noon.Add(24 * time.Hour), Keys: keys}.Sign(root)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRefusals(t *testing.T) {
	key, root, listed, publisher, stranger := newKey(t), newKey(t), newKey(t), newKey(t), newKey(t)
	rules := Rules{Push: public(key), Root: public(root), Floor: 50}
	b := newBook(t, t.TempDir(), rules)
	if _, err := b.TakeKeys(list(t, root, 7, ListedKey{PushRole, listed.Public(), "desk"}, ListedKey{PublishRole, publisher.Public(), ""})); err != nil {
		t.Fatal(err)
	}
	take(t, b, text(t, push("win11", 100), key), text(t, withdraw("office", 100), key))

	good := text(t, push("apps", 100), key)
	changed := bytes.Replace(bytes.Clone(good), []byte(`"serial":100`), []byte(`"serial":101`), 1)
	spaced := bytes.Replace(bytes.Clone(good), []byte(`,"name"`), []byte(`, "name"`), 1)
	signedBadly := func(body string) []byte {
		b, err := sign(orderTag, []byte(body), key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	forged := func(change func(*Order)) []byte { // as Sign would never make it
		o := push("apps", 100, change)
		body, err := encode(wireOrder{
			Kind: o.Kind, Name: o.Name, Site: o.Site, Serial: o.Serial, Issued: o.Issued, Expires: o.Expires, Version: o.Version,
			Manifest: o.Manifest.String(), Size: o.Size, InfoHash: o.InfoHash.String(), Root: o.Root, Path: o.Path,
		})
		if err != nil {
			t.Fatal(err)
		}
		return signedBadly(string(body))
	}
	in := func(path string) []byte { return forged(func(o *Order) { o.Root, o.Path = "apps", path }) }
	for _, c := range []struct {
		what string
		text []byte
		want Reason
	}{
		{"signed by a stranger", text(t, push("apps", 100), stranger), Untrusted},
		{"signed by a key that signs packages", text(t, push("apps", 100), publisher), Untrusted},
		{"signed by the root key", text(t, push("apps", 100), root), Untrusted},
		{"not signed", good[:bytes.Index(good, []byte("untrusted"))], Untrusted},
		{"changed after it was signed", changed, Untrusted},
		{"spelt another way", spaced, Untrusted},
		{"for another site", text(t, push("apps", 100, func(o *Order) { o.Site = "room" }), key), OtherSite},
		{"replayed: an older push", text(t, push("win11", 99), key), TooOld},
		{"replayed: of the same serial", text(t, push("win11", 100, func(o *Order) { o.Version = "2" }), key), TooOld},
		{"replayed: a push from before it was withdrawn", text(t, push("office", 99), key), TooOld},
		{"replayed: an older withdrawal", text(t, withdraw("win11", 99), key), TooOld},
		{"below the floor", text(t, push("apps", 49), key), Floored},
		{"expired", text(t, push("apps", 100, func(o *Order) { o.Expires = noon }), key), Expired},
		{"issued in the future", text(t, push("apps", 100, func(o *Order) { o.Issued, o.Expires = noon.AddDate(0, 0, 2), noon.AddDate(0, 0, 3) }), key), Future},
		{"a path that leads out", in("../etc"), Malformed},
		{"a path that leads out further down", in("a/../../etc"), Malformed},
		{"an absolute path", in("/etc"), Malformed},
		{"a drive", in("C:/Windows"), Malformed},
		{"a backslash", in(`a\..\..\b`), Malformed},
		{"a device", in("NUL"), Malformed},
		{"a stream", in("a:b"), Malformed},
		{"no path in a root", in(""), Malformed},
		{"a path without a root", forged(func(o *Order) { o.Path = "x" }), Malformed},
		{"a root that is a path", forged(func(o *Order) { o.Root, o.Path = "../x", "y" }), Malformed},
		{"no name", forged(func(o *Order) { o.Name = "" }), Malformed},
		{"a name that paints the terminal", forged(func(o *Order) { o.Name = "a\x1b[2J" }), Malformed},
		{"a name that reads backwards", forged(func(o *Order) { o.Name = "a\u202eb" }), Malformed},
		{"serial 0", forged(func(o *Order) { o.Serial = 0 }), Malformed},
		{"a manifest without a size", forged(func(o *Order) { o.Size = 0 }), Malformed},
		{"a manifest that is too large", forged(func(o *Order) { o.Size = manifest.MaxSize + 1 }), Malformed},
		{"good for ten years", forged(func(o *Order) { o.Expires = o.Issued.AddDate(10, 0, 0) }), Malformed},
		{"expired before it was issued", forged(func(o *Order) { o.Expires = o.Issued }), Malformed},
		{"a kind from the future", forged(func(o *Order) { o.Kind = "format" }), Malformed},
		{"a key that this version doesn't know", signedBadly(strings.TrimSuffix(string(bodyOf(good)), "}") + `,"hook":"rm"}`), Malformed},
		{"a key twice", signedBadly(strings.TrimSuffix(string(bodyOf(good)), "}") + `,"name":"win11"}`), Malformed},
		{"another case", signedBadly(strings.Replace(string(bodyOf(good)), `"name"`, `"Name"`, 1)), Malformed},
		{"nothing", nil, Malformed},
		{"a list of keys", list(t, root, 9), Malformed},
		{"oversized", append(bytes.Clone(good), make([]byte, MaxOrderSize)...), Malformed},
	} {
		before := b.Digest()
		_, err := b.Take(c.text)
		if got := reasonOf(err); got != c.want {
			t.Errorf("%s: %v (%s), want %s", c.what, err, got, c.want)
		}
		if b.Digest() != before {
			t.Errorf("%s: it left a trace", c.what)
		}
	}
	take(t, b, good, text(t, push("more", 100), listed))
	if _, err := b.Take(good); !errors.Is(err, ErrKnown) {
		t.Errorf("the same again: %v", err)
	}
	if _, err := newBook(t, "", Rules{}).Take(good); reasonOf(err) != Deaf {
		t.Errorf("a machine that trusts no push key: %v", err)
	}
	if _, err := newBook(t, "", Rules{Root: public(root)}).Take(good); reasonOf(err) != Deaf {
		t.Errorf("a machine that has a root key and no list: %v", err)
	}
}

func bodyOf(text []byte) []byte { return bytes.Split(text, []byte("\n"))[1] }

func TestRefusedKeys(t *testing.T) {
	root, key, stranger := newKey(t), newKey(t), newKey(t)
	b := newBook(t, "", Rules{Root: public(root)})
	if _, err := b.TakeKeys(list(t, root, 7, ListedKey{PushRole, key.Public(), ""})); err != nil {
		t.Fatal(err)
	}
	over, err := KeyList{Serial: 9, Issued: noon.Add(-2 * time.Hour), Expires: noon.Add(-time.Hour)}.Sign(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		text []byte
		want Reason
	}{
		{"signed by a stranger", list(t, stranger, 9), Untrusted},
		{"signed by a key that it lists", list(t, key, 9), Untrusted},
		{"older", list(t, root, 6), TooOld},
		{"of the same serial", list(t, root, 7), TooOld},
		{"expired", over, Expired},
		{"an order", text(t, push("apps", 1), root), Malformed},
		{"oversized", append(list(t, root, 9), make([]byte, MaxKeysSize)...), Malformed},
	} {
		if _, err := b.TakeKeys(c.text); reasonOf(err) != c.want {
			t.Errorf("%s: %v, want %s", c.what, err, c.want)
		}
	}
	if _, err := newBook(t, "", Rules{Push: public(key)}).TakeKeys(list(t, root, 9)); reasonOf(err) != Deaf {
		t.Errorf("a machine without a root key: %v", err)
	}
	if _, err := (KeyList{Serial: 1, Issued: noon, Expires: noon.Add(time.Hour),
		Keys: []ListedKey{{PushRole, key.Public(), ""}, {PublishRole, key.Public(), ""}}}).Sign(root); err == nil {
		t.Error("a key has two roles")
	}
}

// A clock that stands before any order was made says nothing about expiry; what was withdrawn stays so all the same.
func TestClockThatIsWrongExpiresNothing(t *testing.T) {
	key := newKey(t)
	b := newBook(t, "", Rules{Push: public(key)})
	b.now = func() time.Time { return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) }
	take(t, b, text(t, push("apps", 100), key), text(t, withdraw("win11", 5), key))
	if _, err := b.Take(text(t, push("win11", 4), key)); reasonOf(err) != TooOld {
		t.Errorf("a replay: %v", err)
	}
}

// Whoever steals a push key loses it with the next list, and what he ordered falls; other keys' floors stay.
func TestRevokedKeyOrdersNothing(t *testing.T) {
	root, honest, stolen := newKey(t), newKey(t), newKey(t)
	dir := t.TempDir()
	rules := Rules{Site: "lab", Root: public(root)}
	b := newBook(t, dir, rules)
	if _, err := b.TakeKeys(list(t, root, 1, ListedKey{PushRole, honest.Public(), ""}, ListedKey{PushRole, stolen.Public(), ""})); err != nil {
		t.Fatal(err)
	}
	old := text(t, push("apps", 10), honest)
	take(t, b, old, text(t, withdraw("apps", 20), honest), text(t, push("apps", 1<<62), stolen), text(t, push("evil", 1), stolen), text(t, push("good", 1), honest))
	if _, err := b.TakeKeys(list(t, root, 2, ListedKey{PushRole, honest.Public(), ""})); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and after a restart
		var names []string
		for _, s := range b.Standing() {
			names = append(names, s.Name)
		}
		if fmt.Sprint(names) != "[good]" {
			t.Errorf("stands: %v", names)
		}
		if _, err := b.Take(text(t, push("evil", 2), stolen)); reasonOf(err) != Untrusted {
			t.Errorf("the stolen key: %v", err)
		}
		if _, err := b.Take(old); reasonOf(err) != TooOld {
			t.Errorf("what the honest key withdrew comes back: %v", err)
		}
		b = newBook(t, dir, rules)
	}
	take(t, b, text(t, push("apps", 21), honest)) // the serial that the thief had burnt is free again
}

// A list that is over lets nobody order anything new, and takes back nothing.
func TestExpiredListRevokesNothing(t *testing.T) {
	root, key := newKey(t), newKey(t)
	b := newBook(t, "", Rules{Root: public(root)})
	if _, err := b.TakeKeys(list(t, root, 1, ListedKey{PushRole, key.Public(), ""}, ListedKey{PublishRole, newKey(t).Public(), ""})); err != nil {
		t.Fatal(err)
	}
	take(t, b, text(t, push("apps", 1), key))
	if len(b.Publishers()) != 1 {
		t.Error("the list's publisher doesn't count")
	}
	b.now = func() time.Time { return noon.AddDate(0, 0, 10) }
	if len(b.Standing()) != 1 {
		t.Error("what was ordered is forgotten")
	}
	if _, err := b.Take(text(t, push("apps", 2), key)); reasonOf(err) != Deaf {
		t.Errorf("a key of a list that is over: %v", err)
	}
	if x := b.Index(); len(x.Orders) > 0 || x.Keys != (ID{}) || len(b.Publishers()) > 0 {
		t.Errorf("what is over is handed on: %v", x)
	}
}

func TestBookOutlivesTheProcess(t *testing.T) {
	root, key, other := newKey(t), newKey(t), newKey(t)
	dir := t.TempDir()
	rules := Rules{Push: public(key), Root: public(root)}
	b := newBook(t, dir, rules)
	if _, err := b.TakeKeys(list(t, root, 1, ListedKey{PushRole, other.Public(), ""})); err != nil {
		t.Fatal(err)
	}
	take(t, b, text(t, push("apps", 5), key), text(t, withdraw("office", 5), other))
	if err := b.KeepManifest(push("apps", 5).Manifest, 4, strings.NewReader("apps")); err != nil {
		t.Fatal(err)
	}
	if err := b.KeepManifest(push("apps", 5).Manifest, 4, strings.NewReader("evil")); err == nil {
		t.Error("another manifest is kept")
	}
	digest := b.Digest()
	os.WriteFile(filepath.Join(dir, ".book.json.part-1"), []byte("x"), 0o600)
	os.WriteFile(filepath.Join(dir, strings.Repeat("ab", 32)+manifestEnd), []byte("x"), 0o600)

	b = newBook(t, dir, rules)
	b.Tidy()
	if b.Digest() != digest || len(b.Standing()) != 2 {
		t.Errorf("after a restart: %v", b.Standing())
	}
	if raw, err := b.Manifest(push("apps", 5).Manifest); string(raw) != "apps" {
		t.Errorf("the manifest: %q, %v", raw, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 3 { // the book, its copy and the manifest
		t.Errorf("%d files are left", len(left))
	}
	if _, err := b.Take(text(t, push("office", 4), key)); reasonOf(err) != TooOld {
		t.Errorf("a replay after a restart: %v", err)
	}
	os.WriteFile(b.manifestFile(push("apps", 5).Manifest), []byte("rott"), 0o600)
	if _, err := b.Manifest(push("apps", 5).Manifest); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a manifest that the disk spoilt: %v", err)
	}
	// A machine whose config names other keys obeys nothing of it.
	if got := newBook(t, dir, Rules{Push: public(newKey(t))}).Standing(); len(got) > 0 {
		t.Errorf("another trust: %v", got)
	}
}

// A book that the disk spoilt forgets nothing as long as its copy is whole: above all not what was withdrawn. Without a copy
// the machine begins like a fresh one, and takes orders.
func TestDamagedBookTakesOrders(t *testing.T) {
	key := newKey(t)
	rules := Rules{Push: public(key)}
	for _, spoilt := range []string{
		"", "{", "null", "[]", "{}", "\x00\x00\x00\x00", "an order",
		`{"entries":[{"name":"a","text":"x","floors":{}}]}`, `{"entries":{}}`, `{"dest":"/srv/apps","serial":4}`,
	} {
		dir := t.TempDir()
		b := newBook(t, dir, rules)
		take(t, b, text(t, push("apps", 5), key), text(t, withdraw("office", 5), key))
		digest := b.Digest()
		path := filepath.Join(dir, bookFile)
		if err := os.WriteFile(path, []byte(spoilt), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := Look(dir, rules); err != nil || len(b.Standing()) != 2 || len(atomicfile.Aside(dir)) > 0 {
			t.Errorf("%q, looked at: %v", spoilt, err)
		}
		if b = newBook(t, dir, rules); b.Digest() != digest || len(atomicfile.Aside(dir)) != 1 {
			t.Errorf("%q: %v stands, %d files are set aside", spoilt, b.Standing(), len(atomicfile.Aside(dir)))
		}
		if _, err := b.Take(text(t, push("office", 4), key)); reasonOf(err) != TooOld {
			t.Errorf("%q: a replay: %v", spoilt, err)
		}
		for _, name := range []string{path, path + ".copy"} {
			if err := os.WriteFile(name, []byte(spoilt), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b = newBook(t, dir, rules)
		take(t, b, text(t, push("apps", 5), key))
		if b = newBook(t, dir, rules); len(b.Standing()) != 1 {
			t.Errorf("%q: after both copies were lost nothing is kept", spoilt)
		}
	}
}

func TestBookIsBounded(t *testing.T) {
	key := newKey(t)
	b := newBook(t, "", Rules{Push: public(key)})
	for i := range MaxOrders {
		b.entries[fmt.Sprint(i)] = &entry{newest: taken[Order]{what: Order{Name: fmt.Sprint(i)}}}
	}
	if _, err := b.Take(text(t, push("one more", 1), key)); reasonOf(err) != Full {
		t.Errorf("one more: %v", err)
	}
	take(t, b, text(t, push("7", 1), key))
}

// Two packages pushed to one place, or one into another: the first stays, whatever the order they arrive in.
func TestPlacesDontOverlap(t *testing.T) {
	key := newKey(t)
	at := func(name string, serial uint64, path string) []byte {
		return text(t, push(name, serial, func(o *Order) { o.Root, o.Path = "apps", path }), key)
	}
	b := newBook(t, "", Rules{Push: public(key)})
	take(t, b, at("late", 3, "A/b"), at("first", 1, "a"), at("beside", 4, "ab"), at("same", 2, "a"))
	want := map[string]bool{"late": true, "first": false, "beside": false, "same": true}
	for _, s := range b.Standing() {
		if (s.Clash != "") != want[s.Name] {
			t.Errorf("%s clashes with %q", s.Name, s.Clash)
		}
	}
}

func FuzzOrder(f *testing.F) {
	key := newKey(f)
	f.Add(bodyOf(text(f, push("apps", 1, func(o *Order) { o.Root, o.Path = "apps", "x" }), key)))
	f.Add(bodyOf(text(f, withdraw("apps", 1), key)))
	for _, digits := range []struct{ id, hash string }{{"A0", "00"}, {"00", "A0"}} {
		f.Add(fmt.Appendf(nil, `{"kind":"push","name":"apps","site":"lab","serial":1,"issued":"2026-01-01T00:00:00Z",`+
			`"expires":"2026-01-01T01:00:00Z","manifest":"%s","size":1,"info_hash":"%s"}`,
			strings.Repeat(digits.id, 32), strings.Repeat(digits.hash, 20)))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := readOrder(body)
		if err != nil {
			return
		}
		if err := manifest.CheckPath(o.Path); o.Root != "" && err != nil || o.Path != "" && !filepath.IsLocal(filepath.FromSlash(o.Path)) {
			t.Errorf("a path that is none: %q", o.Path)
		}
		again, err := o.Sign(key)
		if err != nil || !bytes.Equal(bodyOf(again), body) {
			t.Errorf("%q is written as %q: %v", body, again, err)
		}
	})
}

func FuzzBook(f *testing.F) {
	key, root, other := newKey(f), newKey(f), newKey(f)
	f.Add(text(f, push("apps", 1), key))
	f.Add(list(f, root, 1, ListedKey{PushRole, key.Public(), "x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		book := newBook(t, "", Rules{Push: public(other), Root: public(other)})
		if _, err := book.Take(b); err == nil {
			t.Error("an order that no trusted key has signed is taken")
		}
		if _, err := book.TakeKeys(b); err == nil {
			t.Error("a list that no root key has signed is taken")
		}
		if s, err := split(b, keysTag, MaxKeysSize); err == nil {
			if l, err := readKeys(s.body); err == nil {
				if d, err := l.Draft(); err != nil || !bytes.Equal(bodyOf(d), s.body) {
					t.Errorf("%q is written as %q: %v", s.body, d, err)
				}
			}
		}
	})
}

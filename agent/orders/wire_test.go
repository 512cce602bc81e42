package orders

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// desk takes orders for a book as an agent does, but looks at no manifest.
type desk struct{ *Book }

func (d desk) Judge(text []byte) (Order, bool, error) {
	o, err := d.Book.Judge(text)
	return o, err == nil && o.Kind == Push && !d.HasManifest(o.Manifest), err
}

func (d desk) Take(text []byte) error {
	_, err := d.Book.Take(text)
	return err
}

func (d desk) TakeKeys(text []byte) error {
	_, err := d.Book.TakeKeys(text)
	return err
}

// talk has ask ask book.
func talk(t *testing.T, b *Book, ask func(*Asker)) {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Serve(far, time.Now().Add(time.Minute), desk{b})
		far.Close()
	}()
	ask(NewAsker(near))
	near.Close()
	<-done
}

func TestOneBookLearnsFromAnother(t *testing.T) {
	root, key, listed := newKey(t), newKey(t), newKey(t)
	rules := Rules{Push: public(key), Root: public(root)}
	has, lacks := newBook(t, t.TempDir(), rules), newBook(t, t.TempDir(), rules)
	apps := push("apps", 1)
	apps.Manifest, apps.Size = ID{}, 3
	talk(t, has, func(a *Asker) {
		if err := a.GiveKeys(list(t, root, 1, ListedKey{PushRole, listed.Public(), ""})); err != nil {
			t.Fatal(err)
		}
		if err := a.GiveOrder(text(t, push("apps", 1), key), []byte("apps")); err != nil {
			t.Fatal(err)
		}
		if err := a.GiveOrder(text(t, withdraw("office", 1), listed), nil); err != nil {
			t.Fatal(err)
		}
		if err := a.GiveOrder(text(t, push("apps", 1), key), []byte("apps")); !errors.Is(err, ErrKnown) {
			t.Errorf("the same again: %v", err)
		}
		if err := a.GiveOrder(text(t, push("office", 1), key), nil); reasonOf(err) != TooOld {
			t.Errorf("a replay: %v", err)
		}
		if err := a.GiveKeys(list(t, root, 1)); reasonOf(err) != TooOld {
			t.Errorf("an old list: %v", err)
		}
	})
	talk(t, has, func(a *Asker) {
		if err := a.GiveOrder(text(t, push("tools", 1), key), []byte("loots")); reasonOf(err) != BadGoods {
			t.Errorf("another manifest: %v", err)
		}
	})
	talk(t, has, func(a *Asker) {
		x, err := a.Index()
		if err != nil || len(x.Orders) != 2 {
			t.Fatalf("index %v, %v", x, err)
		}
		keys, err := a.Text(x.Keys)
		if err == nil {
			_, err = lacks.TakeKeys(keys)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range x.Orders {
			order, err := a.Text(id)
			if err != nil {
				t.Fatal(err)
			}
			take(t, lacks, order)
		}
		if ok, err := a.Manifest(push("apps", 1).Manifest, 4, lacks.KeepManifest); !ok || err != nil {
			t.Errorf("manifest: %v, %v", ok, err)
		}
		if ok, err := a.Manifest(push("tools", 1).Manifest, 5, lacks.KeepManifest); ok || err != nil {
			t.Errorf("a manifest that is not there: %v, %v", ok, err)
		}
		if b, err := a.Text(ID{1}); b != nil || err != nil {
			t.Errorf("a text that is not there: %q, %v", b, err)
		}
		if _, err := a.Manifest(push("apps", 1).Manifest, 5, lacks.KeepManifest); err == nil {
			t.Error("a manifest of another size than the order says is taken")
		}
	})
	if has.Digest() != lacks.Digest() || !lacks.HasManifest(push("apps", 1).Manifest) {
		t.Errorf("the books differ: %s, %s", has.Digest(), lacks.Digest())
	}
}

// Whoever connects and says nothing, or little, holds no more than its place, and not for long.
func TestSlowNeighbourIsCutOff(t *testing.T) {
	key := newKey(t)
	for what, say := range map[string]string{
		"mute":              "",
		"half a question":   `{"ask":"ind`,
		"half an order":     `{"ask":"order","size":5000}` + "\nhandout",
		"an endless line":   strings.Repeat("x", 4*maxQuestion),
		"a huge order":      `{"ask":"order","size":1000000000000}` + "\n",
		"a negative order":  `{"ask":"order","size":-1}` + "\n",
		"goods unasked for": `{"ask":"bring","size":67108864}` + "\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBook(t, t.TempDir(), Rules{Push: public(key)})
			near, far := net.Pipe()
			go func() {
				io.WriteString(near, say)
				io.Copy(io.Discard, near)
			}()
			began := time.Now()
			if err := b.Serve(far, began.Add(time.Hour), desk{b}); err == nil {
				t.Errorf("%s: no error", what)
			}
			if d := time.Since(began); d > 2*idleTime {
				t.Errorf("%s: held for %v", what, d)
			}
			far.Close()
			near.Close()
		})
	}
}

// rote is a neighbour that has said all beforehand.
type rote struct {
	io.Reader
	written int64
}

func (r *rote) Write(b []byte) (int, error)        { r.written += int64(len(b)); return len(b), nil }
func (r *rote) Close() error                       { return nil }
func (r *rote) SetDeadline(time.Time) error        { return nil }
func (r *rote) SetReadDeadline(t time.Time) error  { return nil }
func (r *rote) SetWriteDeadline(t time.Time) error { return nil }
func (r *rote) LocalAddr() net.Addr                { return nil }
func (r *rote) RemoteAddr() net.Addr               { return nil }

// What strangers ask, and what those answer that are asked.
func FuzzWire(f *testing.F) {
	key := newKey(f)
	order := text(f, push("apps", 1), key)
	f.Add([]byte(`{"ask":"index"}` + "\n" + `{"ask":"order","size":3}` + "\nabc" + `{"ask":"text","id":"ab"}` + "\n"))
	f.Add([]byte(`{"orders":["` + ID{1}.String() + `"],"keys":"` + ID{2}.String() + `"}` + "\n" + `{"size":3}` + "\nabc" + `{"size":4}` + "\napps"))
	f.Add([]byte(`{"wants":true}` + "\n" + `{"refused":"old","why":"x"}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		book := newBook(t, "", Rules{Push: public(key)})
		book.Serve(&rote{Reader: bytes.NewReader(b)}, time.Time{}, desk{book})
		if len(book.Standing()) > 0 {
			t.Error("an order came in that nobody signed")
		}
		a := NewAsker(&rote{Reader: bytes.NewReader(b)})
		if x, err := a.Index(); err == nil && len(x.Orders) > MaxOrders {
			t.Errorf("%d orders", len(x.Orders))
		}
		if text, err := a.Text(ID{}); err == nil && len(text) > MaxKeysSize {
			t.Errorf("a text of %d bytes", len(text))
		}
		a.Manifest(ID{}, 4, func(_ ID, n int64, r io.Reader) error {
			if n != 4 {
				t.Errorf("a manifest of %d bytes", n)
			}
			_, err := io.CopyN(io.Discard, r, n)
			return err
		})
		NewAsker(&rote{Reader: bytes.NewReader(b)}).GiveOrder(order, []byte("apps"))
	})
}

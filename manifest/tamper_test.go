package manifest

import (
	"errors"
	"strings"
	"testing"
)

// signedSample is a small signed manifest with unsigned keys in it, and the key.
func signedSample(t testing.TB) ([]byte, PublicKey) {
	t.Helper()
	private, public, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	d := draftOf("a/", "a/file", "b>a/file", "ü")
	d.top["announce"], d.top["comment"] = "http://tracker.example/", "a word"
	d.top["url-list"] = []string{"http://origin.example/"}
	raw, err := Sign(d.encode(), private)
	if err != nil {
		t.Fatal(err)
	}
	return raw, public
}

// refused asserts that Open refuses raw, or reads in it what it reads in the untampered m.
func refused(t testing.TB, raw []byte, trust Trust, m *Manifest, what string, at int) (accepted bool) {
	t.Helper()
	got, err := Open(raw, trust)
	switch {
	case err == nil && (got.InfoHash != m.InfoHash || !sameContent(got, m)):
		t.Errorf("%s at %d: accepted, and it reads\n%+v, not\n%+v", what, at, got, m)
	case err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUntrusted):
		t.Errorf("%s at %d: %v is neither ErrInvalid nor ErrUntrusted", what, at, err)
	}
	return err == nil
}

// TestEveryBitFlipped: a bit that can be changed without being noticed must mean nothing.
func TestEveryBitFlipped(t *testing.T) {
	raw, key := signedSample(t)
	trust := Trust{Keys: []PublicKey{key}}
	m, err := Open(raw, trust)
	if err != nil {
		t.Fatal(err)
	}
	// From handout to the end of info, with the signatures between, every bit counts.
	first := strings.Index(string(raw), "7:handout")
	last := strings.Index(string(raw), "8:url-list")
	unnoticed := 0
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			if refused(t, raw, trust, m, "bit flipped", i) {
				if unnoticed++; i >= first && i < last {
					t.Errorf("bit %d of byte %d flipped (%q): not noticed", bit, i, raw[max(0, i-20):i+1])
				}
			}
			raw[i] ^= 1 << bit
		}
	}
	if unnoticed == 0 {
		t.Error("not even the comment can be changed: the test proves less than it says")
	}
}

func TestEveryTruncation(t *testing.T) {
	raw, key := signedSample(t)
	trust := Trust{Keys: []PublicKey{key}}
	for n := range raw {
		if _, err := Open(raw[:n], trust); !errors.Is(err, ErrInvalid) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(raw), err)
		}
	}
}

// TestUnsignedKeysMeanNothing: a neighbour that passes a manifest on may write what it likes beside what is signed.
func TestUnsignedKeysMeanNothing(t *testing.T) {
	raw, key := signedSample(t)
	trust := Trust{Keys: []PublicKey{key}}
	m, err := Open(raw, trust)
	if err != nil {
		t.Fatal(err)
	}
	f, err := readFrame(raw)
	if err != nil {
		t.Fatal(err)
	}
	top := dict{}
	for i, k := range f.keys {
		top[k] = verbatim(f.values[i])
	}
	top["announce"], top["comment"] = "http://evil.example/", "evil"
	top["announce-list"] = []any{[]string{"http://evil.example/"}}
	top["url-list"], top["httpseeds"] = []string{"http://evil.example/"}, []string{"http://evil.example/"}
	top["created by"], top["creation date"], top["origins"] = "evil", -1, []string{"http://evil.example/"}
	if !refused(t, encodeAny(top), trust, m, "other unsigned keys", 0) {
		t.Error("unsigned keys decide whether a manifest is taken")
	}
}

func TestWhoIsTrusted(t *testing.T) {
	right := draftOf("f").encode()
	alice, alicePublic, _ := GenerateKey()
	bob, bobPublic, _ := GenerateKey()
	sign := func(raw []byte, keys ...PrivateKey) []byte {
		for _, k := range keys {
			var err error
			if raw, err = Sign(raw, k); err != nil {
				t.Fatal(err)
			}
		}
		return raw
	}
	// over puts signatures into raw that were made over something else.
	over := func(raw, other []byte) []byte {
		from, err := readFrame(other)
		if err != nil {
			t.Fatal(err)
		}
		to, err := readFrame(raw)
		if err != nil {
			t.Fatal(err)
		}
		var texts [][]byte
		for _, s := range from.signatures {
			texts = append(texts, s.text)
		}
		return to.withSignatures(texts)
	}
	changed := draftOf("g").encode()
	untagged := func() []byte { // Alice signed the same bytes for another purpose
		f, err := readFrame(right)
		if err != nil {
			t.Fatal(err)
		}
		return f.withSignatures([][]byte{signText(alice, f.handout)})
	}()
	stolenID := func() []byte { // Mallory names Alice's key in her own signature
		f, err := readFrame(sign(right, bob))
		if err != nil {
			t.Fatal(err)
		}
		s := f.signatures[0].parsed
		s.KeyID = alicePublic.key.ID()
		return f.withSignatures([][]byte{canonical(s)})
	}()
	alone := Trust{Keys: []PublicKey{alicePublic}}
	for _, c := range []struct {
		what  string
		raw   []byte
		trust Trust
		taken bool
	}{
		{"signed by the key", sign(right, alice), alone, true},
		{"signed by one of the keys", sign(right, alice), Trust{Keys: []PublicKey{bobPublic, alicePublic}}, true},
		{"signed by the key and a stranger", sign(right, bob, alice), alone, true},
		{"signed twice by the key", sign(right, alice, alice), alone, true},
		{"unsigned", right, alone, false},
		{"unsigned, nobody trusted", right, Trust{}, false},
		{"unsigned, allowed", right, Trust{AllowUnsigned: true}, true},
		{"signed by a stranger", sign(right, bob), alone, false},
		{"signed by a stranger, allowed", sign(right, bob), Trust{Keys: alone.Keys, AllowUnsigned: true}, true},
		{"signature over something else", over(right, sign(changed, alice)), alone, false},
		{"signature over something else, unsigned allowed", over(right, sign(changed, alice)),
			Trust{Keys: alone.Keys, AllowUnsigned: true}, false},
		{"signature without the tag", untagged, alone, false},
		{"another's signature under the key's id", stolenID, alone, false},
	} {
		m, err := Open(c.raw, c.trust)
		if c.taken != (err == nil) || err != nil && !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: %v", c.what, err)
		}
		if err != nil {
			continue
		}
		seen := map[string]bool{}
		for _, s := range m.Signatures {
			if seen[s.KeyID] {
				t.Errorf("%s: two signatures by one key", c.what)
			}
			seen[s.KeyID] = true
			trusted := s.KeyID == alicePublic.ID() && len(c.trust.Keys) > 0
			if s.Trusted != trusted || (s.Comment != "") != trusted {
				t.Errorf("%s: %+v", c.what, s)
			}
		}
	}
}

func TestSignatureTexts(t *testing.T) {
	raw, key := signedSample(t)
	f, err := readFrame(raw)
	if err != nil {
		t.Fatal(err)
	}
	text := string(f.signatures[0].text)
	for what, texts := range map[string][][]byte{
		"not minisign's form":         {[]byte("signed, the king")},
		"another untrusted comment":   {[]byte(strings.Replace(text, "handout", "\x1b[2J", 1))},
		"a newline more":              {[]byte(text + "\n")},
		"a comment of control bytes":  {[]byte(strings.Replace(text, "timestamp", "\x1b[2J", 1))},
		"an endless comment":          {[]byte(strings.Replace(text, "timestamp", strings.Repeat("t", MaxSignatureSize), 1))},
		"more than there is room for": make([][]byte, MaxSignatures+1),
	} {
		for i := range texts {
			if texts[i] == nil {
				texts[i] = []byte(text)
			}
		}
		if _, err := Open(f.withSignatures(texts), Trust{Keys: []PublicKey{key}}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := AttachSignature(raw, []byte("signed, the king")); err == nil {
		t.Error("AttachSignature takes anything")
	}
	for range MaxSignatures - 1 {
		private, _, err := GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = Sign(raw, private); err != nil {
			t.Fatal(err)
		}
	}
	private, _, _ := GenerateKey()
	if _, err := Sign(raw, private); err == nil {
		t.Errorf("room for more than %d signatures", MaxSignatures)
	}
	if _, err := Sign([]byte("de"), private); !errors.Is(err, ErrInvalid) {
		t.Errorf("Sign signs what is no manifest: %v", err)
	}
	if _, err := Sign(draftOf("..").encode(), private); !errors.Is(err, ErrInvalid) {
		t.Errorf("Sign signs what Open refuses: %v", err)
	}
}

func TestKeyTexts(t *testing.T) {
	private, public, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"file":            string(public.Encode()),
		"line":            public.String(),
		"line and spaces": "  " + public.String() + "\n\n",
		"Windows file":    strings.ReplaceAll(string(public.Encode()), "\n", "\r\n"),
	} {
		if k, err := ParsePublicKey(text); err != nil || !k.Equal(public) || k.ID() != public.ID() {
			t.Errorf("%s: %v %v", what, k, err)
		}
	}
	for _, text := range []string{"", "RW", public.String()[1:], "untrusted comment: nothing\n", strings.Repeat("A", 56)} {
		if k, err := ParsePublicKey(text); err == nil {
			t.Errorf("%q is the key %v", text, k)
		}
	}
	if len(public.ID()) != 16 || !strings.Contains(string(public.Encode()), public.ID()) {
		t.Errorf("id %q", public.ID())
	}
	text, err := private.Encode("")
	if err != nil {
		t.Fatal(err)
	}
	if k, err := ParsePrivateKey(text, ""); err != nil || !k.Public().Equal(public) {
		t.Errorf("read back: %v %v", k, err)
	}
	for i := len(privateComment); i < len(text)-1; i++ {
		damaged := []byte(string(text))
		damaged[i] ^= 1
		if k, err := ParsePrivateKey(damaged, ""); err == nil && !k.Public().Equal(public) {
			t.Errorf("byte %d changed, and it is another key %v", i, k)
		}
	}
	// A key that strays into a log must not give its secret away.
	if s := private.String(); strings.Contains(string(text), s) || !strings.Contains(s, public.ID()) {
		t.Errorf("the key shows itself as %q", s)
	}
}

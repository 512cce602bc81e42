package orders

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"handout/manifest"
)

// ID names a signed text by what is signed of it. Another signature over the same makes no other order.
type ID [sha256.Size]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads what String writes, and nothing else: two texts of one order would be two orders.
func ParseID(s string) (id ID, err error) {
	if !readHex(id[:], s) {
		return ID{}, fmt.Errorf("%.80q is no id, which is %d digits 0 to 9 and a to f", s, 2*len(id))
	}
	return id, nil
}

// readHex fills to with what s says in lower-case hex digits, and reports whether it says just that.
func readHex(to []byte, s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && copy(to, b) == len(to) && hex.EncodeToString(to) == s
}

// signed is a text taken apart; nothing in it is believed yet.
type signed struct {
	message []byte // the first two lines, which the signature is over
	body    []byte // the second without its end
	minisig []byte // the rest; empty: a draft that nobody has signed
}

func (s signed) id() ID { return sha256.Sum256(s.message) }

var errShape = errors.New("it is not in the form handout writes")

// split takes a text apart that begins with the line tag.
func split(text []byte, tag string, most int) (signed, error) {
	if len(text) > most {
		return signed{}, fmt.Errorf("it has %d bytes, over the limit of %d", len(text), most)
	}
	rest, ok := bytes.CutPrefix(text, []byte(tag))
	end := bytes.IndexByte(rest, '\n')
	if !ok || end < 0 {
		return signed{}, errShape
	}
	n := len(tag) + end + 1
	return signed{message: text[:n], body: rest[:end], minisig: text[n:]}, nil
}

// decode reads a body that encode wrote, and no other: what could be read in two ways, or says something that this version
// doesn't know, must not be half obeyed.
func decode[T any](body []byte) (v T, err error) {
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("%w: %w", errShape, err)
	}
	again, err := encode(v)
	if err != nil || !bytes.Equal(again, body) {
		return v, errShape
	}
	return v, nil
}

// encode is v in one line.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// sign makes the text of a body.
func sign(tag string, body []byte, k manifest.PrivateKey) ([]byte, error) {
	message := fmt.Appendf(nil, "%s%s\n", tag, body)
	minisig, err := k.SignMessage(message)
	if err != nil {
		return nil, err
	}
	return append(message, minisig...), nil
}

// badText says why s may not be shown to people.
func badText(what, s string, most int) error {
	switch {
	case len(s) > most:
		return fmt.Errorf("its %s has %d bytes, over the limit of %d", what, len(s), most)
	case !utf8.ValidString(s):
		return fmt.Errorf("its %s is not valid UTF-8", what)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("its %s has the character %U", what, r)
		}
	}
	return nil
}

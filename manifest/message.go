package manifest

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"aead.dev/minisign"
)

// Keys sign other things than manifests too: orders, lists of keys. The signature is over all of the message, which begins
// with a line that names its kind, so that a signature of one kind never fits another. The minisign program makes and
// verifies the same ones.

// SignMessage returns a signature by k over message, as the text of a .minisig file.
func (k PrivateKey) SignMessage(message []byte) ([]byte, error) {
	r := minisign.NewReader(bytes.NewReader(message)) // makes the prehashed kind that minisign itself makes
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	var s minisign.Signature
	if err := s.UnmarshalText(r.SignWithComments(k.key, fmt.Sprintf("timestamp:%d", time.Now().Unix()), "")); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return append(canonical(s), '\n'), nil
}

// VerifyMessage returns which of keys has made minisig over message, the text of a .minisig file. The error says whose key
// it claims to be by otherwise.
func VerifyMessage(message, minisig []byte, keys []PublicKey) (PublicKey, error) {
	if len(minisig) > MaxSignatureSize {
		return PublicKey{}, fmt.Errorf("signature: it has %d bytes, over the limit of %d", len(minisig), MaxSignatureSize)
	}
	var s minisign.Signature
	if err := s.UnmarshalText(minisig); err != nil {
		return PublicKey{}, fmt.Errorf("signature: %w", err)
	}
	wrong := false
	for _, k := range keys {
		if k.key.ID() != s.KeyID {
			continue
		}
		if minisign.Verify(k.key, message, minisig) {
			return k, nil
		}
		wrong = true
	}
	if wrong {
		return PublicKey{}, fmt.Errorf("the signature by key %s does not match: it is over something else", keyID(s.KeyID))
	}
	return PublicKey{}, fmt.Errorf("it is signed by %s", keyID(s.KeyID))
}

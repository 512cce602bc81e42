package manifest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"aead.dev/minisign"
	"golang.org/x/crypto/blake2b"
)

// PublicKey is a minisign public key. Make one with ParsePublicKey or PrivateKey.Public.
type PublicKey struct{ key minisign.PublicKey }

// ID is the key's id, 16 hex digits as the minisign program prints it. It is a hint to find a key by, no proof.
func (k PublicKey) ID() string { return keyID(k.key.ID()) }

// String is the key in one line, as it is given on a command line (minisign -P).
func (k PublicKey) String() string { return k.key.String() }

// Encode returns the content of a .pub file.
func (k PublicKey) Encode() []byte {
	return fmt.Appendf(nil, "untrusted comment: minisign public key %s\n%s\n", k.ID(), k)
}

// Equal reports whether both are the same key.
func (k PublicKey) Equal(other PublicKey) bool { return k.key.Equal(other.key) }

func keyID(id uint64) string { return fmt.Sprintf("%016X", id) }

// ParsePublicKey reads the text of a .pub file or the one line of base64 in it.
func ParsePublicKey(s string) (PublicKey, error) {
	var k PublicKey
	if err := k.key.UnmarshalText([]byte(strings.TrimSpace(s))); err != nil {
		return PublicKey{}, fmt.Errorf("read public key: %w", err)
	}
	return k, nil
}

// PrivateKey is a minisign private key. Make one with GenerateKey or ParsePrivateKey.
type PrivateKey struct{ key minisign.PrivateKey }

// GenerateKey makes a new pair.
func GenerateKey() (PrivateKey, PublicKey, error) {
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		return PrivateKey{}, PublicKey{}, fmt.Errorf("generate key: %w", err)
	}
	return PrivateKey{private}, PublicKey{public}, nil
}

// Public is the key that verifies what k signs.
func (k PrivateKey) Public() PublicKey { return PublicKey{k.key.Public().(minisign.PublicKey)} }

// String names the key by its id, so that a key that strays into a log gives nothing away.
func (k PrivateKey) String() string { return "private key " + k.Public().ID() }

// A key file is a comment and, in base64, these bytes; the last 72 of them before the checksum are the secret.
const (
	privateComment  = "untrusted comment: minisign encrypted secret key\n" // so it says even where it isn't
	privateIDAt     = 54
	privateSecretAt = 62
	privateSumAt    = 126
	privateSize     = 158
)

// Encode returns the content of a key file that password opens, as minisign -G makes it, in a second or more and with
// 1 GiB of memory: that is what guards the password. An empty password makes one as minisign -G -W does: whoever
// reads the file can sign.
func (k PrivateKey) Encode(password string) ([]byte, error) {
	if password != "" {
		text, err := minisign.EncryptKey(password, k.key)
		if err != nil {
			return nil, fmt.Errorf("encrypt private key: %w", err)
		}
		return append(text, '\n'), nil
	}
	text, err := k.key.MarshalText()
	if err != nil {
		return nil, fmt.Errorf("write private key: %w", err)
	}
	b, err := decodePrivate(text)
	if err != nil {
		return nil, fmt.Errorf("write private key: %w", err)
	}
	sum := privateSum(b) // the library leaves it out, and the minisign program then takes the key for damaged
	copy(b[privateSumAt:], sum[:])
	return []byte(privateComment + base64.StdEncoding.EncodeToString(b) + "\n"), nil
}

// KeyNeedsPassword reports whether ParsePrivateKey needs a password to read the key file text.
func KeyNeedsPassword(text []byte) bool { return minisign.IsEncrypted(bytes.TrimSpace(text)) }

// ParsePrivateKey reads the text of a key file. password is for a key that has one (KeyNeedsPassword), and then
// reading takes a second or more; otherwise it is not looked at.
func ParsePrivateKey(text []byte, password string) (PrivateKey, error) {
	text = bytes.TrimSpace(text)
	var k PrivateKey
	if minisign.IsEncrypted(text) {
		var err error
		if k.key, err = minisign.DecryptKey(password, text); err != nil {
			return PrivateKey{}, fmt.Errorf("read private key: wrong password, or the file is damaged: %w", err)
		}
		return k, nil // its checksum is part of the decryption
	}
	if err := k.key.UnmarshalText(text); err != nil {
		return PrivateKey{}, fmt.Errorf("read private key: %w", err)
	}
	b, err := decodePrivate(text)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read private key: %w", err)
	}
	// Some programs leave the checksum out; a seed beside the wrong public half would then give itself away with the
	// first signature.
	sum, have := privateSum(b), [32]byte(b[privateSumAt:])
	secret := ed25519.PrivateKey(b[privateSecretAt:privateSumAt])
	if have != sum && have != [32]byte{} || !ed25519.NewKeyFromSeed(secret.Seed()).Equal(secret) {
		return PrivateKey{}, errors.New("read private key: the file is damaged")
	}
	return k, nil
}

// decodePrivate returns the bytes of an unencrypted key file.
func decodePrivate(text []byte) ([]byte, error) {
	line := bytes.TrimSpace(text)
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = bytes.TrimSpace(line[i:])
	}
	b, err := base64.StdEncoding.DecodeString(string(line))
	if err != nil {
		return nil, err
	}
	if len(b) != privateSize {
		return nil, fmt.Errorf("%d bytes where a key has %d", len(b), privateSize)
	}
	return b, nil
}

// privateSum is the checksum in a key file: over the algorithm's name, the id and the secret.
func privateSum(b []byte) [32]byte {
	message := binary.LittleEndian.AppendUint16(nil, minisign.EdDSA)
	return blake2b.Sum256(append(message, b[privateIDAt:privateSumAt]...))
}

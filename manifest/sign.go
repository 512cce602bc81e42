package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"aead.dev/minisign"

	"handout/manifest/internal/bencode"

	"handout/manifest/amount"
)

// signedTag stands before the "handout" bytes in what is signed, so that a signature made for something else
// never fits a manifest.
const signedTag = "handout manifest v1\n"

// Signature is one signature found in a manifest.
type Signature struct {
	KeyID   string // 16 hex digits, as the minisign program prints it
	Trusted bool   // made by one of the keys Open was given, and right
	Comment string // what the signer said and signed (minisign's trusted comment); empty unless Trusted
}

// SignedBytes are the bytes a signature of the manifest raw is over: written to a file, the minisign program signs
// and verifies them.
func SignedBytes(raw []byte) ([]byte, error) {
	f, err := readFrame(raw)
	if err != nil {
		return nil, err
	}
	return f.signedBytes(), nil
}

// Sign returns raw with a signature by k, which takes the place of an earlier one by the same key. Others stay. It
// signs nothing that Open would refuse as invalid.
func Sign(raw []byte, k PrivateKey) ([]byte, error) {
	if _, err := Open(raw, Trust{AllowUnsigned: true}); err != nil {
		return nil, fmt.Errorf("sign manifest: %w", err)
	}
	message, err := SignedBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("sign manifest: %w", err)
	}
	r := minisign.NewReader(bytes.NewReader(message)) // makes the prehashed kind that minisign itself makes
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, fmt.Errorf("sign manifest: %w", err)
	}
	comment := fmt.Sprintf("timestamp:%d", time.Now().Unix())
	return AttachSignature(raw, r.SignWithComments(k.key, comment, ""))
}

// AttachSignature returns raw with the signature minisig in it, the text of a file that minisign made from
// SignedBytes. It takes the place of an earlier one by the same key. Its untrusted comment is dropped: nobody vouches
// for it. Whether the signature is right only Open can say, which has the key.
func AttachSignature(raw, minisig []byte) ([]byte, error) {
	f, err := readFrame(raw)
	if err != nil {
		return nil, fmt.Errorf("attach signature: %w", err)
	}
	var s minisign.Signature
	if err := s.UnmarshalText(minisig); err != nil {
		return nil, fmt.Errorf("attach signature: %w", err)
	}
	text := canonical(s)
	if _, err := readSignature(text); err != nil {
		return nil, fmt.Errorf("attach signature: %w", err)
	}
	var texts [][]byte
	for _, have := range f.signatures {
		if have.parsed.KeyID != s.KeyID {
			texts = append(texts, have.text)
		}
	}
	texts = append(texts, text)
	if len(texts) > MaxSignatures {
		return nil, fmt.Errorf("attach signature: the manifest has %d already, which is all it can hold", MaxSignatures)
	}
	return f.withSignatures(texts), nil
}

// signature is one signature as it stands in a manifest.
type signature struct {
	text   []byte
	parsed minisign.Signature
}

// canonical is the one text a signature has in a manifest, so that there is no bit in it that means nothing.
func canonical(s minisign.Signature) []byte {
	s.UntrustedComment = "handout"
	return []byte(s.String())
}

func readSignature(text []byte) (signature, error) {
	s := signature{text: text}
	if len(text) > MaxSignatureSize {
		return s, fmt.Errorf("signature: it has %d bytes, over the limit of %d", len(text), MaxSignatureSize)
	}
	if err := s.parsed.UnmarshalText(text); err != nil {
		return s, fmt.Errorf("signature: %w", err)
	}
	if !bytes.Equal(text, canonical(s.parsed)) {
		return s, errors.New("signature: not in the form handout writes")
	}
	// minisign puts tabs into the comment it makes by itself.
	if i := strings.IndexFunc(s.parsed.TrustedComment, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }); i >= 0 {
		return s, errors.New("signature: a control character in its comment")
	}
	return s, nil
}

// frame is a manifest taken apart at the top level; nothing in it is believed yet.
type frame struct {
	raw        []byte
	keys       []string
	values     [][]byte // bencoded, as they stand in the file, one for each key
	info       []byte
	handout    []byte
	signatures []signature
}

func (f *frame) signedBytes() []byte { return append([]byte(signedTag), f.handout...) }

// readFrame takes a copy of raw apart. Its errors wrap ErrInvalid.
func readFrame(raw []byte) (*frame, error) {
	if len(raw) > MaxSize {
		return nil, invalid("the file has %s, over the limit of %s", amount.Bytes(int64(len(raw))), amount.Bytes(MaxSize))
	}
	f := &frame{raw: bytes.Clone(raw)}
	r := bencode.NewReader(f.raw)
	err := r.Dict(func(key []byte) error {
		if len(f.keys) == maxTopLevelKeys {
			return fmt.Errorf("more than %d keys at the top level", maxTopLevelKeys)
		}
		value, err := r.Raw()
		if err != nil {
			return err
		}
		f.keys = append(f.keys, string(key))
		f.values = append(f.values, value)
		switch string(key) {
		case keyInfo:
			f.info = value
		case keyHandout:
			f.handout = value
		case keySignatures:
			f.signatures, err = readSignatures(value)
		}
		return err
	})
	if err == nil {
		err = r.End()
	}
	switch {
	case err != nil:
		return nil, invalid("%w", err)
	case f.info == nil:
		return nil, invalid("no %q key: not a torrent of version 1", keyInfo)
	case f.handout == nil:
		return nil, invalid("no %q key: a plain torrent has neither SHA-256 nor a signature", keyHandout)
	}
	return f, nil
}

func readSignatures(value []byte) ([]signature, error) {
	var list []signature
	r := bencode.NewReader(value)
	err := r.List(func() error {
		if len(list) == MaxSignatures {
			return fmt.Errorf("more than %d signatures", MaxSignatures)
		}
		text, err := r.Bytes()
		if err != nil {
			return err
		}
		s, err := readSignature(text)
		list = append(list, s)
		return err
	})
	return list, err
}

// withSignatures writes the manifest with these signatures and everything else byte for byte as it was.
func (f *frame) withSignatures(texts [][]byte) []byte {
	keys, values := slices.Clone(f.keys), slices.Clone(f.values)
	at, have := slices.BinarySearch(keys, keySignatures)
	if !have {
		keys = slices.Insert(keys, at, keySignatures)
		values = slices.Insert(values, at, nil)
	}
	list := []byte{'l'}
	for _, text := range texts {
		list = bencode.AppendString(list, text)
	}
	values[at] = append(list, 'e')

	raw := []byte{'d'}
	for i, key := range keys {
		raw = bencode.AppendString(raw, key)
		raw = append(raw, values[i]...)
	}
	return append(raw, 'e')
}

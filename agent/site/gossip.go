package site

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// The membership's messages as hashicorp/memberlist writes them (net.go and security.go of v0.7.0), as far as they have to
// be read before it reads them: a label, then, with a site key, AES-GCM, a checksum perhaps, then one message or several.
const (
	pingMsg = iota
	indirectPingMsg
	ackRespMsg
	suspectMsg
	aliveMsg
	deadMsg
	pushPullMsg
	compoundMsg
	userMsg
	compressMsg
	encryptMsg
	nackRespMsg
	hasCrcMsg
	errMsg

	hasLabelMsg = 244
)

type (
	// claim is what somebody says of a member: that it is suspect or dead, and of which of its incarnations.
	claim struct {
		Incarnation uint32
		Node        string
		From        string
	}
	// alive is what a member says of itself, and others pass on.
	alive struct {
		Incarnation uint32
		Node        string
		Addr        []byte
		Port        uint16
		Meta        []byte
		Vsn         []uint8
	}
	// exchange begins what two members tell each other of all that they know: so many nodeStates, then the user's state.
	exchange struct {
		Nodes        int
		UserStateLen int
		Join         bool
	}
	nodeState struct {
		Name        string
		Addr        []byte
		Port        uint16
		Meta        []byte
		Incarnation uint32
		State       int
		Vsn         []uint8
	}
	userHeader struct{ UserMsgLen int }
)

const stateAlive = 0

var errGossip = errors.New("not a message of this site's membership")

func unpack(b []byte, v any) error {
	return codec.NewDecoderBytes(b, &codec.MsgpackHandle{}).Decode(v)
}

func pack(kind byte, v any) []byte {
	b := bytes.NewBuffer([]byte{kind})
	if err := codec.NewEncoder(b, &codec.MsgpackHandle{}).Encode(v); err != nil {
		panic(fmt.Sprintf("a message of the membership cannot be written: %v", err)) // plain structs of plain values
	}
	return b.Bytes()
}

// seal is how a site's messages are closed.
type seal struct {
	label string
	key   []byte // nil: not encrypted
}

// open takes the label and the encryption from a packet.
func (s seal) open(b []byte) ([]byte, error) {
	b, ok := bytes.CutPrefix(b, s.header())
	if !ok {
		return nil, errGossip
	}
	if s.key != nil {
		var err error
		if b, err = s.decrypt(b, []byte(s.label)); err != nil {
			return nil, err
		}
	}
	if len(b) >= 5 && b[0] == hasCrcMsg {
		if crc32.ChecksumIEEE(b[5:]) != binary.BigEndian.Uint32(b[1:]) {
			return nil, errGossip
		}
		b = b[5:]
	}
	return b, nil
}

// close is the opposite of open.
func (s seal) close(b []byte) ([]byte, error) {
	if s.key == nil {
		return append(s.header(), b...), nil
	}
	block, err := aes.NewCipher(s.key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, gcm.NonceSize())
	rand.Read(nonce)
	return gcm.Seal(slices.Concat(s.header(), []byte{1}, nonce), nonce, b, []byte(s.label)), nil
}

func (s seal) header() []byte {
	return append([]byte{hasLabelMsg, byte(len(s.label))}, s.label...)
}

// decrypt opens AES-GCM: the version, which is 1, a nonce, and the rest.
func (s seal) decrypt(b, also []byte) ([]byte, error) {
	block, err := aes.NewCipher(s.key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(b) < 1+gcm.NonceSize() || b[0] != 1 {
		return nil, errGossip
	}
	nonce := b[1 : 1+gcm.NonceSize()]
	return gcm.Open(nil, nonce, b[1+gcm.NonceSize():], also)
}

// openStream returns the kind of a stream's message and what follows. A stream that was accepted begins with the label.
func (s seal) openStream(r io.Reader, accepted bool) (kind byte, rest io.Reader, err error) {
	if accepted {
		label := make([]byte, len(s.header()))
		if _, err := io.ReadFull(r, label); err != nil {
			return 0, nil, err
		}
		if !bytes.Equal(label, s.header()) {
			return 0, nil, errGossip
		}
	}
	var head [5]byte
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return 0, nil, err
	}
	if (head[0] == encryptMsg) != (s.key != nil) {
		return 0, nil, errGossip
	}
	if s.key == nil {
		return head[0], r, nil
	}
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxStreamBytes {
		return 0, nil, errGossip
	}
	closed, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err != nil {
		return 0, nil, err
	}
	if len(closed) != int(size) {
		return 0, nil, io.ErrUnexpectedEOF
	}
	plain, err := s.decrypt(closed, append(head[:], s.label...))
	if err != nil || len(plain) == 0 {
		return 0, nil, errors.Join(errGossip, err)
	}
	return plain[0], bytes.NewReader(plain[1:]), nil
}

// single calls take with each message in an opened packet. Nobody packs, as Site.New says, and nobody puts several into one
// of several.
func single(b []byte, take func([]byte)) error {
	if len(b) == 0 {
		return errGossip
	}
	if b[0] != compoundMsg {
		take(b)
		return nil
	}
	if len(b) < 2 || len(b) < 2+2*int(b[1]) {
		return errGossip
	}
	sizes, rest := b[2:2+2*int(b[1])], b[2+2*int(b[1]):]
	for ; len(sizes) > 0; sizes = sizes[2:] {
		n := int(binary.BigEndian.Uint16(sizes))
		if n > len(rest) {
			return errGossip
		}
		if n > 0 && rest[0] != compoundMsg {
			take(rest[:n])
		}
		rest = rest[n:]
	}
	return nil
}

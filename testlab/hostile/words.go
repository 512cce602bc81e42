package hostile

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
)

// noise is the same in every run.
func noise(n int) []byte {
	var seed [32]byte
	b := make([]byte, n)
	rand.NewChaCha8(seed).Read(b)
	return b
}

// wire is what is said at the door for neighbours, where the BitTorrent peer protocol is spoken (BEP 3, BEP 10).
func (t Target) wire() [][]byte {
	hello := func(hash [20]byte) []byte {
		b := append([]byte("\x13BitTorrent protocol"), 0, 0, 0, 0, 0, 0x10, 0, 0x05) // extensions (BEP 10), fast (BEP 6)
		b = append(b, hash[:]...)
		return append(b, noise(20)...)
	}
	known := hello(t.InfoHash)
	message := func(id byte, body ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(1+len(body)))
		return append(append(b, id), body...)
	}
	request := message(6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0) // piece 0, from 0, 128 KiB
	extended := func(dict string) []byte { return message(20, append([]byte{0}, dict...)...) }
	return [][]byte{
		nil, // says nothing
		noise(4 << 10),
		[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		known,
		hello([20]byte{1, 2, 3}),
		append(bytes.Clone(known), 0xff, 0xff, 0xff, 0xff, 5),                                  // a message of 4 GiB
		append(bytes.Clone(known), message(5, noise(1<<16)...)...),                             // a bitfield of another torrent
		append(bytes.Clone(known), message(4, 0xff, 0xff, 0xff, 0xff)...),                      // has a piece that there can't be
		append(bytes.Clone(known), message(6, bytes.Repeat([]byte{0xff}, 12)...)...),           // asks for what can't be
		append(bytes.Clone(known), message(7, append(make([]byte, 8), noise(1<<14)...)...)...), // a block that nobody asked for
		append(bytes.Clone(known), bytes.Repeat(request, 2000)...),                             // the same, again and again
		append(bytes.Clone(known), bytes.Repeat(message(0), 20000)...),                         // chokes without end
		append(bytes.Clone(known), extended(strings.Repeat("l", 1<<16))...),                    // nested without end
		append(bytes.Clone(known), extended("d1:md11:ut_metadatai-1eee")...),                   // negative
		append(bytes.Clone(known), extended("d4:reqqi9223372036854775807e13:metadata_sizei1099511627776ee")...),
		append(bytes.Clone(known), message(250, noise(100)...)...),
	}
}

// The membership's messages, by hand: hashicorp/memberlist's types, in MessagePack.
const (
	aliveMessage    = 4
	pushPullMessage = 6
	compoundMessage = 7
	userMessage     = 8
	compressMessage = 9
	encryptMessage  = 10
	labelMessage    = 244
)

// packed is a small map: names and values in turn, values being numbers, strings and bytes.
func packed(pairs ...any) []byte {
	b := []byte{0x80 | byte(len(pairs)/2)}
	for _, v := range pairs {
		switch v := v.(type) {
		case int:
			b = binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
		case string:
			b = append(append(b, 0xd9, byte(len(v))), v...)
		case []byte:
			b = append(binary.BigEndian.AppendUint32(append(b, 0xc6), uint32(len(v))), v...)
		}
	}
	return b
}

// labelled puts the site's label before a message, which members look at first.
func (t Target) labelled(m ...byte) []byte {
	label := "handout:" + t.Site
	return append(append([]byte{labelMessage, byte(len(label))}, label...), m...)
}

// bomb is little that becomes a lot when it is unpacked.
func bomb(size int) []byte {
	var b bytes.Buffer
	w := lzw.NewWriter(&b, lzw.LSB, 8)
	w.Write(make([]byte, size)) // to memory
	w.Close()
	return append([]byte{compressMessage}, packed("Algo", 0, "Buf", b.Bytes())...)
}

// alive says that a machine is a member which is none.
func alive(i int) []byte {
	return append([]byte{aliveMessage}, packed("Incarnation", 1, "Node", fmt.Sprintf("ghost-%d", i),
		"Addr", []byte{10, 78, byte(2 + i>>8), byte(i)}, "Port", 4748, "Meta", []byte(`{"peer":4747}`), "Vsn", []byte{1, 5, 2, 0, 0, 0})...)
}

// streams is what is said at the door for members, over TCP.
func (t Target) streams() [][]byte {
	return [][]byte{
		nil,
		noise(4 << 10),
		[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		[]byte("handout: "),
		[]byte("handout: " + strings.Repeat("x", 1<<16)),
		[]byte("handout: nothing of the kind 1\n"),
		[]byte("handout: status 1\n"),
		[]byte("handout: orders 1\n" + strings.Repeat(`{"ask":"index"}`+"\n", 1000)),
		[]byte("handout: orders 1\n" + `{"ask":"order","size":9223372036854775807}` + "\n"),
		t.labelled(append([]byte{pushPullMessage}, packed("Nodes", 1<<40, "UserStateLen", 0)...)...),
		t.labelled(append([]byte{pushPullMessage}, packed("Nodes", 0, "UserStateLen", 20<<20)...)...),
		t.labelled(append([]byte{pushPullMessage}, packed("Nodes", -1, "UserStateLen", -1)...)...),
		t.labelled(append([]byte{userMessage}, packed("UserMsgLen", 1<<40)...)...),
		t.labelled(append(append([]byte{userMessage}, packed("UserMsgLen", 64)...), noise(64)...)...),
		t.labelled(bomb(32 << 20)...),
		t.labelled(append([]byte{encryptMessage, 0xff, 0xff, 0xff, 0xff}, noise(1000)...)...),
		t.labelled(noise(1 << 16)...),
	}
}

// packets is what is thrown at the door for members.
func (t Target) packets() (all [][]byte) {
	all = [][]byte{
		nil, noise(1), noise(1400), []byte("handout knock"),
		t.labelled(append([]byte{compoundMessage, 0xff}, bytes.Repeat([]byte{0xff}, 600)...)...),
		t.labelled(bomb(16 << 20)...),
		t.labelled(append([]byte{userMessage}, []byte(`{"from":"x","roll":{"founder":"x","version":9223372036854775807,"order":["x"]}}`)...)...),
		t.labelled(append([]byte{userMessage}, strings.Repeat("[", 1200)...)...),
	}
	for kind := range byte(14) {
		all = append(all, t.labelled(kind), t.labelled(append([]byte{kind}, noise(200)...)...), t.labelled(append([]byte{kind}, packed("Node", "x", "SeqNo", -1)...)...))
	}
	for i := range 500 {
		all = append(all, t.labelled(alive(i)...))
	}
	return all
}

// multicasts are thrown at the door for discovery (RFC 6762).
func multicasts() [][]byte {
	header := func(flags, questions, answers uint16) []byte {
		b := binary.BigEndian.AppendUint16(nil, 0)
		for _, n := range []uint16{flags, questions, answers, 0, 0} {
			b = binary.BigEndian.AppendUint16(b, n)
		}
		return b
	}
	name := []byte("\x08_handout\x04_tcp\x05local\x00")
	question := append(bytes.Clone(name), 0, 12, 0, 1)
	answer := func(i int) []byte {
		target := fmt.Appendf(nil, "\x06g%05d%s", i, name)
		b := append(bytes.Clone(name), 0, 12, 0, 1, 0, 0, 0x10, 0)
		return append(binary.BigEndian.AppendUint16(b, uint16(len(target))), target...)
	}
	many := header(0x8400, 0, 100)
	for i := range 100 {
		many = append(many, answer(i)...)
	}
	loop := append(header(0, 1, 0), 0xc0, 0x0c, 0, 12, 0, 1) // a name that points to itself
	return [][]byte{
		nil, noise(100), noise(8000), header(0, 0xffff, 0xffff), loop,
		append(header(0, 1, 0), question...),
		append(header(0, 100, 0), bytes.Repeat(question, 100)...),
		many,
	}
}

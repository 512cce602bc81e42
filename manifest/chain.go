package manifest

import (
	"crypto/sha256"
	"hash"
	"sync"
)

// chain takes the SHA-256 of one file whose parts come out of several pieces, in any order.
type chain struct {
	mu      sync.Mutex
	busy    bool // someone is hashing: the others leave their parts and go
	next    int64
	waiting map[int64]chainPart // by offset in the file
	hash    hash.Hash           // used by whoever set busy
}

type chainPart struct {
	bytes  []byte
	buffer *pieceBuffer
}

// addPart gives bytes, the part s of its file, to the file's chain, and hashes as far as the chain can go unless
// someone is at it. The caller has counted the use of the buffer, addPart releases it in time.
func (h *hasher) addPart(s Span, bytes []byte, buffer *pieceBuffer) {
	c := h.chainOf(s.File)
	c.mu.Lock()
	c.waiting[s.Offset] = chainPart{bytes, buffer}
	if c.busy {
		c.mu.Unlock()
		return
	}
	c.busy = true
	for {
		part, ok := c.waiting[c.next]
		if !ok {
			break
		}
		delete(c.waiting, c.next)
		c.next += int64(len(part.bytes))
		c.mu.Unlock()
		c.hash.Write(part.bytes)
		h.release(part.buffer)
		c.mu.Lock()
	}
	c.busy = false
	f := &h.m.Files[s.File]
	if c.next == f.Length {
		c.hash.Sum(f.SHA256[:0])
		h.dropChain(s.File)
	}
	c.mu.Unlock()
}

func (h *hasher) chainOf(file int) *chain {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.chains[file]
	if c == nil {
		c = &chain{waiting: map[int64]chainPart{}, hash: sha256.New()}
		h.chains[file] = c
	}
	return c
}

func (h *hasher) dropChain(file int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.chains, file)
}

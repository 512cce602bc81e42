package swarm

import (
	"hash/maphash"
	"time"

	"github.com/anacrolix/torrent"

	"handout/manifest"
)

// While pieces come wrong, the blocks of each are remembered by a sum and their senders, and compared once it has come right:
// whoever sent another block lied, though others had a part in that piece as well. As long as all comes right nothing of
// this costs anything.

const (
	// waryFor is how long after a wrong piece blocks are remembered.
	waryFor = time.Minute
	// mostSuspect and mostBlocks bound how many wrong pieces are remembered until they have come right, and of each how
	// many blocks.
	mostSuspect = 64
	mostBlocks  = 4096
)

// part is what neighbours sent of a piece that is not verified yet.
type part struct {
	by     map[*torrent.Peer]*neighbour
	others bool    // somebody who has left sent some too
	blocks []block // while this machine is wary
}

type block struct {
	begin, length int64
	sum           uint64
	from          *torrent.Peer
	end           end
}

var blockSeed = maphash.MakeSeed()

// remember notes a block of a piece. The caller holds t.mu.
func (p *part) remember(from *torrent.Peer, e end, begin int64, data []byte) {
	if len(p.blocks) < mostBlocks {
		p.blocks = append(p.blocks, block{begin, int64(len(data)), maphash.Bytes(blockSeed, data), from, e})
	}
}

// suspect keeps the blocks of a piece that came wrong until it comes right. The caller holds t.mu.
func (t *Torrent) suspect(i manifest.PieceIndex, blocks []block) {
	if len(blocks) == 0 || len(t.suspects) >= mostSuspect && t.suspects[i] == nil || len(t.suspects[i]) >= mostBlocks {
		return
	}
	t.suspects[i] = append(t.suspects[i], blocks...)
}

// compare finds out who sent wrong blocks of piece i, which is here and right.
func (t *Torrent) compare(i manifest.PieceIndex) (liars []*torrent.Peer) {
	t.mu.Lock()
	blocks := t.suspects[i]
	delete(t.suspects, i)
	t.mu.Unlock()
	if len(blocks) == 0 {
		return nil
	}
	right := make([]byte, t.m.PieceSize(i))
	if _, err := t.pieces.ReadAt(i, right, 0); err != nil {
		return nil
	}
	now := time.Now()
	for _, b := range blocks {
		if b.begin < 0 || b.begin+b.length > int64(len(right)) {
			continue // the engine lets none through
		}
		if maphash.Bytes(blockSeed, right[b.begin:b.begin+b.length]) != b.sum {
			t.engine.trust.proved(now, b.end)
			liars = append(liars, b.from)
		}
	}
	return liars
}

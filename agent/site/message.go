package site

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"handout/agent/plan"
	"handout/manifest"
)

// What members say to each other, as JSON. Everything here is hostile until it was checked by open.
type (
	message struct {
		From    plan.MemberID `json:"from"`
		Roll    *roll         `json:"roll,omitempty"`
		Ask     *wireAsk      `json:"ask,omitempty"`
		Answer  *wireAnswer   `json:"answer,omitempty"`
		Release *wireRelease  `json:"release,omitempty"`
		Holds   []wireLease   `json:"holds,omitempty"` // a report: these leases are held, to be renewed or adopted
		Report  bool          `json:"report,omitempty"`
		Renewed *renewed      `json:"renewed,omitempty"`
		// Starving: it helps itself, as nobody else will.
		Starving bool   `json:"starving,omitempty"`
		Digest   string `json:"digest,omitempty"` // of what the machine was told (Options.Digest)
	}
	wireAsk struct {
		Stream   int                 `json:"stream"`
		Package  string              `json:"package"` // the info-hash in hex
		Pieces   int                 `json:"pieces"`
		Eligible []byte              `json:"eligible"` // one bit a piece, the first in the highest bit (BEP 3's order)
		After    manifest.PieceIndex `json:"after"`
		Limit    int                 `json:"limit"`
		Link     float64             `json:"link,omitempty"`
		Holds    plan.LeaseID        `json:"holds,omitempty"`
		Fed      bool                `json:"fed,omitempty"`
		Bound    []byte              `json:"bound,omitempty"` // as Eligible; none: it knows of no such pieces
		Again    bool                `json:"again,omitempty"`
		Seq      uint64              `json:"seq,omitempty"`
	}
	wireLease struct {
		ID      plan.LeaseID        `json:"id"`
		Package string              `json:"package,omitempty"`
		Pieces  int                 `json:"pieces,omitempty"`
		First   manifest.PieceIndex `json:"first,omitempty"`
		Len     int                 `json:"len,omitempty"`
		Link    float64             `json:"link,omitempty"`
		Front   bool                `json:"front,omitempty"`
		Read    int                 `json:"read,omitempty"`
	}
	wireRelease struct {
		ID    plan.LeaseID        `json:"id"`
		After manifest.PieceIndex `json:"after"`
	}
	wireAnswer struct {
		Stream int       `json:"stream"`
		Seq    uint64    `json:"seq,omitempty"`
		Lease  wireLease `json:"lease"` // its package is the ask's, granted or not
		Yield  bool      `json:"yield,omitempty"`
	}
	renewed struct {
		IDs         []plan.LeaseID `json:"ids"`
		Ended       []plan.LeaseID `json:"ended,omitempty"`  // of those that were reported
		Connections int            `json:"connections"`      // how many leases are out in the site
		Report      bool           `json:"report,omitempty"` // it answers a report
	}
)

const (
	// maxMessage and the bounds below keep a stranger's message small before it is looked at closer.
	maxMessage = 1 << 20
	maxPieces  = 1 << 21
	maxHolds   = 256
	maxStream  = 255
	maxID      = 64
	maxDigest  = 64
)

var errMessage = errors.New("message does not make sense")

func (m *message) seal() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("a message of ours cannot be written: %v", err)) // plain structs of plain values
	}
	return b
}

// open reads and checks a message; what it returns has every number within its bounds.
func open(b []byte) (*message, error) {
	if len(b) > maxMessage {
		return nil, fmt.Errorf("%w: %d bytes", errMessage, len(b))
	}
	m := new(message)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	ok := len(m.From) > 0 && len(m.From) <= maxID && len(m.Holds) <= maxHolds && len(m.Digest) <= maxDigest
	if m.Roll != nil {
		ok = ok && len(m.Roll.Order) <= maxMembers && len(m.Roll.Founder) <= maxID
		for _, id := range m.Roll.Order {
			ok = ok && len(id) > 0 && len(id) <= maxID
		}
	}
	if a := m.Ask; a != nil {
		ok = ok && a.Stream >= 0 && a.Stream <= maxStream && a.Pieces > 0 && a.Pieces <= maxPieces &&
			len(a.Eligible) == (a.Pieces+7)/8 && (len(a.Bound) == 0 || len(a.Bound) == len(a.Eligible)) && a.Limit >= 0 && a.Link >= 0 && isInfoHash(a.Package)
	}
	if a := m.Answer; a != nil {
		ok = ok && a.Stream >= 0 && a.Stream <= maxStream && a.Lease.inBounds() && isInfoHash(a.Lease.Package)
	}
	for _, l := range m.Holds {
		ok = ok && l.inBounds() && isInfoHash(l.Package)
	}
	if r := m.Renewed; r != nil {
		ok = ok && len(r.IDs) <= maxHolds && len(r.Ended) <= maxHolds && r.Connections >= 0
	}
	if !ok {
		return nil, errMessage
	}
	return m, nil
}

func isInfoHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == len(manifest.InfoHash{})
}

func infoHash(s string) (h manifest.InfoHash) {
	b, _ := hex.DecodeString(s) // checked by open
	copy(h[:], b)
	return h
}

func (l wireLease) inBounds() bool {
	return l.Pieces >= 0 && l.Pieces <= maxPieces && l.Len >= 0 && l.Link >= 0 && l.Read >= 0 && l.Read <= l.Len && int64(l.First)+int64(l.Len) <= maxPieces
}

func (l wireLease) lease(of plan.MemberID) plan.Lease {
	return plan.Lease{ID: l.ID, Member: of, Package: infoHash(l.Package), Run: plan.Run{First: l.First, Len: l.Len}, Link: l.Link,
		Front: l.Front, Read: l.Read}
}

func wire(l plan.Lease, pieces int) wireLease {
	return wireLease{ID: l.ID, Package: l.Package.String(), Pieces: pieces, First: l.Run.First, Len: l.Run.Len, Link: l.Link,
		Front: l.Front, Read: l.Read}
}

func (a *wireAsk) ask(of plan.MemberID) plan.Ask {
	ask := plan.Ask{Member: of, Stream: a.Stream, Package: infoHash(a.Package), Eligible: fieldOf(a.Eligible, a.Pieces), After: a.After,
		Limit: a.Limit, Link: a.Link, Holds: a.Holds, Fed: a.Fed, Again: a.Again, Seq: a.Seq}
	if len(a.Bound) > 0 {
		ask.Bound = fieldOf(a.Bound, a.Pieces)
	}
	return ask
}

// fieldOf reads the pieces of n that are set, the first in the highest bit.
func fieldOf(bits []byte, n int) plan.Bitfield {
	f := plan.NewBitfield(n)
	for i := range n {
		if bits[i/8]&(0x80>>(i%8)) != 0 {
			f.Set(manifest.PieceIndex(i))
		}
	}
	return f
}

// bitsOf is the reverse of fieldOf; nil for no pieces.
func bitsOf(f plan.Bitfield) []byte {
	if f.Len() == 0 {
		return nil
	}
	bits := make([]byte, (f.Len()+7)/8)
	for i := range f.All {
		bits[i/8] |= 0x80 >> (i % 8)
	}
	return bits
}

func wireOf(a plan.Ask) *wireAsk {
	return &wireAsk{Stream: a.Stream, Package: a.Package.String(), Pieces: a.Eligible.Len(), Eligible: bitsOf(a.Eligible),
		After: a.After, Limit: a.Limit, Link: a.Link, Holds: a.Holds, Fed: a.Fed, Bound: bitsOf(a.Bound), Again: a.Again, Seq: a.Seq}
}

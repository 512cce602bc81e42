package site

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"

	"handout/agent/plan"
)

// delegate is what the membership calls: it must not block.
type delegate struct{ s *Site }

func (d delegate) NodeMeta(int) []byte {
	d.s.mu.Lock()
	m := meta{Peer: d.s.o.PeerPort, At: d.s.advertised(), Installed: d.s.o.Installed, Shut: d.s.reach.Shut, Slow: d.s.slow}
	d.s.mu.Unlock()
	b, err := json.Marshal(m)
	if err != nil {
		return nil
	}
	return b
}

// LocalState and MergeRemoteState carry the roll, and the digest, when two members meet, and from time to time.
func (d delegate) LocalState(bool) []byte {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	r := d.s.roll
	m := message{From: d.s.id, Roll: &r, Digest: d.s.digest()}
	return m.seal()
}

func (d delegate) MergeRemoteState(b []byte, _ bool) { d.NotifyMsg(b) }

func (d delegate) GetBroadcasts(overhead, limit int) [][]byte { return d.s.news.get(overhead, limit) }

func (d delegate) NotifyMsg(b []byte) {
	from, b, err := source(b)
	var m *message
	if err == nil {
		m, err = open(b)
	}
	if err != nil {
		d.s.log.Debug("a member's message is left out", "error", err)
		return
	}
	if !d.s.owns(string(m.From), from) {
		// Somebody speaks in the name of another, or the exchange that makes it a member is not over.
		d.s.log.Debug("a message does not come from the member that it names: it is left out", "from", from, "names", m.From)
		d.s.mu.Lock()
		d.s.meetAgain()
		d.s.mu.Unlock()
		return
	}
	d.s.hear(m)
}

func (d delegate) NotifyJoin(n *memberlist.Node) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	id := plan.MemberID(n.Name)
	own := *n // the membership changes its own when the member's word changes
	own.Addr, own.Meta = slices.Clone(n.Addr), slices.Clone(n.Meta)
	d.s.enter(&own)
	if _, met := d.s.since[id]; !met {
		d.s.since[id] = time.Now()
		d.s.untold = true
		select {
		case d.s.joined <- struct{}{}:
		default:
		}
		if d.s.o.Met != nil {
			d.s.o.Met()
		}
	}
	d.s.hasNews()
	d.s.reckon()
}

func (d delegate) NotifyUpdate(n *memberlist.Node) { d.NotifyJoin(n) }

func (d delegate) NotifyLeave(n *memberlist.Node) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	id := plan.MemberID(n.Name)
	if id == d.s.id {
		return
	}
	d.s.strike(id)
	delete(d.s.passed, id)
	d.s.office.Forget(id)
	d.s.hasNews()
	d.s.reckon()
	if d.s.reported != nil {
		d.s.allReported(time.Now()) // the dead need not be waited for
	}
}

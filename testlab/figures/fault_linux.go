package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"

	"github.com/hashicorp/memberlist"

	"handout/agent/site"
	"handout/agent/swarm"
	"handout/discovery"
	"handout/discovery/networks"
	"handout/manifest"
)

// misbehave is how this program is called to be a machine that does: misbehave FAULT MANIFEST READY. The file READY is
// made when the others can find it.
const misbehave = "misbehave"

// fault is how a machine misbehaves.
type fault string

const (
	muteNeighbour  fault = "mute"    // has every piece, takes requests, sends nothing
	lyingNeighbour fault = "lying"   // has every piece, sends random bytes
	deafSteward    fault = "deaf"    // is a member and first in the roll; never says a word of its own
	unfairSteward  fault = "unfair"  // the same, but shows that it hears; grants nothing
	denyingSteward fault = "denying" // the same, but answers each ask: nothing to read
)

func (f fault) ofSteward() bool { return f == deafSteward || f == unfairSteward || f == denyingSteward }

// What everybody uses in a room.
const (
	peerPort   = discovery.DefaultPort
	memberPort = peerPort + 1
	siteName   = "site0"
)

// beFaulty never returns but with an error: the process is killed with its room.
func beFaulty(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%s: FAULT MANIFEST READY", misbehave)
	}
	kind, ready := fault(args[0]), args[2]
	var join func([]netip.AddrPort)
	if kind.ofSteward() {
		s, err := joinAsSteward(kind)
		if err != nil {
			return err
		}
		join = s.join
	} else {
		s, err := joinAsNeighbour(kind, args[1])
		if err != nil {
			return err
		}
		join = s.Join
	}
	if err := os.WriteFile(ready, nil, 0o644); err != nil {
		return err
	}
	return discovery.Run(context.Background(), discovery.Options{Port: peerPort}, func(a netip.AddrPort, _ bool) {
		join([]netip.AddrPort{netip.AddrPortFrom(a.Addr(), a.Port()+1)})
	})
}

var everywhere = netip.MustParsePrefix("10.0.0.0/8")

// joinAsNeighbour is an honest member of the site whose pieces are no good.
func joinAsNeighbour(kind fault, file string) (*site.Site, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
	if err != nil {
		return nil, err
	}
	e, err := swarm.New(swarm.Options{Listen: fmt.Sprintf(":%d", peerPort), Admit: everywhere.Contains})
	if err != nil {
		return nil, err
	}
	if _, err := e.Add(m, worthless{kind}); err != nil {
		return nil, err
	}
	return site.New(site.Options{
		Port: memberPort, Name: siteName, PeerPort: peerPort, Connections: 4,
		Networks: networks.New(networks.Options{CIDRs: []netip.Prefix{everywhere}}),
	})
}

// worthless claims every piece.
type worthless struct{ fault }

func (worthless) Has(manifest.PieceIndex) bool   { return true }
func (worthless) Lacks(manifest.PieceIndex) bool { return false }

func (w worthless) ReadAt(_ manifest.PieceIndex, p []byte, _ int64) (int, error) {
	if w.fault == muteNeighbour {
		select {}
	}
	return rand.Read(p)
}

func (worthless) WriteAt(_ manifest.PieceIndex, p []byte, _ int64) (int, error) { return len(p), nil }
func (worthless) Verify(manifest.PieceIndex) (bool, error)                      { return true, nil }

// badSteward speaks the site's protocol by hand, since the honest code can do no wrong. Being installed puts it first in
// the roll that others keep.
type badSteward struct {
	fault
	name string
	list *memberlist.Memberlist
}

func joinAsSteward(kind fault) (*badSteward, error) {
	b := &badSteward{fault: kind, name: "0-" + rand.Text()[:8]}
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label = b.name, "handout:"+siteName
	c.BindPort, c.AdvertisePort = memberPort, memberPort
	c.EnableCompression = false // members refuse what is packed, and it would be deaf in every row
	c.Delegate, c.Logger = b, log.New(io.Discard, "", 0)
	var err error
	b.list, err = memberlist.Create(c)
	return b, err
}

func (b *badSteward) join(addrs []netip.AddrPort) {
	for _, a := range addrs {
		go b.list.Join([]string{a.String()}) // the others find this machine too
	}
}

func (b *badSteward) NodeMeta(int) []byte { return []byte(`{"peer":0,"installed":true}`) }

// NotifyMsg must not block.
func (b *badSteward) NotifyMsg(raw []byte) {
	var m struct {
		From string `json:"from"`
		Ask  *struct {
			Stream  int    `json:"stream"`
			Package string `json:"package"`
		} `json:"ask"`
	}
	if json.Unmarshal(raw, &m) != nil || b.fault == deafSteward {
		return
	}
	answer := map[string]any{"from": b.name, "renewed": map[string]any{"ids": []int{}, "connections": 0}}
	if m.Ask != nil && b.fault == denyingSteward {
		answer["answer"] = map[string]any{"stream": m.Ask.Stream, "lease": map[string]any{"id": 0, "package": m.Ask.Package}}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return
	}
	go func() {
		for _, n := range b.list.Members() {
			if n.Name == m.From {
				b.list.SendReliable(n, text)
			}
		}
	}()
}

func (b *badSteward) GetBroadcasts(int, int) [][]byte { return nil }
func (b *badSteward) LocalState(bool) []byte          { return nil }
func (b *badSteward) MergeRemoteState([]byte, bool)   {}

// Package site is the machines of one site as one of them sees them: who is a member, who is steward, and who may read
// the origin.
//
// Membership is hashicorp/memberlist's: it notices the dead within seconds and carries our messages, encrypted where the
// site has a key. Leases go over its own streams (one message, one TCP connection to the member's port), because they
// then have the membership's door, key and liveness, reach members that share no package, and lose nothing silently; at a
// lease a second per connection the cost is nothing. The answer to an ask comes as a message of its own, since a steward
// lets asks stand until a connection is free.
//
// The same port answers whoever asks whether it can be dialled back (dialback.go): a machine behind a firewall learns it
// that way, tells the members, and all name it. Other rooms have it answer their questions as well (dialect.go).
//
// What decides is pure and lies elsewhere: plan.Steward gives out the leases, roll says who is steward.
package site

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"handout/agent/plan"
	"handout/discovery/networks"
)

// Options say which site this machine belongs to and how it can be reached.
type Options struct {
	Alone       bool               // no members are looked for and no port is opened
	Name        string             // machines of one name share the origin connections; "": "default"
	Key         []byte             // 16, 24 or 32 bytes that all members share; nil: an open site
	Port        int                // TCP and UDP, for members
	PeerPort    int                // told to the others
	Installed   bool               // this machine stays: it is steward before those that come to fetch
	Networks    *networks.Networks // who may be a member, and where others reach this machine; nil, and Alone: not asked
	Connections int                // origin connections of the site
	Dialects    []Dialect          // what else the port for members answers
	Digest      func() string      // of what all members should be told alike, maxDigest bytes at most; nil: nothing
	Heard       func(Told)         // a member said its digest; must not block. nil: nobody listens
	Met         func()             // a member was met for the first time; must not block. nil: nobody cares
	Moved       func(netip.Addr)   // a member is no longer at this address; must not block. nil: nobody cares
	Log         *slog.Logger       // nil: silent
}

// DefaultName is the site of machines that were told none.
const DefaultName = "default"

// Site is this machine's membership. Its methods are safe for concurrent use.
type Site struct {
	o    Options
	id   plan.MemberID
	log  *slog.Logger
	list *memberlist.Memberlist
	port *transport // nil: alone
	news rumours

	mu         sync.Mutex
	members    map[plan.MemberID]*member // the living, this machine included
	alive      map[plan.MemberID]bool    // the same
	roll       roll
	passed     map[plan.MemberID]passing // stewards that are passed over
	denied     denial                    // of the present steward
	steward    plan.MemberID             // as last seen, to notice a change
	owed       time.Time                 // since when the steward owes an answer; zero: it owes none
	spoke      time.Time                 // when it last said anything
	followed   time.Time                 // since when it is the steward
	resort     bool                      // this machine helps itself, as nobody else will
	sounding   bool                      // those on the roll are being asked for a sign of life
	silent     time.Time                 // since when stewards, one after the other, have left questions unanswered
	told       time.Time                 // when this machine, as steward, last told the roll
	untold     bool                      // the roll has changed since
	remindedAt time.Time                 // when it last told some again
	help       selfHelp
	accused    accused
	office     *plan.Steward          // this machine's own; used while it is steward
	outpaced   time.Time              // since when, as steward, it has had a slower link than those who ask; zero: it has not
	slow       bool                   // for which it is steward only where nobody else can be
	reported   map[plan.MemberID]bool // since this machine became steward
	allTold    bool                   // they all did once
	held       map[plan.LeaseID]*Lease
	waiting    map[line]*wish
	seq        uint64 // of the newest ask
	random     func(int) int
	asked      time.Time                   // when the newest report was sent
	unheard    int                         // how many reports the steward has not answered, since it was followed or answered one
	met        time.Time                   // when another member was last asked whom it knows
	meetPause  time.Duration               // before one is asked again
	heard      uint64                      // the version of the roll that was last reported upon
	siteConn   int                         // how many leases the steward said are out …
	siteConnAt time.Time                   // … and when
	ended      map[plan.LeaseID]time.Time  // when leases were given back to this machine
	since      map[plan.MemberID]time.Time // when this machine first met a member
	follows    map[plan.MemberID]bool      // who has reported to this machine, as it does to whom it follows
	nearing    int                         // calls of JoinNear that haven't ended
	joined     chan struct{}               // holds one: a member was met
	reach      Reach
	nonce      []byte        // of the knock that is awaited
	knock      chan struct{} // closed by it
	closed     bool
	resting    bool          // nothing falls due: serve looks rarely, and the membership gossips slowly
	lively     time.Time     // until then it does not rest
	ticker     *time.Ticker  // the membership's, for gossip; nil: alone, or not to be had
	stir       chan struct{} // holds one: it is to look now
	sending    chan struct{} // one for each message under way
	done       chan struct{}
	work       sync.WaitGroup
}

// meta is what a member says of itself to the membership.
type meta struct {
	Peer      int          `json:"peer"`
	At        []netip.Addr `json:"at,omitempty"` // best first; none: where the membership says
	Installed bool         `json:"installed,omitempty"`
	Shut      Doors        `json:"shut,omitempty"`
	Slow      bool         `json:"slow,omitempty"`
}

// New opens the port for members. The machine is a site of its own until Join finds others. The caller closes it.
func New(o Options) (*Site, error) {
	o.Name = named(o.Name)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	var raw [8]byte
	rand.Read(raw[:])
	id := plan.MemberID(hex.EncodeToString(raw[:]))
	s := &Site{
		o: o, id: id, log: o.Log,
		members: map[plan.MemberID]*member{},
		alive:   map[plan.MemberID]bool{},
		passed:  map[plan.MemberID]passing{},
		ended:   map[plan.LeaseID]time.Time{},
		roll:    roll{Founder: id, Version: 1, Order: []plan.MemberID{id}},
		steward: id,
		office:  plan.NewSteward(o.Connections, firstLease(), mathrand.IntN),
		random:  mathrand.IntN,
		help:    selfHelp{random: mathrand.Float64},
		held:    map[plan.LeaseID]*Lease{},
		waiting: map[line]*wish{},
		since:   map[plan.MemberID]time.Time{id: time.Now()},
		follows: map[plan.MemberID]bool{},
		joined:  make(chan struct{}, 1),
		stir:    make(chan struct{}, 1),
		sending: make(chan struct{}, maxSending),
		done:    make(chan struct{}),
	}
	if o.Alone {
		s.enter(&memberlist.Node{Name: string(id)})
		s.work.Go(s.serve)
		return s, nil
	}
	c := memberlist.DefaultLANConfig()
	c.Name = string(id)
	c.Label = "handout:" + o.Name
	c.BindPort = o.Port
	c.AdvertiseAddr = netip.IPv4Unspecified().String()
	said := s.advertised()
	if len(said) > 0 {
		c.AdvertiseAddr = said[0].String()
	}
	c.SecretKey = o.Key
	// The gate has taken the label and the encryption away from whatever the membership reads, and lets nothing through without.
	c.SkipInboundLabelCheck, c.GossipVerifyIncoming = true, false
	c.TCPTimeout = streamTime
	// A dead steward is missed within some three seconds; on a LAN half a second is a long time for an answer.
	c.ProbeInterval, c.ProbeTimeout, c.SuspicionMult = 500*time.Millisecond, 300*time.Millisecond, 3
	c.GossipInterval = gossipEvery
	// What members tell each other now and then, they have heard at once: it only mends what got lost.
	c.PushPullInterval = time.Minute
	// Packing takes more memory and processor time than an agent at rest needs for all the rest, and saves little on a LAN.
	c.EnableCompression = false
	c.Delegate, c.Events, c.Alive = delegate{s}, delegate{s}, delegate{s}
	s.news.begin(s)
	c.Logger = log.New(io.Discard, "", 0)
	admits := func(a netip.Addr) bool { return o.Networks.Now().Admits(a) }
	g := &gate{seal: seal{c.Label, o.Key}, me: string(id), ownsIt: s.owns, accuse: s.accuse}
	port, err := newTransport(o.Port, g, newDialer(o.Name, o.Key, admits), newDialects(o.Name, o.Key, admits, append(slices.Clip(o.Dialects), s.whoDialect())),
		s.knocked, s.missed, o.Log)
	if err != nil {
		return nil, fmt.Errorf("open port %d for members of the site: %w", o.Port, err)
	}
	s.port, port.zoned = port, s.zoned
	c.Transport, c.AdvertisePort = s.port, port.port()
	list, err := memberlist.Create(c)
	if err != nil {
		s.port.Shutdown()
		return nil, fmt.Errorf("open port %d for members of the site: %w", o.Port, err)
	}
	s.mu.Lock()
	s.list, s.ticker = list, gossipTicker(list)
	s.untold = true // whoever came in meanwhile could not be told
	s.mu.Unlock()
	s.work.Go(s.serve)
	s.work.Go(func() { s.followNetworks(said) })
	if o.PeerPort != 0 {
		s.work.Go(s.findReach)
	}
	return s, nil
}

// named is the name of a site that was given this one.
func named(name string) string {
	if name == "" {
		return DefaultName
	}
	return name
}

// firstLease numbers a steward's leases apart from every other steward's.
func firstLease() plan.LeaseID {
	return plan.LeaseID(mathrand.Uint64() &^ (1<<24 - 1) >> 1)
}

// Join meets the members at addresses, their ports for members. It blocks for some seconds at most. Members that are
// known are not asked again.
func (s *Site) Join(addrs []netip.AddrPort) {
	if s.list == nil {
		return
	}
	known := map[netip.AddrPort]bool{}
	s.mu.Lock()
	for _, m := range s.members {
		known[m.Port] = true
	}
	s.mu.Unlock()
	var all []string
	for _, k := range mathrand.Perm(len(addrs)) {
		// A few are enough: whoever is met tells of the others. If all joined one, it would choke.
		if a := addrs[k]; !known[a] && len(all) < maxJoin {
			all = append(all, joinText(a))
		}
	}
	if len(all) > 0 {
		s.list.Join(all) // whoever can't be reached is tried again by the caller
	}
}

const maxJoin = 4

// JoinNear is Join with addresses of machines that were heard a moment ago. Until it is known whose site they are of, a
// machine that has just come gives itself no connections.
func (s *Site) JoinNear(addrs []netip.AddrPort) {
	s.mu.Lock()
	s.nearing++
	s.mu.Unlock()
	s.Join(addrs)
	s.mu.Lock()
	s.nearing--
	s.mu.Unlock()
}

// Port is where members reach this machine; 0: nowhere.
func (s *Site) Port() int {
	if s.list == nil {
		return 0
	}
	return int(s.list.LocalNode().Port)
}

// Close leaves the site.
func (s *Site) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.hasNews() // that it leaves
	s.closed = true
	close(s.done)
	for _, l := range s.held {
		l.lose()
	}
	s.mu.Unlock()
	var err error
	if s.list != nil {
		s.list.Leave(200 * time.Millisecond) // whoever does not hear it will notice
		err = s.list.Shutdown()
	}
	s.work.Wait()
	return err
}

// who is the steward as this machine sees it: itself, where others were asked in vain.
func (s *Site) who() (plan.MemberID, bool) {
	passed := s.passedNow(s.roll)
	if s.isResort(time.Now()) {
		return s.id, true
	}
	return s.roll.steward(s.alive, passed)
}

// rank is how late a member would be steward, whenever it came: agents that stay first, then fetches that will be gone, and
// last machines that take no connections, as they can't be asked, and those that were too slow for it.
func (s *Site) rank(id plan.MemberID) int {
	m := s.members[id]
	switch {
	case s.shutOf(id)&(MemberTCP|MemberUDP) != 0, m != nil && m.Slow:
		return unfit
	case s.slow && (id == s.id || s.office.Outpaced(id)): // nor do its like follow a steward that makes room
		return unfit
	case m != nil && m.Installed:
		return 0
	default:
		return 1
	}
}

// send carries a message to a member in the background; what is lost is made up for by whoever waits.
func (s *Site) send(to plan.MemberID, m message) {
	it := s.members[to]
	if it == nil || s.closed || s.list == nil || len(s.sending) >= cap(s.sending) {
		return
	}
	m.From = s.id
	b := m.seal()
	shut := s.shutOf(to)
	s.sending <- struct{}{}
	s.work.Go(func() {
		defer func() { <-s.sending }()
		fits := len(b) <= datagram
		// A datagram needs no round trip first, which on a full link is the longer part. To a machine that takes no
		// connections it is the only way: its firewall lets in what comes from where it sent to.
		if fits {
			if err := s.list.SendBestEffort(it.node, b); err != nil {
				s.log.Debug("member can't be told", "member", it.Port, "error", err)
			}
		}
		if isDear := m.Answer != nil || m.Release != nil; fits && (!isDear || shut&MemberTCP != 0) {
			return
		}
		if err := s.list.SendReliable(it.node, b); err != nil {
			s.log.Debug("member can't be told", "member", it.Port, "error", err)
		}
	})
}

// datagram is the largest message that goes by UDP, whole in one packet with what the membership adds. A grant or a
// release that is lost costs a connection for a term, so these take the surer way as well: whichever comes second says nothing
// new.
const datagram = 1100

// maxSending bounds the messages under way: members that take none must not pile them up.
const maxSending = 512

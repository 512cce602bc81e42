package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"handout/agent/site"
	"handout/discovery"
	"handout/discovery/networks"
)

// Finding is one thing that was looked at.
type Finding struct {
	Check  string `json:"check"`
	State  State  `json:"state"`
	What   string `json:"what"`             // may quote strangers
	Remedy string `json:"remedy,omitempty"` // what to do about it
}

// State is how a finding is to be taken.
type State string

// Trouble is what somebody should mend; a note is good to know.
const (
	Fine    State = "ok"
	Note    State = "note"
	Trouble State = "trouble"
)

const (
	// listenTime lets an agent answer that did so a second ago.
	listenTime = 2500 * time.Millisecond
	// examined is how many machines are asked to dial back.
	examined = 8
	// skewAllowed is far less than what spoils an expiry, and more than a slow network feigns.
	skewAllowed = 2 * time.Minute
)

// Examine finds out why this machine stands alone, or that it does not: who can be heard, who is named, who answers and
// is of this site, whether they can come in, and what their clocks say. It opens the ports for neighbours and members
// unless an agent runs here, and takes some six seconds.
func Examine(ctx context.Context, c Config) []Finding {
	if c.PeerPort == 0 {
		c.PeerPort = DefaultPeerPort
	}
	e := examination{c: c, here: networks.New(networks.Options{CIDRs: c.CIDRs}).Now(), named: map[netip.AddrPort]string{}}
	porch, err := site.OpenPorch(c.PeerPort)
	if err == nil {
		defer porch.Close()
	}
	e.porch, e.porchErr = porch, err
	heard := e.listen(ctx)
	e.call(ctx)
	e.judgeCards()
	e.judgeMulticast(heard)
	e.judgeMembers()
	e.judgeInbound()
	e.judgeClock()
	return e.findings
}

// examination is what is known so far.
type examination struct {
	c        Config
	here     *networks.View
	porch    *site.Porch // nil: the ports are not to be had
	porchErr error

	named    map[netip.AddrPort]string // agents that may be there, and who said so
	called   []call
	findings []Finding
}

type call struct {
	to  netip.AddrPort
	by  string
	got site.Echo
	err error
}

func (e *examination) find(check string, s State, remedy, format string, args ...any) {
	e.findings = append(e.findings, Finding{check, s, fmt.Sprintf(format, args...), remedy})
}

func (e *examination) name(by string, addrs ...netip.AddrPort) {
	for _, a := range addrs {
		if _, known := e.named[a]; !known && !(e.here.IsMine(a.Addr()) && int(a.Port()) == e.c.PeerPort) {
			e.named[a] = by
		}
	}
}

// listen asks all three sources of addresses.
func (e *examination) listen(ctx context.Context) (heard []discovery.Heard) {
	ctx, cancel := context.WithTimeout(ctx, listenTime)
	defer cancel()
	var g sync.WaitGroup
	g.Go(func() { heard = discovery.Probe(ctx, e.here, e.c.CIDRs) })
	e.askNames(ctx)
	e.askSeeds(ctx)
	g.Wait()
	for _, h := range heard {
		e.name("multicast on "+h.Interface, h.Agents...)
	}
	return heard
}

func (e *examination) askNames(ctx context.Context) {
	domains := e.c.Domains
	if domains == nil {
		domains, _ = discovery.SearchDomains() // none is a finding, whatever the cause
	}
	if len(domains) == 0 {
		e.find("names", Note, "", "no domain whose record SRV _handout._tcp could name neighbours")
	}
	for _, d := range domains {
		addrs, err := discovery.LookupDomain(ctx, net.DefaultResolver, d)
		switch {
		case err != nil:
			e.find("names", Trouble, "Does the name server answer? Is it the right one in this machine's settings?", "%v", err)
		case len(addrs) == 0:
			e.find("names", Note, "", "SRV _handout._tcp.%s: no such record", d)
		default:
			e.find("names", Fine, "", "SRV _handout._tcp.%s names %s", d, listed(addrs))
			e.name("the name service", addrs...)
		}
	}
}

func (e *examination) askSeeds(ctx context.Context) {
	for _, s := range e.c.Seeds {
		addrs, err := discovery.ResolveSeed(ctx, s)
		if err != nil {
			e.find("names", Trouble, "Is the name of the seed right?", "%v", err)
		}
		e.name("the seeds", addrs...)
	}
}

// call has some of the machines that were named dial back.
func (e *examination) call(ctx context.Context) {
	for to, by := range e.named {
		if !e.here.Admits(to.Addr()) {
			e.find("members", Trouble, "Name their network: site.cidrs in the config.",
				"%s, known from %s, lies outside this machine's networks", to, by)
			continue
		}
		e.called = append(e.called, call{to: to, by: by})
	}
	rand.Shuffle(len(e.called), func(i, j int) { e.called[i], e.called[j] = e.called[j], e.called[i] })
	e.called = e.called[:min(len(e.called), examined)]
	var g sync.WaitGroup
	for i := range e.called {
		g.Go(func() {
			k := &e.called[i]
			member := netip.AddrPortFrom(k.to.Addr(), k.to.Port()+1)
			k.got, k.err = site.AskDialBack(ctx, member, e.c.PeerPort, e.c.PeerPort+1, e.c.Site, e.c.SiteKey)
		})
	}
	g.Wait()
}

// judgeCards tells which network cards neighbours are looked for on, and why not on the others.
func (e *examination) judgeCards() {
	for _, c := range e.here.Used {
		e.find("cards", Fine, "", "%s is in use", c)
	}
	for _, c := range e.here.Left {
		if c.Kind != networks.Loop && len(c.Prefixes) > 0 {
			e.find("cards", Note, "If neighbours are there, name the network: --cidr (site.cidrs in the config).", "%s is not used: it %s", c.Card, c.Why)
		}
	}
	if len(e.here.Used) > 0 && len(e.here.Advertise()) > 0 {
		e.find("cards", Fine, "", "others are told to reach this machine at %s", texts(e.here.Advertise()))
	}
}

func texts(all []netip.Addr) string {
	var names []string
	for _, a := range all {
		names = append(names, a.String())
	}
	return strings.Join(names, ", ")
}

func (e *examination) judgeMulticast(heard []discovery.Heard) {
	const around = "Without multicast: name a machine with --seed, or all in the name service (SRV _handout._tcp)."
	if len(heard) == 0 {
		e.find("multicast", Trouble, "Is the cable in, is there an address? Do site.cidrs fit?",
			"no network interface to look for neighbours on")
	}
	for _, h := range heard {
		on := fmt.Sprintf("%s (%s)", h.Interface, h.Addr)
		switch missed := e.missed(h); {
		case h.Err != nil:
			e.find("multicast", Trouble, "Let UDP 5353 out and in, in this machine's firewall. "+around, "%s: %v", on, h.Err)
		case !h.Own && h.Others == 0:
			e.find("multicast", Trouble, "Let UDP 5353 in, in this machine's firewall. "+around,
				"%s: nothing comes in, not even what this machine sends", on)
		case len(missed) > 0:
			e.find("multicast", Trouble, "The switch or access point keeps multicast back: look for IGMP snooping without a querier, "+
				"or client isolation. "+around,
				"%s: %s answers and is in the same network, but was not heard", on, listed(missed))
		case len(h.Agents) == 0:
			e.find("multicast", Note, "", "%s: other machines heard: %d, none of them with an agent", on, h.Others)
		default:
			e.find("multicast", Fine, "", "%s: other machines heard: %d, agents: %d", on, h.Others, len(h.Agents))
		}
	}
}

// missed are the machines that should have been heard: they are in a subnet of the card.
func (e *examination) missed(h discovery.Heard) (all []netip.AddrPort) {
	for _, c := range e.here.Used {
		for _, k := range e.called {
			if c.Name == h.Interface && k.err == nil && h.Addr.IsValid() && h.Addr.Is4() == k.to.Addr().Is4() &&
				!slices.Contains(h.Agents, k.to) && c.Holds(k.to.Addr()) {
				all = append(all, k.to)
			}
		}
	}
	return all
}

func (e *examination) judgeMembers() {
	var ours, deaf []netip.AddrPort
	for _, k := range e.called {
		switch {
		case k.err != nil:
			deaf = append(deaf, k.to)
		case k.got.SameSite:
			ours = append(ours, k.to)
		}
	}
	bad := Trouble
	if len(ours) > 0 {
		bad = Note // there may be two sites, and a machine that has just left
		e.find("members", Fine, "", "%s: of this site, and answers", listed(ours))
	}
	for _, k := range e.called {
		if k.err == nil && !k.got.SameSite {
			what, remedy := e.stranger(k.got)
			e.find("members", bad, remedy, "%s %s", k.to, what)
		}
	}
	if len(deaf) > 0 {
		ports := (site.PeerTCP | site.MemberTCP | site.MemberUDP).Ports(int(deaf[0].Port()))
		e.find("members", bad, "Does an agent, or a fetch, run there? Does the firewall there let "+ports+" in?",
			"%s: known, but does not answer", listed(deaf))
	}
	if len(e.named) == 0 {
		e.find("members", Trouble, "Start another machine and look again. If one runs: name it with --seed.",
			"no other machine was found")
	}
}

// stranger says why a machine that answers is of another site.
func (e *examination) stranger(k site.Echo) (what, remedy string) {
	name := e.c.Site
	if name == "" {
		name = "default"
	}
	switch here := len(e.c.SiteKey) > 0; {
	case k.Site != name:
		return fmt.Sprintf("is of the site %q, this machine of %q", k.Site, name),
			"The same --site (site.name) on both, if they belong together."
	case k.Keyed && !here:
		return "has a site key, this machine has none", "Copy the site's key here: --site-key (site.key)."
	case !k.Keyed && here:
		return "has no site key, this machine has one", "Copy the site's key there, or leave it out here."
	default:
		return "has another site key", "Copy the same key to all machines of the site."
	}
}

func (e *examination) judgeInbound() {
	var opens site.Doors
	doors, tried := site.PeerTCP|site.MemberTCP, 0
	if e.porch != nil {
		doors |= site.MemberUDP // what comes to an agent that runs here, only it can tell
	}
	for _, k := range e.called {
		if k.err != nil {
			continue
		}
		tried++
		opens |= k.got.Opens
		if e.porch != nil && e.porch.Knocked(k.got) {
			opens |= site.MemberUDP
		}
		if seen := k.got.Seen; seen.IsValid() && !e.here.IsMine(seen) {
			e.find("inbound", Trouble, "Between them addresses are translated: machines behind it reach others, and nobody reaches them.",
				"%s sees this machine as %s, an address it has not got", k.to, seen)
		}
	}
	switch shut := doors &^ opens; {
	case e.porchErr != nil && !isInUse(e.porchErr):
		e.find("inbound", Trouble, "Choose another port: --port.", "%v", e.porchErr)
	case tried == 0:
		e.find("inbound", Note, "", "nobody is there who could try to come in")
	case shut != 0:
		e.find("inbound", Trouble, "Open it with: "+site.Remedy(e.c.PeerPort),
			"inbound %s is blocked: %d tried", shut.Ports(e.c.PeerPort), tried)
	default:
		who := ""
		if e.porch == nil {
			who = ", to the agent that runs here"
		}
		e.find("inbound", Fine, "", "others come in on %s%s", opens.Ports(e.c.PeerPort), who)
	}
}

func (e *examination) judgeClock() {
	for _, k := range e.called {
		if k.err == nil && k.got.SameSite && k.got.Clock.Abs() > skewAllowed {
			e.find("clock", Trouble, "Set the clock, here or there: packages expire by it.",
				"the clock of %s differs from this machine's by %v", k.to, k.got.Clock.Round(time.Second))
		}
	}
}

// listed names a few addresses.
func listed(addrs []netip.AddrPort) string {
	const few = 4
	var names []string
	for _, a := range addrs[:min(few, len(addrs))] {
		names = append(names, a.String())
	}
	text := strings.Join(names, ", ")
	if n := len(addrs) - few; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"handout/agent"
	"handout/agent/orders"
	"handout/agent/site"
	"handout/discovery"
)

// deskFlags say to whom an admin hands what he has signed: one agent is enough, as they pass it on.
type deskFlags struct {
	to      []string
	site    string
	keyFile string
	domain  string
	wait    time.Duration
}

func (d *deskFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&d.to, "to", nil, "hand it to the agent at `HOST[:PORT]`, which passes it on; repeatable: the first that takes it is enough (default: one that is found)")
	fs.StringVar(&d.site, "site", agent.DefaultSite, "it is for the machines of the site `NAME`")
	fs.StringVar(&d.keyFile, "site-key", "", "`FILE` with the site's key, where the site has one")
	fs.StringVar(&d.domain, "site-domain", "", "`DOMAIN` whose record SRV _handout._tcp names agents (default: this machine's search domains); none: not asked")
	periodFlag(fs, &d.wait, "timeout", 15*time.Second, "look for an agent that takes it for `DURATION`")
}

var errNoTaker = errors.New("no agent took it")

// hand has ask hand something to one agent after the other until one takes it, and returns who did. The errors to ask for
// are *orders.Refusal, of the agent that had the most to say, and errNoTaker.
func (d *deskFlags) hand(ctx context.Context, ask func(*orders.Asker) error) (taker string, known bool, err error) {
	var key []byte
	if d.keyFile != "" {
		if key, err = readSiteKey(d.keyFile); err != nil {
			return "", false, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	var last error
	sites := map[string]bool{} // of agents that belong to another than d.site
	// What one agent refuses another may take, but all that are near have said so within a moment.
	var enough <-chan time.Time
	try := func(member string) bool {
		err := d.ask(ctx, member, key, ask)
		if name, other := errors.AsType[*site.OtherSite](err); other {
			sites[name.Site] = true
		}
		switch {
		case err == nil, errors.Is(err, orders.ErrKnown):
			taker, known, last = member, err != nil, nil
			return true
		case last == nil || weight(err) > weight(last):
			last = fmt.Errorf("%s: %w", member, err)
		}
		if weight(last) > 0 && enough == nil {
			enough = time.After(refusedFor)
		}
		return false
	}
	if len(d.to) > 0 {
		for _, host := range d.to {
			member, err := memberAddress(host)
			if err != nil {
				return "", false, err
			}
			if try(member) {
				return taker, known, nil
			}
		}
	} else if d.look(ctx, func() <-chan time.Time { return enough }, try) {
		return taker, known, nil
	}
	if _, refused := errors.AsType[*orders.Refusal](last); refused {
		return "", false, last
	}
	if len(sites) > 0 {
		var names []string
		for name := range sites {
			names = append(names, printable(name))
		}
		slices.Sort(names)
		what := "another site"
		if len(names) > 1 {
			what = "other sites"
		}
		return "", false, fmt.Errorf("%w: %w", errNoTaker, advisedError{
			fmt.Errorf("none of the site %q was found, only agents of %s: %s", d.site, what, quoted(names)),
			"An order is for one site: name it with --site."})
	}
	if last == nil {
		last = advisedError{errNoTaker, "No agent was found in this network. Name one: --to HOST. handout doctor tells what keeps a machine alone."}
		return "", false, last
	}
	return "", false, fmt.Errorf("%w: %w", errNoTaker, last)
}

// refusedFor is how long others are asked after an agent refused, or is of another site.
const refusedFor = 1500 * time.Millisecond

// quoted names a few sites.
func quoted(names []string) string {
	const few = 8
	var all []string
	for _, n := range names[:min(few, len(names))] {
		all = append(all, strconv.Quote(n))
	}
	return strings.Join(all, ", ")
}

// weight is how much an agent's answer tells: many say nothing, some are of another site, some obey nobody.
func weight(err error) int {
	r, refused := errors.AsType[*orders.Refusal](err)
	switch {
	case errors.Is(err, site.ErrOtherSite) || errors.Is(err, site.ErrSiteKey):
		return 1
	case !refused:
		return 0
	case r.Reason == orders.Deaf || r.Reason == orders.Unknown:
		return 2
	}
	return 3
}

// busyTries is how often an agent is asked that answers many others.
const busyTries = 20

func (d *deskFlags) ask(ctx context.Context, member string, key []byte, ask func(*orders.Asker) error) error {
	for try := 1; ; try++ {
		c, err := site.Ask(ctx, member, orders.Greeting, d.site, key)
		if errors.Is(err, site.ErrBusy) && try < busyTries {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if err != nil {
			return deskAdvice(err)
		}
		defer c.Close()
		return ask(orders.NewAsker(c))
	}
}

// deskAdvice adds what to do about an agent that is of another site.
func deskAdvice(err error) error {
	switch {
	case errors.Is(err, site.ErrOtherSite):
		return advisedError{err, "An order is for one site: name it with --site."}
	case errors.Is(err, site.ErrSiteKey):
		return advisedError{err, "Only who has the site's key is heard: --site-key FILE, the file its machines have."}
	}
	return err
}

// memberAddress is an agent's port for members, which is the one after that for neighbours.
func memberAddress(host string) (string, error) {
	var s seedAddr
	if err := s.UnmarshalText([]byte(host)); err != nil {
		return "", usagef("--to: %w", err)
	}
	name, port, err := net.SplitHostPort(s.text)
	if err != nil { // no port was given
		name, port = s.text, strconv.Itoa(agent.DefaultPeerPort)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n >= 65535 {
		return "", usagef("--to: %q has no port after %s", host, port)
	}
	return net.JoinHostPort(name, strconv.Itoa(n+1)), nil
}

// look tries this machine's own agent, and then those that are found, each once, until one takes it, ctx ends, or enough was
// heard.
func (d *deskFlags) look(ctx context.Context, enough func() <-chan time.Time, try func(string) bool) bool {
	if member, err := memberAddress("127.0.0.1"); err == nil && try(member) {
		return true
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := make(chan netip.AddrPort, 256)
	o := discovery.Options{}
	switch d.domain {
	case "":
	case "none":
		o.Domains = []string{}
	default:
		o.Domains = []string{d.domain}
	}
	ended := make(chan error, 1)
	go func() {
		ended <- discovery.Run(ctx, o, func(at netip.AddrPort, _ bool) {
			select {
			case heard <- at:
			default:
			}
		})
	}()
	defer func() {
		cancel()
		<-ended
	}()
	tried := map[netip.AddrPort]bool{}
	for {
		select {
		case at := <-heard:
			if tried[at] || at.Port() == 65535 {
				continue
			}
			tried[at] = true
			if try(netip.AddrPortFrom(at.Addr(), at.Port()+1).String()) {
				return true
			}
		case err := <-ended:
			ended <- err // for the deferred
			return false
		case <-enough():
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// lives reads --expires of what an admin signs; empty: so long.
func lives(expires string, usual time.Duration, now time.Time) (time.Time, error) {
	if expires == "" {
		return now.Add(usual), nil
	}
	return expiry(expires, now)
}

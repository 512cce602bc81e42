package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	// What one look at the name service may bring. A site has a few machines that always run; those are named.
	maxDomains = 8
	maxTargets = 32
	maxPerHost = 4 // addresses of one target

	// srvRest is the least time between two looks: the records are an admin's and change in days.
	srvRest = 30 * time.Second
)

// LookupDomain asks the name service for the agents of a domain: the targets of its record SRV _handout._tcp (RFC 2782),
// 32 at most, with their addresses. It ends after some seconds. No record is no error, and no address.
func LookupDomain(ctx context.Context, r *net.Resolver, domain string) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	domain = strings.TrimSuffix(domain, ".") + "." // as it stands, and not beneath the machine's own domains
	_, targets, err := r.LookupSRV(ctx, "handout", "tcp", domain)
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return nil, nil
	}
	if err != nil && len(targets) == 0 {
		return nil, fmt.Errorf("look up SRV _handout._tcp.%s: %w", domain, err)
	}
	targets = targets[:min(len(targets), maxTargets)]
	found := make([][]netip.AddrPort, len(targets))
	var g sync.WaitGroup
	for i, t := range targets {
		if t.Target == "." || t.Port == 0 { // "decidedly not available"
			continue
		}
		g.Go(func() {
			ips, err := r.LookupNetIP(ctx, "ip", t.Target)
			if err != nil {
				return // the others may do
			}
			for _, ip := range ips[:min(len(ips), maxPerHost)] {
				found[i] = append(found[i], netip.AddrPortFrom(ip.Unmap(), t.Port))
			}
		})
	}
	g.Wait()
	var all []netip.AddrPort
	for _, f := range found {
		all = append(all, f...)
	}
	return all, nil
}

// SearchDomains are the domains this machine's name service looks names up in, bounded and without those that hold no
// records of a site.
func SearchDomains() ([]string, error) {
	all, err := systemDomains()
	return usableDomains(all), err
}

func usableDomains(all []string) (usable []string) {
	seen := map[string]bool{"": true, "local": true} // the latter is multicast DNS's
	for _, d := range all {
		d = strings.ToLower(strings.Trim(strings.TrimSpace(d), "."))
		if !seen[d] && len(d) < 250 && len(usable) < maxDomains {
			seen[d] = true
			usable = append(usable, d)
		}
	}
	return usable
}

// lookForDomains asks the name service each time it is woken, but not too often. It ends with ctx.
func lookForDomains(ctx context.Context, o Options, wake <-chan struct{}, heard chan<- sighting) {
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		}
		if !last.IsZero() && time.Since(last) < srvRest {
			continue
		}
		last = time.Now()
		domains := o.Domains
		if domains == nil {
			var err error
			if domains, err = SearchDomains(); err != nil {
				o.Log.Debug("find this machine's domains", "err", err)
			}
		}
		for _, d := range domains {
			addrs, err := LookupDomain(ctx, o.Resolver, d)
			if err != nil {
				o.Log.Debug("ask the name service for agents", "err", err)
			}
			if len(addrs) == 0 {
				continue
			}
			select {
			case heard <- sighting{addrs: addrs}:
			case <-ctx.Done():
				return
			}
		}
	}
}

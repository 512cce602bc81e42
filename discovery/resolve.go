package discovery

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// What a link remembers of those of whom it has heard a part only. Agents say all in one packet.
	maxOpen  = 32
	openTime = 10 * time.Second
	// askTimes is how often it asks for the rest, askGap how long it leaves the link alone in between, maxAsked how many
	// questions go at a time.
	askTimes = 2
	askGap   = time.Second
	maxAsked = 8
)

// resolver puts together what others say in several packets: that there is an instance, the host it is on, the host's
// addresses. Avahi announces a service without its host's addresses, for instance, which it announced before.
type resolver struct {
	mu   sync.Mutex
	open []unresolved
}

// unresolved is an instance without its server, or a server without its host's addresses.
type unresolved struct {
	server // of an instance alone only the name
	since  time.Time
	asked  int
}

// take adds what a packet says. It returns the agents that are known by now, and whether something is to be asked for.
func (r *resolver) take(m response) (found []netip.AddrPort, curious bool) {
	found = m.agents()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.open) == 0 && len(m.instances) == 0 && len(m.servers) == 0 {
		return found, false
	}
	now := time.Now()
	r.open = slices.DeleteFunc(r.open, func(u unresolved) bool {
		if now.Sub(u.since) > openTime {
			return true
		}
		if u.host == "" {
			return slices.ContainsFunc(m.servers, func(s server) bool { return s.instance.is(u.instance) })
		}
		at := u.at(m.addresses)
		found = append(found, at...)
		return len(at) > 0
	})
	add := func(s server, same func(unresolved) bool) {
		if len(r.open) < maxOpen && !slices.ContainsFunc(r.open, same) {
			r.open = append(r.open, unresolved{server: s, since: now})
		}
	}
	for _, n := range m.instances {
		isIt := func(s server) bool { return s.instance.is(n) }
		if !slices.ContainsFunc(m.servers, isIt) {
			add(server{instance: n}, func(u unresolved) bool { return isIt(u.server) })
		}
	}
	for _, s := range m.servers {
		if len(s.at(m.addresses)) == 0 {
			add(s, func(u unresolved) bool { return u.host.is(s.host) && u.port == s.port })
		}
	}
	return found, slices.ContainsFunc(r.open, func(u unresolved) bool { return u.asked < askTimes })
}

// questions is what to ask for now, nil: nothing.
func (r *resolver) questions() (all []question) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.open {
		u := &r.open[i]
		if u.asked >= askTimes || time.Since(u.since) > openTime || len(all)+2 > maxAsked {
			continue
		}
		u.asked++
		if u.host == "" {
			all = append(all, question{u.instance, kindSRV, classIN})
			continue
		}
		all = append(all, question{u.host, kindA, classIN}, question{u.host, kindAAAA, classIN})
	}
	return all
}

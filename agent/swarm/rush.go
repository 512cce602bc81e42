package swarm

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// rush bounds how often each host may connect: a handshake takes this machine a hundred times what a connection takes the
// other. Not safe for concurrent use.
type rush map[netip.Addr]*rate.Limiter

const (
	// connectsPerSecond of one host, after connectsAtOnce, are more than it needs that has every package there is, and
	// dials again for each now and then.
	connectsPerSecond = 20
	connectsAtOnce    = 200
	// mostRushing bounds what is remembered. Forgetting gives each host connectsAtOnce anew.
	mostRushing = 4096
)

// allows reports whether a host may connect now.
func (r *rush) allows(now time.Time, from netip.Addr) bool {
	if !hostOf(from).IsValid() {
		return true
	}
	l := (*r)[from]
	if l == nil {
		if *r == nil || len(*r) >= mostRushing {
			*r = rush{}
		}
		l = rate.NewLimiter(connectsPerSecond, connectsAtOnce)
		(*r)[from] = l
	}
	return l.AllowN(now, 1)
}

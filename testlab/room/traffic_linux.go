package room

import "time"

// Traffic is what links have carried by some moment since Begin, all headers included, in bytes.
type Traffic struct {
	At     time.Duration // since Begin
	Origin int64         // sent by the origin
	Hosts  int64         // sent by all hosts together: to each other, and what acknowledges and asks

	Connections int // to the origin, at this moment
}

// trafficEvery is fine enough for a picture of some seconds, and nothing beside what the links carry.
const trafficEvery = 200 * time.Millisecond

// watchTraffic reads the links until it is stopped.
func (r *Room) watchTraffic() (stop func() []Traffic) {
	quit, answer := make(chan struct{}), make(chan []Traffic)
	began := r.began
	first := r.carried()
	go func() {
		tick := time.NewTicker(trafficEvery)
		defer tick.Stop()
		seen := []Traffic{{}}
		look := func() {
			now := r.carried()
			now.At, now.Origin, now.Hosts = time.Since(began), now.Origin-first.Origin, now.Hosts-first.Hosts
			seen = append(seen, now)
		}
		for {
			select {
			case <-tick.C:
				look()
			case <-quit:
				look()
				answer <- seen
				return
			}
		}
	}()
	return func() []Traffic { close(quit); return <-answer }
}

// carried counts from the links' beginning. A machine that can't be read counts nothing: the picture is no figure.
func (r *Room) carried() (t Traffic) {
	if c, err := r.Lab.Origin.Counters(); err == nil {
		t.Origin = c.SentBytes
	}
	if from, err := r.Lab.Origin.Remotes(r.Server.Addr.Port()); err == nil {
		t.Connections = len(from)
	}
	for _, h := range r.Lab.Hosts {
		if c, err := h.Counters(); err == nil {
			t.Hosts += c.SentBytes
		}
	}
	return t
}

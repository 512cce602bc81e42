package plan

import "time"

// Watch follows one download from look to look and knows what a single look can't show: rates, and for how long
// something has held. The zero value is ready. Not safe for concurrent use.
type Watch struct {
	all, origin, peers, trial   Meter
	slow, halved, seeds, giving time.Time // since when; zero: it doesn't hold
	allowed                     time.Time // the same
	begun, looked               time.Time
	originUse                   time.Duration
	seedRate, seedBest          float64 // of all seeds, over seedMemory: now, at best
}

// seedMemory is how long it counts what seeds gave: in a single second they may serve others only.
const seedMemory = 5 * time.Second

// Look completes v, whose pieces and neighbours are those of now. fromOrigin and fromPeers are the bytes that came since
// the last look, reading is whether a connection to the origin reads.
func (w *Watch) Look(now time.Time, v *View, fromOrigin, fromPeers int64, reading bool) {
	if w.begun.IsZero() {
		w.begun, w.looked = now, now
	}
	w.all.Add(now, fromOrigin+fromPeers)
	w.origin.Add(now, fromOrigin)
	w.peers.Add(now, fromPeers)
	v.Rate, v.PeerRate, v.Link = w.all.PerSecond(now), w.peers.Lately(now), w.all.Best()
	v.Age = now.Sub(w.begun)
	v.Slow = Lasting(now, &w.slow, v.Rate < min(v.Link, max(w.origin.Best(), 1))/10 || v.Rate == 0)
	v.Halved = Lasting(now, &w.halved, v.Rate < v.Link/2)

	seeds, seedRate := false, 0.0
	for _, n := range v.Neighbours {
		if n.Complete && !n.Mute {
			seeds = true
			seedRate += n.Rate
		}
	}
	v.SeedsHere = Lasting(now, &w.seeds, seeds)
	giving := Lasting(now, &w.giving, seeds && seedRate+w.seedRate > 0)
	switch {
	case !seeds:
		w.seedRate, w.seedBest = 0, 0
	case giving == 0:
		w.seedRate = seedRate
	default:
		w.seedRate += (seedRate - w.seedRate) * min(1, float64(now.Sub(w.looked))/float64(min(giving, seedMemory)))
		w.seedBest = max(w.seedBest, w.seedRate)
	}
	v.SeedRate = w.seedBest
	switch {
	case v.SeedsHere == 0:
		w.trial = Meter{}
	case v.SeedsHere < seedTrial:
		w.trial.Add(now, fromPeers)
	}
	v.Trial = w.trial.Best()
	if seeds && reading {
		w.originUse += now.Sub(w.looked)
	}
	v.OriginUse, w.looked = w.originUse, now
}

// Allowed is for how long v and the verdicts before it let the machine read whole runs. Whoever nobody helps need not be
// careful.
func (w *Watch) Allowed(now time.Time, v Verdict) time.Duration {
	allowed := Lasting(now, &w.allowed, v.Connections > 0 && !v.Brief)
	if v.Stalled {
		return runTime
	}
	return allowed
}

// OriginPerSecond is what came from the origin lately, in bytes per second.
func (w *Watch) OriginPerSecond(now time.Time) float64 { return w.origin.PerSecond(now) }

// Lasting returns for how long a condition has held without a break, and keeps in since when it began.
func Lasting(now time.Time, since *time.Time, holds bool) time.Duration {
	if !holds {
		*since = time.Time{}
		return 0
	}
	if since.IsZero() {
		*since = now
	}
	return now.Sub(*since)
}

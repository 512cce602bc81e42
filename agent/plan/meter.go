package plan

import "time"

const (
	meterStep    = 250 * time.Millisecond
	meterBuckets = 8
)

// Meter measures a rate over the last two seconds. The zero value is ready. Not safe for concurrent use.
type Meter struct {
	buckets [meterBuckets]int64 // bytes of one step each; the bucket of step s is s mod meterBuckets
	epoch   time.Time           // when step 0 began
	first   int64               // step of the first Add
	last    int64               // newest step the buckets know of
	begun   bool
	best    float64
}

func (m *Meter) advance(now time.Time) {
	if !m.begun {
		// Steps begin where the clock's quarters of a second did, and go on by the time that goes by: who sets the clock back by
		// a year must not have one step last for a year.
		m.begun, m.epoch = true, now.Add(-time.Duration(now.UnixNano()%int64(meterStep)))
		return
	}
	s := int64(now.Sub(m.epoch) / meterStep)
	if s <= m.last {
		return
	}
	if rate := m.window(meterBuckets / 2); rate > m.best {
		m.best = rate
	}
	for next := max(m.last+1, s-meterBuckets+1); next <= s; next++ {
		m.buckets[next%meterBuckets] = 0
	}
	m.last = s
}

// window is the rate over the newest n steps, the running one included, in bytes per second.
func (m *Meter) window(n int64) float64 {
	n = min(n, m.last-m.first+1)
	var sum int64
	for s := m.last - n + 1; s <= m.last; s++ {
		sum += m.buckets[s%meterBuckets]
	}
	return float64(sum) / (time.Duration(n) * meterStep).Seconds()
}

// Add counts n bytes that moved at now.
func (m *Meter) Add(now time.Time, n int64) {
	m.advance(now)
	m.buckets[m.last%meterBuckets] += n
}

// PerSecond is the rate of the last two seconds, in bytes per second; of less where less was measured.
func (m *Meter) PerSecond(now time.Time) float64 {
	if !m.begun {
		return 0
	}
	m.advance(now)
	return m.window(meterBuckets)
}

// Lately is the rate of the last second, less the step that is not over; of less where less was measured.
func (m *Meter) Lately(now time.Time) float64 {
	if !m.begun {
		return 0
	}
	m.advance(now)
	n := min(meterBuckets/2, m.last-m.first)
	if n == 0 {
		return 0
	}
	var sum int64
	for s := m.last - n; s < m.last; s++ {
		sum += m.buckets[s%meterBuckets]
	}
	return float64(sum) / (time.Duration(n) * meterStep).Seconds()
}

// Best is the highest rate that held for a second, in bytes per second.
func (m *Meter) Best() float64 { return m.best }

package room

import "time"

// Bound is T*: the time in which size bytes can at best reach n hosts that start together, each sending and receiving up
// to host bytes per second, from an origin that sends up to origin bytes per second (Kumar & Ross 2006). Rates are goodput.
func Bound(n int, size int64, origin, host float64) time.Duration {
	f := float64(size)
	seconds := max(f/origin, f/host, float64(n)*f/(origin+float64(n)*host))
	return time.Duration(seconds * float64(time.Second))
}

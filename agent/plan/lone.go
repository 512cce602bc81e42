package plan

import "time"

const (
	// loneTrial is how long the first piece of a machine that knows nobody comes in before it is judged, and loneRest how
	// long what is missing of it may take then.
	loneTrial = 150 * time.Millisecond
	loneRest  = 500 * time.Millisecond
)

// GivesUp reports whether a Lone read is to be given up until the silence is over or somebody was met, when got bytes of a
// piece of size have come since the first arrived, took ago. A thousand machines that start before they can hear of each other
// have a thousandth of the origin each: none would have a piece to pass on before all have one, some of them the same. Or
// the origin is slow; then the second that this costs is little beside what the package takes.
func (v View) GivesUp(got, size int64, took time.Duration) bool {
	return v.Age < silence && took >= loneTrial && float64(size-got)*took.Seconds() > float64(got)*loneRest.Seconds()
}

package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"
)

// period is the value of a flag that is a duration, 0 included.
type period time.Duration

// periodFlag gives fs a flag that is a duration.
func periodFlag(fs *pflag.FlagSet, to *time.Duration, name string, value time.Duration, about string) {
	*to = value
	fs.Var((*period)(to), name, about)
}

// Set implements pflag.Value.
func (p *period) Set(s string) error {
	d, err := time.ParseDuration(s)
	switch n, numberErr := strconv.ParseFloat(s, 64); {
	case err == nil && d >= 0:
		*p = period(d)
		return nil
	case err == nil || numberErr == nil && n < 0:
		return fmt.Errorf("%q is less than nothing", s)
	case numberErr == nil:
		return fmt.Errorf("%q has no unit: write %ss for seconds, %sm for minutes", s, s, s)
	}
	return fmt.Errorf("%q is no duration: write it like 90s, 10m or 1h30m", s)
}

// String implements pflag.Value.
func (p *period) String() string {
	if *p == 0 {
		return "" // said in the flag's help where it matters
	}
	return time.Duration(*p).String()
}

// Type implements pflag.Value.
func (p *period) Type() string { return "DURATION" }

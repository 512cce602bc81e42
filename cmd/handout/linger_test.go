package main

import (
	"testing"
	"time"
)

func TestLingerFlag(t *testing.T) {
	for in, want := range map[string]linger{
		"2m":       {2 * time.Minute, stays},
		"0":        {0, stays},
		"30s":      {30 * time.Second, stays}, // said in so many words it is no default
		"auto":     {defaultLinger, whileLacks},
		"auto:10m": {10 * time.Minute, whileLacks},
	} {
		got := linger{defaultLinger, ifMet}
		if err := got.Set(in); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", in, got, err, want)
		}
		if again := (linger{}); again.Set(got.String()) != nil || again != got {
			t.Errorf("%q is written %q, which is read as %+v", in, got.String(), again)
		}
	}
	for _, in := range []string{"", "soon", "automatic", "auto:", "auto:-1s", "-1s", "5"} {
		got := linger{defaultLinger, ifMet}
		if err := got.Set(in); err == nil || got != (linger{defaultLinger, ifMet}) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

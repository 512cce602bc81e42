package plan

import (
	"testing"
	"time"
)

// Whoever reads on the chance that it is alone lets go of an origin that gives it next to nothing, and does not try again
// before it knows more.
func TestLoneReadIsGivenUp(t *testing.T) {
	const ms = time.Millisecond
	early := View{Age: 800 * ms}
	if v := MayUseOrigin(early, Policy{Connections: 4}); v.Connections != 1 || !v.Lone {
		t.Errorf("nobody was met yet: %+v, want one connection, for a lone read", v)
	}
	for _, tt := range []struct {
		what      string
		v         View
		got, size int64
		took      time.Duration
		want      bool
	}{
		{"a fifth in 150 ms leaves 600", early, 20, 100, 150 * ms, true},
		{"a quarter in 150 ms leaves 450", early, 25, 100, 150 * ms, false},
		{"it is too early to tell", early, 1, 100, 140 * ms, false},
		{"all is here", early, 100, 100, 150 * ms, false},
		{"the silence is over: this is all there is", View{Age: 2 * time.Second}, 1, 100, time.Second, false},
	} {
		if got := tt.v.GivesUp(tt.got, tt.size, tt.took); got != tt.want {
			t.Errorf("%s: %v", tt.what, got)
		}
	}
	early.GaveUp = true
	if v := MayUseOrigin(early, Policy{Connections: 4}); v.Connections != 0 {
		t.Errorf("a lone read was given up: %+v, want no other before the silence is over", v)
	}
	for what, v := range map[string]View{
		"the silence is over":   {Age: 2 * time.Second, GaveUp: true},
		"a neighbour was met":   {Age: 800 * ms, GaveUp: true, Neighbours: []Neighbour{{}}},
		"it is alone by itself": {Age: 3 * time.Second, GaveUp: true},
	} {
		if v := MayUseOrigin(v, Policy{Connections: 4}); v.Connections == 0 || v.Lone {
			t.Errorf("%s: %+v", what, v)
		}
	}
}

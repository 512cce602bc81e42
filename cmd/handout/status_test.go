package main

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"handout/agent/api"
)

// TestStatusNamesWhoCannotBeReached: one machine behind a firewall must be seen among forty that are well.
func TestStatusNamesWhoCannotBeReached(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	all := []api.Member{{Mine: true, Since: now}}
	for i := range 40 {
		m := api.Member{Address: fmt.Sprintf("10.0.0.%d:4747", i+1), Since: now.Add(-42 * time.Second), Steward: i == 1}
		if i == 38 {
			m.Blocked = "TCP 4747\n"
		}
		all = append(all, m)
	}
	show := func(all []api.Member) string {
		var b bytes.Buffer
		writeMachines(&b, all, now)
		return b.String()
	}
	if got, want := show(all[:3]), "  10.0.0.1:4747, met 42 s ago\n  10.0.0.2:4747, met 42 s ago, steward\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	want := "  10.0.0.39:4747, met 42 s ago: inbound TCP 4747\\n is blocked\n  and 27 more\n"
	if got := show(all); !bytes.HasSuffix([]byte(got), []byte(want)) {
		t.Errorf("got\n%swant, at the end\n%s", got, want)
	}
	all[0].Blocked = "UDP 4748"
	if got, want := show(all[:1]), "  this machine: inbound UDP 4748 is blocked\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

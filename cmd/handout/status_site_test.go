package main

import (
	"bytes"
	"strings"
	"testing"

	"handout/agent/api"
)

// TestStatusShowsTheRoom: who is how far, from where, and who says nothing, with nothing in it that could move the cursor.
func TestStatusShowsTheRoom(t *testing.T) {
	room := api.SiteStatus{Site: "lab", Machines: []api.MachineStatus{
		{Member: api.Member{Address: "10.0.0.1:4747", Mine: true}, Summary: api.Summary{Packages: []api.PackageSummary{
			{Name: "win11", Version: "24H2", State: api.Here, Done: 2048, Total: 2048, FromOrigin: 2048},
			{Name: "apps", State: api.Fetching, Done: 1024, Total: 2048, FromPeers: 1024, OriginRate: 100, PeerRate: 2048, Connections: 2},
		}}},
		{Member: api.Member{Address: "10.0.0.2:4747", Steward: true}, Summary: api.Summary{More: 3, Errors: []string{"disk\x1b[2J"}, Packages: []api.PackageSummary{
			{Name: "win\n11", State: api.Waiting, Total: 2048, Error: "no space"},
		}}},
		{Member: api.Member{Address: "10.0.0.3:4747", Blocked: "TCP 4747"}, Silent: "it does not answer"},
		{Member: api.Member{Address: "10.0.0.4:4747"}},
	}}
	var b bytes.Buffer
	writeSite(&b, room)
	const want = `site "lab": 4 machines

machine                  package     state         here   from origin  from neighbours  given  now
this machine             win11 24H2  here          100 %  2.0 KiB      0 B              0 B
                         apps        fetching      50 %   0 B          1.0 KiB          0 B    origin 100 B/s over 2, neighbours 2.0 KiB/s
10.0.0.2:4747 (steward)  win\n11     waiting       0 %    0 B          0 B              0 B
                         and 3 more
10.0.0.3:4747            -           says nothing
10.0.0.4:4747            -           no packages

10.0.0.2:4747 (steward): win\n11: no space
10.0.0.2:4747 (steward): disk\x1b[2J
10.0.0.3:4747: it does not answer
10.0.0.3:4747: inbound TCP 4747 is blocked
`
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

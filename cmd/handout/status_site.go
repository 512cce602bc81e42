package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"handout/agent/api"
)

// writeSite shows a room to a person: a line for each package on each machine, and for each machine that has none.
func writeSite(w io.Writer, s api.SiteStatus) {
	fmt.Fprintf(w, "site %q: %s\n\n", printable(s.Site), countText(len(s.Machines), "machine"))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "machine\tpackage\tstate\there\tfrom origin\tfrom neighbours\tgiven\tnow")
	for _, m := range s.Machines {
		writeMachine(t, m)
	}
	t.Flush()
	begun := false
	for _, m := range s.Machines {
		for _, trouble := range machineTroubles(m) {
			if !begun {
				fmt.Fprintln(w)
				begun = true
			}
			fmt.Fprintf(w, "%s: %s\n", machineName(m), trouble)
		}
	}
}

func writeMachine(w io.Writer, m api.MachineStatus) {
	name := machineName(m)
	if m.Silent != "" {
		fmt.Fprintf(w, "%s\t-\tsays nothing\t\t\t\t\t\n", name)
		return
	}
	for _, p := range m.Packages {
		state := printable(string(p.State))
		if p.Paused {
			state = "paused"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, printable(strings.TrimSpace(p.Name+" "+p.Version)), state,
			percentText(p.Done, p.Total), sizeText(p.FromOrigin), sizeText(p.FromPeers), sizeText(p.ToPeers), nowText(p))
		name = ""
	}
	if len(m.Packages) == 0 {
		fmt.Fprintf(w, "%s\t-\tno packages\t\t\t\t\t\n", name)
	}
	if m.More > 0 {
		fmt.Fprintf(w, "\tand %d more\t\t\t\t\t\t\n", m.More)
	}
}

// nowText is where a package comes from at this moment, and how fast.
func nowText(p api.PackageSummary) string {
	if p.State != api.Fetching {
		return ""
	}
	return fmt.Sprintf("origin %s over %d, neighbours %s", rateText(p.OriginRate), p.Connections, rateText(p.PeerRate))
}

func machineName(m api.MachineStatus) string {
	name := printable(m.Address)
	if m.Mine {
		name = "this machine"
	}
	if m.Steward {
		name += " (steward)"
	}
	return name
}

// machineTroubles is what somebody should look at, a line each.
func machineTroubles(m api.MachineStatus) (all []string) {
	if m.Silent != "" {
		all = append(all, printable(m.Silent))
	}
	if m.Blocked != "" {
		all = append(all, fmt.Sprintf("inbound %s is blocked", printable(m.Blocked)))
	}
	if m.Paused {
		all = append(all, "paused: nothing is fetched or given")
	}
	for _, p := range m.Packages {
		if p.Error != "" {
			all = append(all, printable(p.Name)+": "+printable(p.Error))
		}
	}
	for _, e := range m.Errors {
		all = append(all, printable(e))
	}
	return all
}

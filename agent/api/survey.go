package api

import (
	"encoding/json"
	"fmt"
	"io"
)

// What the machines of a site say of themselves, to each other and through the door.
type (
	// SiteStatus is the whole room, as the machine that was asked learned it.
	SiteStatus struct {
		Site     string          `json:"site"`
		Machines []MachineStatus `json:"machines"` // the one that was asked first, then those it has known longest
	}
	// MachineStatus is one machine of it.
	MachineStatus struct {
		Member
		Summary
		Silent string `json:"silent,omitempty"` // why it says nothing; the summary is then empty
	}
	// Summary is what a machine says of itself to the others.
	Summary struct {
		Version  string           `json:"version,omitempty"`
		Paused   bool             `json:"paused,omitempty"`
		Packages []PackageSummary `json:"packages,omitempty"`
		More     int              `json:"more_packages,omitempty"` // left out: only so many are told
		Errors   []string         `json:"errors,omitempty"`        // what does not work, beside packages
	}
	// PackageSummary is one package on such a machine.
	PackageSummary struct {
		Name        string `json:"name"`
		Version     string `json:"version,omitempty"`
		State       State  `json:"state"`
		Paused      bool   `json:"paused,omitempty"`
		Done        int64  `json:"done"` // bytes verified
		Total       int64  `json:"total"`
		FromOrigin  int64  `json:"from_origin"`
		FromPeers   int64  `json:"from_peers"`
		ToPeers     int64  `json:"to_peers"`
		OriginRate  int64  `json:"origin_bytes_per_sec"`
		PeerRate    int64  `json:"peer_bytes_per_sec"`
		Connections int    `json:"origin_connections"`
		Error       string `json:"error,omitempty"`
	}
)

// summary is what is told of a package to other machines.
func (p Package) summary() PackageSummary {
	return PackageSummary{
		Name: p.Name, Version: p.Version, State: p.State, Paused: p.Paused, Done: p.Done, Total: p.Total,
		FromOrigin: p.FromOrigin, FromPeers: p.FromPeers, ToPeers: p.ToPeers,
		OriginRate: p.OriginRate, PeerRate: p.PeerRate, Connections: p.Connections, Error: p.Error,
	}
}

// The bounds of a summary, which a stranger may have written.
const (
	// MaxSummary is its size as JSON, in bytes; one of our own is always smaller.
	MaxSummary         = 256 << 10
	maxSummaryPackages = 32
	maxSummaryErrors   = 8
	maxSummaryText     = 200
	maxSummaryBytes    = 1 << 53 // what a JSON number can say exactly
)

// Summarise makes the summary of a machine: of many packages those that need a look, then the rest, as far as there is room.
func Summarise(version string, paused bool, packages []Package, troubles []Trouble) Summary {
	s := Summary{Version: clip(version), Paused: paused}
	for _, settled := range []bool{false, true} {
		for _, p := range packages {
			if (p.State == Here && p.Error == "") != settled {
				continue
			}
			if len(s.Packages) == maxSummaryPackages {
				s.More++
				continue
			}
			s.Packages = append(s.Packages, p.summary().clipped())
		}
	}
	for _, t := range troubles[:min(len(troubles), maxSummaryErrors)] {
		s.Errors = append(s.Errors, clip(t.What+": "+t.Error))
	}
	return s
}

// ReadSummary reads what another machine says of itself; nothing in the result is out of bounds, as what is too much is cut.
func ReadSummary(r io.Reader) (s Summary, err error) {
	if err := json.NewDecoder(io.LimitReader(r, MaxSummary)).Decode(&s); err != nil {
		return Summary{}, fmt.Errorf("what it says makes no sense: %w", err)
	}
	return s.checked(), nil
}

func (s Summary) checked() Summary {
	s.Version = clip(s.Version)
	s.More = min(max(s.More, 0), 1<<20) + max(len(s.Packages)-maxSummaryPackages, 0)
	s.Packages = s.Packages[:min(len(s.Packages), maxSummaryPackages)]
	for i, p := range s.Packages {
		s.Packages[i] = p.clipped()
	}
	s.Errors = s.Errors[:min(len(s.Errors), maxSummaryErrors)]
	for i, e := range s.Errors {
		s.Errors[i] = clip(e)
	}
	return s
}

func (p PackageSummary) clipped() PackageSummary {
	p.Name, p.Version, p.State, p.Error = clip(p.Name), clip(p.Version), State(clip(string(p.State))), clip(p.Error)
	for _, n := range []*int64{&p.Done, &p.Total, &p.FromOrigin, &p.FromPeers, &p.ToPeers, &p.OriginRate, &p.PeerRate} {
		*n = min(max(*n, 0), maxSummaryBytes)
	}
	p.Done = min(p.Done, p.Total)
	p.Connections = min(max(p.Connections, 0), 1<<10)
	return p
}

// clip keeps a text short; half a character at its end does no harm.
func clip(s string) string { return s[:min(len(s), maxSummaryText)] }

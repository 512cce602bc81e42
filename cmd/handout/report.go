package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"handout/agent"
)

// outcome is what a fetch came to.
type outcome struct {
	agent.Result
	toPeers int64 // bytes, those given while lingering included
	dest    string
	repair  bool
}

// reporter tells whoever watches a fetch how it goes: a person, or a program that reads JSON. Calls come one at a time,
// except Write, which takes whole lines of the log.
type reporter interface {
	io.Writer
	notice(line string)
	waits(waiting) // before there is anything to fetch
	progress(agent.Progress)
	// published: the tree stands at its destination; the machine stays for others.
	published(elapsed time.Duration, stay linger)
	done(outcome)
	failed(err error)
	close()
}

// textReporter speaks to a person: the picture and remarks on standard error, the summary on standard output.
type textReporter struct {
	meter
	out  io.Writer
	said waits
}

func (r *textReporter) notice(line string) { fmt.Fprintln(r.meter, line) }

func (r *textReporter) waits(w waiting) { r.said.say(r.meter, w) }

func (r *textReporter) progress(p agent.Progress) {
	r.show(p.Done, p.Total, progressText(p), siteText(p)...)
}

func (r *textReporter) published(_ time.Duration, stay linger) {
	r.close()
	if text := stay.text(); text != "" {
		r.notice(text)
	}
}

func (r *textReporter) done(o outcome) { fmt.Fprintln(r.out, outcomeText(o)) }

func (r *textReporter) failed(error) {} // the caller of every verb prints it

// progressText says how a fetch goes: what comes from where and how fast, in 80 columns with the percentage.
func progressText(p agent.Progress) string {
	if p.Phase != agent.Fetching {
		what := string(p.Phase)
		if p.Phase == agent.Placing {
			what = "moving into place"
		}
		s := what + " " + shareText(p.Done, p.Total)
		if p.Remaining > 0 {
			s += fmt.Sprintf(", %s left", timeText(p.Remaining))
		}
		return s
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, origin %s", shareText(p.Done, p.Total), rateText(p.OriginBytesPerSec))
	fmt.Fprintf(&b, ", %s %s", countText(p.Neighbours, "neighbour"), rateText(p.PeerBytesPerSec))
	if p.Remaining >= 0 && p.Done < p.Total {
		fmt.Fprintf(&b, ", %s left", timeText(p.Remaining))
	}
	return b.String()
}

// siteText says what the site has to do with it, in lines of 80 columns: who is steward, how many origin connections
// there are and how many of them this machine's, and why; and which machines can't be reached.
func siteText(p agent.Progress) (lines []string) {
	if p.Phase != agent.Fetching || p.Why == "" || p.Done >= p.Total {
		return nil
	}
	if p.Members > 1 {
		lines = append(lines, fmt.Sprintf("  site of %d, steward %s, origin %d of %d: %s", p.Members, printable(p.Steward),
			p.OriginConnections, max(p.OriginConnections, p.SiteConnections), printable(p.Why)))
	} else {
		lines = append(lines, fmt.Sprintf("  %s to the origin: %s", countText(p.OriginConnections, "connection"), printable(p.Why)))
	}
	if p.Blocked != "" {
		lines = append(lines, "  inbound "+p.Blocked+" is blocked: see handout doctor")
	}
	if n := len(p.Unreachable); n > 0 {
		const named = 3
		line := "  can't be reached: " + addressesText(p.Unreachable[:min(n, named)])
		if n > named {
			line += fmt.Sprintf(" and %d more", n-named)
		}
		lines = append(lines, line)
	}
	return lines
}

// outcomeText is the summary: what stands where, and which share came from where.
func outcomeText(o outcome) string {
	dest := printable(o.dest) // may be the name in the manifest
	if o.AlreadyThere && o.repair {
		return fmt.Sprintf("%s: nothing to repair: %s, %s", dest, countText(o.Files, "file"), sizeText(o.Bytes))
	}
	if o.AlreadyThere {
		return fmt.Sprintf("%s matches already: %s, %s", dest, countText(o.Files, "file"), sizeText(o.Bytes))
	}
	s := fmt.Sprintf("%s: %s, %s in %s\nfrom the origin %s, from neighbours %s, given to neighbours %s",
		dest, countText(o.Files, "file"), sizeText(o.Bytes), timeText(o.Elapsed),
		sizeText(o.FromOrigin), sizeText(o.FromPeers), sizeText(o.toPeers))
	if o.repair {
		s = dest + " is repaired" + strings.TrimPrefix(s, dest)
	}
	if o.Reused > 0 {
		s += fmt.Sprintf(", reused %s", sizeText(o.Reused))
	}
	if o.Resumed > 0 {
		s += fmt.Sprintf(", here from an earlier run %s", sizeText(o.Resumed))
	}
	return s
}

// jsonReporter writes one object per line to standard output and nothing else.
type jsonReporter struct {
	out   io.Writer // of the events
	err   io.Writer // of everything else
	every time.Duration
	at    time.Time // of the newest progress event
	phase agent.Phase
}

func (r *jsonReporter) emit(event any) {
	line, err := json.Marshal(event)
	if err != nil {
		panic(err) // numbers, strings and booleans only: cannot happen
	}
	r.out.Write(append(line, '\n'))
}

func (r *jsonReporter) notice(line string) { fmt.Fprintln(r.err, line) }

func (r *jsonReporter) waits(w waiting) {
	r.emit(struct {
		Event string  `json:"event"`
		For   string  `json:"for"`
		Why   string  `json:"why"`
		Again float64 `json:"again_in_seconds"`
		Left  float64 `json:"gives_up_in_seconds"`
	}{"waiting", printable(w.what), errorText(w.why), seconds(w.again), seconds(w.left)})
}

func (r *jsonReporter) Write(p []byte) (int, error) { return r.err.Write(p) }

func (r *jsonReporter) progress(p agent.Progress) {
	if p.Phase == r.phase && time.Since(r.at) < r.every {
		return
	}
	r.at, r.phase = time.Now(), p.Phase
	var left *float64 // null: unknown
	if p.Remaining >= 0 {
		s := seconds(p.Remaining)
		left = &s
	}
	r.emit(struct {
		Event       string   `json:"event"`
		Phase       string   `json:"phase"`
		Done        int64    `json:"done"`
		Total       int64    `json:"total"`
		FromOrigin  int64    `json:"from_origin"`
		FromPeers   int64    `json:"from_peers"`
		ToPeers     int64    `json:"to_peers"`
		OriginRate  int64    `json:"origin_bytes_per_sec"`
		PeerRate    int64    `json:"peer_bytes_per_sec"`
		Neighbours  int      `json:"neighbours"`
		Connections int      `json:"origin_connections"`
		Remaining   *float64 `json:"remaining_seconds"`
		Why         string   `json:"why"`
		Members     int      `json:"site_members"`
		Steward     string   `json:"steward"`
		SiteConns   int      `json:"site_origin_connections"`
		Blocked     string   `json:"inbound_blocked,omitempty"`
		Unreachable []string `json:"site_unreachable,omitempty"`
	}{"progress", string(p.Phase), p.Done, p.Total, p.FromOrigin, p.FromPeers, p.ToPeers, p.OriginBytesPerSec, p.PeerBytesPerSec,
		p.Neighbours, p.OriginConnections, left, printable(p.Why), p.Members, p.Steward, p.SiteConnections,
		p.Blocked, addressStrings(p.Unreachable)})
}

func (r *jsonReporter) published(elapsed time.Duration, _ linger) {
	r.emit(struct {
		Event   string  `json:"event"`
		Seconds float64 `json:"seconds"`
	}{"published", seconds(elapsed)})
}

func (r *jsonReporter) done(o outcome) {
	r.emit(struct {
		Event        string  `json:"event"`
		Seconds      float64 `json:"seconds"`
		Files        int     `json:"files"`
		Bytes        int64   `json:"bytes"`
		Resumed      int64   `json:"resumed"`
		Reused       int64   `json:"reused"`
		FromOrigin   int64   `json:"from_origin"`
		FromPeers    int64   `json:"from_peers"`
		ToPeers      int64   `json:"to_peers"`
		AlreadyThere bool    `json:"already_there"`
		Dest         string  `json:"dest"`
		Exit         int     `json:"exit"`
	}{"done", seconds(o.Elapsed), o.Files, o.Bytes, o.Resumed, o.Reused, o.FromOrigin, o.FromPeers, o.toPeers, o.AlreadyThere, o.dest, exitDone})
}

func (r *jsonReporter) failed(err error) {
	r.emit(struct {
		Event string `json:"event"`
		Error string `json:"error"`
		Exit  int    `json:"exit"`
	}{"failed", errorText(err), exitCode(err)})
}

func (r *jsonReporter) close() {}

// seconds is d with three decimals.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }

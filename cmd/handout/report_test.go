package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"handout/agent"
)

// TestJSONIsWhatProgramsRead: names and types of every field; a program that reads them must not break.
func TestJSONIsWhatProgramsRead(t *testing.T) {
	var out bytes.Buffer
	r := &jsonReporter{out: &out, err: &bytes.Buffer{}, every: time.Second}
	r.progress(agent.Progress{Phase: agent.Fetching, Done: 1, Total: 10, FromOrigin: 2, FromPeers: 3, ToPeers: 4, OriginBytesPerSec: 5,
		PeerBytesPerSec: 6, Neighbours: 7, OriginConnections: 8, Remaining: 9500 * time.Millisecond, Why: "no\x1b neighbours",
		Members: 2, Steward: "this machine", SiteConnections: 3, Blocked: "TCP 4747",
		Unreachable: []netip.Addr{netip.MustParseAddr("10.0.0.9")}})
	r.published(1234567*time.Microsecond, linger{})
	r.done(outcome{agent.Result{Files: 1, Bytes: 2, Resumed: 3, Reused: 7, FromOrigin: 4, FromPeers: 5, Elapsed: 2 * time.Second}, 6, "tree", false})
	r.failed(usagef("a\nb"))
	want := `{"event":"progress","phase":"fetching","done":1,"total":10,"from_origin":2,"from_peers":3,"to_peers":4,"origin_bytes_per_sec":5,"peer_bytes_per_sec":6,"neighbours":7,"origin_connections":8,"remaining_seconds":9.5,"why":"no\\x1b neighbours","site_members":2,"steward":"this machine","site_origin_connections":3,"inbound_blocked":"TCP 4747","site_unreachable":["10.0.0.9"]}
{"event":"published","seconds":1.235}
{"event":"done","seconds":2,"files":1,"bytes":2,"resumed":3,"reused":7,"from_origin":4,"from_peers":5,"to_peers":6,"already_there":false,"dest":"tree","exit":0}
{"event":"failed","error":"a; b","exit":2}
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}

// TestJSONSaysUnknown: a time left of -1 would be taken for a number.
func TestJSONSaysUnknown(t *testing.T) {
	var out bytes.Buffer
	(&jsonReporter{out: &out}).progress(agent.Progress{Remaining: -1})
	var event map[string]any
	if err := json.Unmarshal(out.Bytes(), &event); err != nil {
		t.Fatal(err)
	}
	if left, ok := event["remaining_seconds"]; !ok || left != nil {
		t.Errorf("remaining_seconds = %v, want null", left)
	}
}

// TestProgressPace: the agent reports several times a second; a log file and a reading program want fewer.
func TestProgressPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines, events bytes.Buffer
		text := &textReporter{meter: &lineMeter{out: &lines, every: 5 * time.Second}, out: &lines}
		objects := &jsonReporter{out: &events, every: time.Second}
		for i := range 100 { // ten seconds
			p := agent.Progress{Phase: agent.Fetching, Done: int64(i) << 20, Total: 100 << 20, Remaining: -1}
			text.progress(p)
			objects.progress(p)
			time.Sleep(100 * time.Millisecond)
		}
		text.published(10*time.Second, linger{most: 30 * time.Second})
		text.progress(agent.Progress{Phase: agent.Placing, Total: 1})
		want := strings.Join([]string{
			"  0 %  0.0/100 MiB, origin 0 B/s, 0 neighbours 0 B/s",
			" 50 %  50.0/100 MiB, origin 0 B/s, 0 neighbours 0 B/s",
			" 99 %  99.0/100 MiB, origin 0 B/s, 0 neighbours 0 B/s",
			"stays 30 s for machines that come late; Ctrl-C leaves\n",
		}, "\n")
		if lines.String() != want {
			t.Errorf("lines:\n%swant\n%s", &lines, want)
		}
		if n := strings.Count(events.String(), "\n"); n != 10 {
			t.Errorf("%d events in 10 s, want 10", n)
		}
	})
}

func TestProgressText(t *testing.T) {
	for _, c := range []struct {
		name string
		p    agent.Progress
		want string
	}{
		{"both at once", agent.Progress{Phase: agent.Fetching, Done: 1 << 30, Total: 4 << 30, OriginBytesPerSec: 20 << 20, PeerBytesPerSec: 80 << 20,
			Neighbours: 7, Remaining: 185 * time.Second}, "1.0/4.0 GiB, origin 20.0 MiB/s, 7 neighbours 80.0 MiB/s, 3 min 5 s left"},
		{"one neighbour, origin idle", agent.Progress{Phase: agent.Fetching, Done: 1, Total: 2, PeerBytesPerSec: 1, Neighbours: 1, Remaining: -1}, `1/2 B, origin 0 B/s, 1 neighbour 1 B/s`},
		{"checking", agent.Progress{Phase: agent.Checking, Done: 1, Total: 2, Remaining: -1}, "checking 1/2 B"},
	} {
		if got := progressText(c.p); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestSiteText: who gives out the origin's connections, who has them and why, and who is behind a firewall.
func TestSiteText(t *testing.T) {
	addrs := make([]netip.Addr, 5)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{192, 168, 100, byte(101 + i)})
	}
	room := agent.Progress{Phase: agent.Fetching, Total: 1, Members: 30, Steward: "192.168.100.113", OriginConnections: 1, SiteConnections: 4,
		Why: "sharing with 29 neighbours"}
	with := func(change func(*agent.Progress)) agent.Progress {
		p := room
		change(&p)
		return p
	}
	for _, c := range []struct {
		name string
		p    agent.Progress
		want []string
	}{
		{"a room", room, []string{"  site of 30, steward 192.168.100.113, origin 1 of 4: sharing with 29 neighbours"}},
		{"alone", agent.Progress{Phase: agent.Fetching, Total: 1, Members: 1, OriginConnections: 4, Why: "alone here"},
			[]string{"  4 connections to the origin: alone here"}},
		{"behind a firewall", with(func(p *agent.Progress) { p.Blocked = "TCP 4747 and 4748, UDP 4748"; p.Why = "4 seeds\nare near" }),
			[]string{`  site of 30, steward 192.168.100.113, origin 1 of 4: 4 seeds\nare near`,
				"  inbound TCP 4747 and 4748, UDP 4748 is blocked: see handout doctor"}},
		{"others are", with(func(p *agent.Progress) { p.Unreachable = addrs }),
			[]string{"  site of 30, steward 192.168.100.113, origin 1 of 4: sharing with 29 neighbours",
				"  can't be reached: 192.168.100.101, 192.168.100.102, 192.168.100.103 and 2 more"}},
		{"checking", agent.Progress{Phase: agent.Checking, Total: 1, Members: 2}, nil},
	} {
		got := siteText(c.p)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
		for _, line := range got {
			if len(line) > 80 {
				t.Errorf("%s: %d columns: %s", c.name, len(line), line)
			}
		}
	}
}

// TestBarEnds: a bar that is closed early, late or never begun must not keep the program from ending, and what is
// printed afterwards must come out.
func TestBarEnds(t *testing.T) {
	for name, states := range map[string][][2]int64{
		"never begun":   nil,
		"half-way":      {{5, 10}},
		"full":          {{10, 10}},
		"empty package": {{0, 0}},
		"less again":    {{5, 10}, {2, 10}},
		"two jobs":      {{10, 10}, {0, 20}, {20, 20}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "terminal"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			m := newBarMeter(f)
			for _, s := range states {
				m.show(s[0], s[1], "status", "beneath")
			}
			m.close()
			m.show(1, 2, "afterwards")
			m.close()
			fmt.Fprintln(m, "a warning")
			text, err := os.ReadFile(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), "a warning\n") {
				t.Errorf("the terminal shows %q, without the warning", text)
			}
		})
	}
}

// TestLogTakeover: who reads a log reads it on a terminal.
func TestLogTakeover(t *testing.T) {
	var text bytes.Buffer
	log, closeLog, err := openLog("", newRemarks(&text, slog.LevelWarn))
	if err != nil {
		t.Fatal(err)
	}
	log.Warn("neighbour", "name", "\x1b[2J\u202e", "error", errors.New("\u009b31m"))
	closeLog()

	file := filepath.Join(t.TempDir(), "log")
	if log, closeLog, err = openLog(file, nil); err != nil {
		t.Fatal(err)
	}
	log.Warn("neighbour", "name", "\x1b[2J\u202e", "error", errors.New("\u009b31m"))
	closeLog()
	lines, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{text.String(), string(lines)} {
		if s == "" || strings.ContainsFunc(strings.TrimSuffix(s, "\n"), hidden) {
			t.Errorf("the log holds control characters: %q", s)
		}
	}
}

// TestRemarks: what a log says between the lines of progress reads as they do.
func TestRemarks(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(newRemarks(&text, slog.LevelWarn)).With("package", "apps")
	log.Info("not shown")
	log.Warn("origin is left alone", "error", errors.New("503\ntwice"), "for", 2*time.Second, "bytes", int64(64<<20), "again_in", "5s")
	log.Error("the disk is full")
	want := "warning: origin is left alone (package apps, for 2 s, bytes 64.0 MiB, again in 5s): 503; twice\n" +
		"error: the disk is full (package apps)\n"
	if text.String() != want {
		t.Errorf("the remarks are\n%swanted:\n%s", text.String(), want)
	}
}

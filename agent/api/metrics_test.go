package api

import (
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestMetricsKeepTheConventions: what promtool check metrics would say, by the same rules.
func TestMetricsKeepTheConventions(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(metrics{busyMachine()})
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestPromtoolTakesTheMetrics: the program itself finds nothing to say about the page.
func TestPromtoolTakesTheMetrics(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("needs prometheus: make deps")
	}
	d, _ := openDoor(t, busyMachine(), anyPort)
	res := get(t, d, "/metrics")
	defer res.Body.Close()
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = res.Body
	if said, err := check.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("%v: %s", err, said)
	}
	bad := exec.Command("promtool", "check", "metrics")
	bad.Stdin = strings.NewReader("handout_things_count 1\n")
	if bad.Run() == nil {
		t.Error("promtool takes anything")
	}
}

// busyMachine has something to tell, in words of strangers too.
func busyMachine() *machine {
	m := newMachine()
	m.status.Packages = []Package{
		{Name: "win11", Version: "24H2", Total: 100, Done: 50, FromOrigin: 30, FromPeers: 20, ToPeers: 7},
		{Name: "win11", Version: "24H2", Dest: "elsewhere"},
		{Name: "evil\"} 1\nhandout_leases_total 99\xff" + strings.Repeat("x", 1<<10), Version: "1"},
	}
	m.status.FromOrigin, m.status.FromPeers, m.status.ToPeers = 300, 200, 70
	m.status.Counts = Counts{Leases: 5, LeasesLost: 1, OriginVerified: 3, PeersVerified: 2, OriginRefused: 1, PeersRefused: 4}
	m.status.CacheBytes, m.status.Restarts, m.status.Paused, m.status.UpLimit = 1000, 2, true, 12500
	return m
}

func TestMetricsTellWhatStatusTells(t *testing.T) {
	d, _ := openDoor(t, busyMachine(), anyPort)
	res := get(t, d, "/metrics")
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	page := "\n" + string(b)
	for _, line := range []string{
		`handout_package_received_bytes_total{package="win11",source="origin",version="24H2"} 30`,
		`handout_package_received_bytes_total{package="win11",source="neighbours",version="24H2"} 20`,
		`handout_package_given_bytes_total{package="win11",version="24H2"} 7`,
		`handout_received_bytes_total{source="origin"} 300`,
		`handout_leases_total 5`,
		`handout_pieces_refused_total{source="neighbours"} 4`,
		`handout_cache_bytes 1000`,
		`handout_limit_bytes_per_second{direction="up"} 12500`,
		`handout_paused 1`,
		`handout_engine_restarts_total 2`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("not there: %s", line)
		}
	}
	if strings.Contains(page, "\nhandout_leases_total 99") || strings.Contains(page, strings.Repeat("x", maxLabel)) {
		t.Error("a package's name adds lines, or is as long as it likes")
	}
}

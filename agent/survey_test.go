package agent

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"handout/agent/api"
	"handout/agent/site"
)

// room starts n agents of one site that know each other.
func room(t *testing.T, n int) (all []*Agent) {
	t.Helper()
	for i := range n {
		c := Config{Site: t.Name(), Domains: []string{}, Version: fmt.Sprintf("v%d", i)}
		if i > 0 {
			c.Seeds = seedOf(all[0])
		}
		all = append(all, run(t, c))
	}
	soon(t, "all have met", func() bool {
		for _, a := range all {
			if len(a.site.All()) != n {
				return false
			}
		}
		return true
	})
	return all
}

func TestSurveyHearsTheRoom(t *testing.T) {
	all := room(t, 3)
	all[1].Trouble("http://files.example/apps.torrent", fmt.Errorf("404 \x1b[2J"))
	s := all[0].Survey(t.Context())
	if s.Site != t.Name() || len(s.Machines) != 3 || !s.Machines[0].Mine || s.Machines[0].Version != "v0" {
		t.Fatalf("%+v", s)
	}
	heard := map[string]api.MachineStatus{}
	for _, m := range s.Machines {
		heard[m.Version] = m
	}
	if m := heard["v1"]; m.Silent != "" || len(m.Errors) != 1 || !strings.Contains(m.Errors[0], "apps.torrent: 404") {
		t.Errorf("%+v", m)
	}
	if m := heard["v2"]; m.Silent != "" || m.Mine || len(m.Errors) != 0 {
		t.Errorf("%+v", m)
	}
}

// TestSurveyNamesTheMute: a machine whose port is open and says nothing must cost its own line and no more.
func TestSurveyNamesTheMute(t *testing.T) {
	a := room(t, 1)[0]
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	began := time.Now()
	_, err = a.askSummary(t.Context(), site.Member{Port: mute.Addr().(*net.TCPAddr).AddrPort()})
	if took := time.Since(began); err == nil || silence(err) != "it does not answer" || took > 2*surveyTime {
		t.Errorf("%v after %v", err, took)
	}
	mute.Close()
	if _, err = a.askSummary(t.Context(), site.Member{Port: mute.Addr().(*net.TCPAddr).AddrPort()}); err == nil || !strings.Contains(silence(err), "refused") {
		t.Errorf("%v", err)
	}
}

// TestSurveyIsAskedByStrangers: who asks without end is told to come again, and what is told is made once a second.
func TestSurveyIsAskedByStrangers(t *testing.T) {
	a := room(t, 1)[0]
	for range surveyCallersOfOneHost + 4 { // connections that stay open and take nothing
		c, err := net.Dial("tcp", memberPort(a))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "%s\n", surveyGreeting)
	}
	if s := a.Survey(t.Context()); len(s.Machines) != 1 || s.Machines[0].Silent != "" {
		t.Errorf("%+v", s)
	}
	first := a.summaryLine()
	a.Trouble("x", io.ErrUnexpectedEOF)
	if !bytes.Equal(first, a.summaryLine()) {
		t.Error("the summary was made anew at once")
	}
}

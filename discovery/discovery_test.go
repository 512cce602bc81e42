package discovery

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"handout/discovery/networks"
)

func TestPace(t *testing.T) {
	when := usual()
	var p pace
	step := func(what string, alone, wantAsk bool, wantWait time.Duration) {
		t.Helper()
		if ask, wait := p.next(alone, when); ask != wantAsk || wait != wantWait {
			t.Errorf("%s: got %v, %v, want %v, %v", what, ask, wait, wantAsk, wantWait)
		}
	}
	for _, gap := range []time.Duration{1, 2, 5, 10, 20, 40, 60, 60, 60} {
		step("alone: ever more rarely", true, true, gap*time.Second)
	}
	step("found somebody: not the sweep that was due", false, false, when.rest)
	step("a rare one after a rest", false, true, when.rest)
	if p.wake(false, false) {
		t.Error("not alone on the same network: nothing to ask")
	}
	if !p.wake(false, true) {
		t.Error("the last neighbour left: ask at once")
	}
	step("alone again: from the beginning", true, true, time.Second)
	if p.wake(false, true) {
		t.Error("alone for long: back-off goes on")
	}
	if !p.wake(true, false) {
		t.Error("another network: ask at once")
	}
	step("the first sweep is made even in company", false, true, when.rest)
}

func TestJitter(t *testing.T) {
	for range 1000 {
		if d := jitter(time.Minute); d < 60*time.Second || d > 75*time.Second {
			t.Fatalf("jitter(1m) = %v", d)
		}
	}
}

func none() *networks.Networks {
	return networks.New(networks.Options{List: func() ([]networks.Card, error) { return nil, nil }})
}

// A seed is reported at each sweep, more rarely the longer the machine is alone, and never once it is not.
func TestSeedsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		var at []time.Duration
		alone := true
		done := make(chan error)
		go func() {
			done <- Run(ctx, Options{
				Port: 4747, Networks: none(), Alone: func() bool { return alone },
				Seeds: []string{"127.0.0.1", "192.0.2.7:4748"}, // the first is this agent itself
			}, func(a netip.AddrPort, named bool) {
				if a != netip.MustParseAddrPort("192.0.2.7:4748") || !named {
					t.Errorf("found %v, named: %v", a, named)
				}
				at = append(at, time.Since(start))
			})
		}()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(at); n < 10 || n > 20 || at[0] != 0 || at[1] > 1250*time.Millisecond || at[n-1]-at[n-2] > 76*time.Second {
			t.Errorf("alone for ten minutes: tried at %v", at)
		}
		alone, at = false, nil
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if n := len(at); n < 1 || n > 3 {
			t.Errorf("in company for eleven minutes: tried at %v", at)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestParseSeed(t *testing.T) {
	for in, want := range map[string]seed{
		"depot":            {"depot", 4747},
		"depot.lan:99":     {"depot.lan", 99},
		"10.0.0.1":         {"10.0.0.1", 4747},
		"10.0.0.1:80":      {"10.0.0.1", 80},
		"fd00::1":          {"fd00::1", 4747},
		"[fd00::1]":        {"fd00::1", 4747},
		"[fd00::1]:80":     {"fd00::1", 80},
		"[fe80::1%eth0]:8": {"fe80::1%eth0", 8},
	} {
		if got, err := parseSeed(in); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", ":4747", "depot:", "depot:0", "depot:65536", "depot:-1", "depot:http", "http://depot", "a b", "[fd00::1", "me@depot"} {
		err := Run(t.Context(), Options{Seeds: []string{in}, Networks: none()}, nil)
		if err == nil || !strings.Contains(err.Error(), "seed") {
			t.Errorf("%q: got %v, want an error that names the seed", in, err)
		}
	}
}

func TestSeedResolvesToAllItsAddresses(t *testing.T) {
	addrs, err := seed{"localhost", 4747}.resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(addrs, netip.MustParseAddrPort("127.0.0.1:4747")) {
		t.Errorf("localhost is %v", addrs)
	}
}

func TestImpossiblePort(t *testing.T) {
	if err := Run(t.Context(), Options{Port: 65536, Networks: none()}, nil); err == nil {
		t.Error("port 65536 accepted")
	}
}

package main

import (
	"strings"
	"testing"
	"time"

	"handout/testlab/lab"
)

func TestLinksOfARowsRoom(t *testing.T) {
	o := row{hosts: 4, origin: 0.1, slow: 2, seed: 10, faulty: 1, agents: 1}.labOptions()
	if o.Hosts != 7 || o.Rate != 25*lab.Mbit || o.OriginRate != 2_500_000 {
		t.Errorf("%+v", o)
	}
	for host, want := range map[int]lab.BitRate{2: 2_500_000, 3: 2_500_000, 4: 250 * lab.Mbit, 6: 2_500_000} {
		if got := o.HostRates[host]; got != want {
			t.Errorf("host %d: %v, want %v", host, got, want)
		}
	}
	if len(o.HostRates) != 4 {
		t.Errorf("links of their own: %v", o.HostRates)
	}
}

func TestHostsAreSharedOutAmongSites(t *testing.T) {
	two := row{hosts: 5, sites: 2}
	var got []int
	for i := range two.hosts {
		got = append(got, two.site(i))
	}
	if want := [5]int{0, 0, 0, 1, 1}; [5]int(got) != want {
		t.Errorf("%v, want %v", got, want)
	}
	if one := (row{hosts: 5}); one.site(4) != 0 {
		t.Error("a single site has more than one number")
	}
}

func TestRowsAreChosenByName(t *testing.T) {
	if all, err := choose(nil); err != nil || len(all) != len(rows) {
		t.Errorf("%d of %d rows, %v", len(all), len(rows), err)
	}
	for _, w := range rows {
		if got, err := choose([]string{w.name}); err != nil || len(got) != 1 || got[0].about != w.about {
			t.Errorf("%s: %v, %v: another row has the name", w.name, got, err)
		}
	}
	if _, err := choose([]string{"n1", "nonsense"}); err == nil {
		t.Error("a row that does not exist was chosen")
	}
}

// A room where some never finish must not look fast.
func TestTableShowsTheRunInTheMiddle(t *testing.T) {
	done := func(last time.Duration) outcome {
		return outcome{reference: 10 * time.Second, last: last, done: 8, judged: 8, copies: 1, most: 4}
	}
	late := done(time.Second)
	late.done = 5
	for _, c := range []struct {
		name string
		all  []outcome
		want string
	}{
		{"median", []outcome{done(30 * time.Second), done(11 * time.Second), done(12 * time.Second)}, " 1.200 "},
		{"one of three late", []outcome{late, done(11 * time.Second), done(12 * time.Second)}, " 1.200 "},
		{"two of three late", []outcome{late, done(11 * time.Second), late}, "not done: 3 of 8"},
		{"none", nil, "wrong"},
	} {
		var b strings.Builder
		if err := table(&b, []outcomes{{row{name: "r", last: 1.05}, c.all}}); err != nil || !strings.Contains(b.String(), c.want) {
			t.Errorf("%s: no %q in\n%s%v", c.name, c.want, b.String(), err)
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"handout/agent"
)

// defaultLinger is how long fetch stays for others where nothing else is said.
const defaultLinger = 30 * time.Second

// linger says how long a machine that has all stays for others.
type linger struct {
	most time.Duration
	ends lingerEnd
}

// lingerEnd is what ends a stay before its time. A signal and --timeout always do.
type lingerEnd int

const (
	stays      lingerEnd = iota // nothing: others may start at any moment
	ifMet                       // no other machine of the site was met: the default. Nobody seems to come, and a script waits
	whileLacks                  // no connected neighbour lacks anything: auto
)

var _ pflag.Value = (*linger)(nil)

// String implements pflag.Value.
func (l *linger) String() string {
	switch {
	case l.ends != whileLacks:
		return l.most.String()
	case l.most == defaultLinger:
		return "auto"
	}
	return "auto:" + l.most.String()
}

// Type implements pflag.Value.
func (l *linger) Type() string { return "TIME|auto" }

// Set reads a duration, auto, or auto:DURATION.
func (l *linger) Set(s string) error {
	set := linger{most: defaultLinger}
	if rest, auto := strings.CutPrefix(s, "auto"); auto {
		set.ends = whileLacks
		if rest == "" {
			*l = set
			return nil
		}
		if s, auto = strings.CutPrefix(rest, ":"); !auto {
			return errLinger
		}
	}
	if err := (*period)(&set.most).Set(s); err != nil {
		return fmt.Errorf("%w, auto or auto:10m", err)
	}
	*l = set
	return nil
}

var errLinger = errors.New("it is a time such as 30s or 2m, auto, or auto:10m")

// text says to whoever watches how long it stays; "": not at all.
func (l linger) text() string {
	switch {
	case l.most == 0:
		return ""
	case l.ends == whileLacks:
		return "stays while a neighbour lacks something, " + timeText(l.most) + " at most; Ctrl-C leaves"
	}
	return "stays " + timeText(l.most) + " for machines that come late; Ctrl-C leaves"
}

// after is l for a machine that is done: one that met nobody need not stay by default.
func (l linger) after(ag *agent.Agent) linger {
	if l.ends == ifMet && !ag.MetOthers() {
		l.most = 0
	}
	return l
}

// wait returns when the stay is over, or ctx ends.
func (l linger) wait(ctx context.Context, ag *agent.Agent) {
	if l.ends == whileLacks {
		ag.Linger(ctx, l.most)
		return
	}
	t := time.NewTimer(l.most)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

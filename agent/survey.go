package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"handout/agent/api"
	"handout/agent/site"
)

// A survey asks every machine of the site how it is. The one whose operator wants to know asks the others, each over a
// connection of its own to its port for members: nobody keeps a list of everybody, so it costs nothing while nobody asks.
// A machine says in one line what a passer-by may know; what it is asked beyond that it does not answer.

// surveyGreeting begins a question of a survey (site.Dialect). The answer is one api.Summary as JSON, and the end.
const surveyGreeting = "handout: status 1"

const (
	// A machine that is well answers within milliseconds.
	surveyTime = 2 * time.Second
	// surveyAtOnce is how many are asked together: a room of 200 of which half are mute is through in some seconds.
	surveyAtOnce = 64
	// freshFor is how long a survey, or a machine's own summary, serves whoever asks next.
	freshFor = time.Second
	// What strangers can keep busy.
	surveyCallers, surveyCallersOfOneHost = 32, 4
)

// surveys is what was learned a moment ago.
type surveys struct {
	mu    sync.Mutex // held while the others are asked
	at    time.Time
	found api.SiteStatus

	own   sync.Mutex
	ownAt time.Time
	line  []byte // this machine's summary
}

// Survey implements api.Machine.
func (a *Agent) Survey(ctx context.Context) api.SiteStatus {
	a.surveys.mu.Lock()
	defer a.surveys.mu.Unlock()
	if time.Since(a.surveys.at) < freshFor {
		return a.surveys.found
	}
	members := a.site.All()
	found := api.SiteStatus{Site: a.c.Site, Machines: make([]api.MachineStatus, len(members))}
	var g errgroup.Group
	g.SetLimit(surveyAtOnce)
	for i, m := range members {
		s := &found.Machines[i]
		s.Member = memberStatus(m)
		if m.Mine {
			s.Summary = a.summary()
			continue
		}
		g.Go(func() error {
			var err error
			if s.Summary, err = a.askSummary(ctx, m); err != nil {
				s.Silent = clip(silence(err))
			}
			return nil
		})
	}
	g.Wait()
	if ctx.Err() == nil {
		a.surveys.at, a.surveys.found = time.Now(), found
	}
	return found
}

// silence says why a machine was not heard.
func silence(err error) string {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return "it does not answer"
	}
	return err.Error()
}

// askSummary asks a member how it is.
func (a *Agent) askSummary(ctx context.Context, m site.Member) (api.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, surveyTime)
	defer cancel()
	c, err := site.Ask(ctx, m.Port.String(), surveyGreeting, a.c.Site, a.c.SiteKey)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return api.Summary{}, err
	}
	defer c.Close()
	s, err := api.ReadSummary(c)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return s, err
}

// surveyDialect answers those who ask.
func (a *Agent) surveyDialect() site.Dialect {
	return site.Dialect{
		Greeting: surveyGreeting, Time: surveyTime, AtOnce: surveyCallers, OfOneHost: surveyCallersOfOneHost,
		Serve: func(c site.Caller) error {
			_, err := c.Write(a.summaryLine())
			return err
		},
	}
}

// summaryLine is the summary as others read it. It is made once a second at most, however many ask.
func (a *Agent) summaryLine() []byte {
	a.surveys.own.Lock()
	defer a.surveys.own.Unlock()
	if time.Since(a.surveys.ownAt) < freshFor {
		return a.surveys.line
	}
	line, err := json.Marshal(a.summary())
	if err != nil {
		panic(err) // a plain struct of plain values
	}
	a.surveys.ownAt, a.surveys.line = time.Now(), append(line, '\n')
	return a.surveys.line
}

// summary is how this machine is.
func (a *Agent) summary() api.Summary {
	packages, paused, troubles := a.doing()
	return api.Summarise(a.c.Version, paused, packages, troubles)
}

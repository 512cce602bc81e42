package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"handout/agent/api"
	"handout/agent/atomicfile"
	"handout/manifest/amount"
)

// settings are what operators decided while the agent ran. They outlive it, as a pause must: the machine that was told
// to be quiet is quiet after a restart too.
type settings struct {
	Up       *int64                     `json:"up,omitempty"` // bytes per second; nil: as the config says
	Down     *int64                     `json:"down,omitempty"`
	Paused   bool                       `json:"paused,omitempty"` // all packages
	Packages map[string]packageSettings `json:"packages,omitempty"`
}

// packageSettings are those of a package, by its name: they hold for its next version too.
type packageSettings struct {
	Paused   bool         `json:"paused,omitempty"`
	Priority api.Priority `json:"priority,omitempty"` // "": as the config says
}

func settingsFile(dir string) atomicfile.State {
	return atomicfile.State{Path: filepath.Join(dir, "settings.json"), Mode: 0o640, Most: 8 << 20}
}

// readSettings takes over what was decided before the agent started. Where that can't be read the config alone counts.
func (a *Agent) readSettings() error {
	if a.c.StateDir != "" {
		err := settingsFile(a.c.StateDir).Load(func(text []byte) (err error) {
			a.decided, err = parseSettings(text, a.c.Limits)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.log.Warn("what operators decided (pauses, limits, priorities) was not written down as it should be: without a copy the config alone counts",
				"error", err)
		}
	}
	if a.decided.Packages == nil {
		a.decided.Packages = map[string]packageSettings{}
	}
	l := a.limits()
	if err := l.check(); err != nil {
		return err
	}
	a.up.set(l.Up)
	a.down.set(l.Down)
	return nil
}

// parseSettings reads what keep wrote. Anything that no operator can have decided is another file's, or a disk's.
func parseSettings(text []byte, configured Limits) (settings, error) {
	var s settings
	var named map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(text, &named), json.Unmarshal(text, &s)); err != nil {
		return settings{}, err
	}
	known := len(named) == 0 && named != nil
	for name := range named {
		known = known || slices.Contains([]string{"up", "down", "paused", "packages"}, name)
	}
	if !known {
		return settings{}, errors.New("it holds no settings of an agent")
	}
	for _, p := range s.Packages {
		if p.Priority != "" && !slices.Contains(api.Priorities, p.Priority) {
			return settings{}, fmt.Errorf("priority %.40q is not one of %v", p.Priority, api.Priorities)
		}
	}
	if s.Up != nil {
		configured.Up = *s.Up
	}
	if s.Down != nil {
		configured.Down = *s.Down
	}
	if err := configured.check(); err != nil {
		return settings{}, err
	}
	return s, nil
}

// keep writes settings down.
func (a *Agent) keep(s settings) error {
	if a.c.StateDir == "" {
		return nil
	}
	text, err := json.MarshalIndent(s, "", "\t")
	if err == nil {
		err = settingsFile(a.c.StateDir).Write(append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep what was decided: %w", err)
	}
	return nil
}

// decide changes the settings: all of what change does is kept and obeyed, or nothing.
func (a *Agent) decide(change func(*settings) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := a.decided
	next.Packages = maps.Clone(a.decided.Packages)
	if err := change(&next); err != nil {
		return err
	}
	maps.DeleteFunc(next.Packages, func(_ string, p packageSettings) bool { return p == packageSettings{} })
	if err := a.keep(next); err != nil {
		return err
	}
	a.decided = next
	l := a.limits()
	a.up.set(l.Up)
	a.down.set(l.Down)
	for _, j := range a.jobs {
		a.tell(j)
	}
	return nil
}

// tell lets a job know what holds for it.
func (a *Agent) tell(j *job) {
	s := a.decided.Packages[j.m.Name]
	j.order(a.decided.Paused || s.Paused, s.Priority)
}

// limits are those that hold.
func (a *Agent) limits() Limits {
	l := a.c.Limits
	if a.decided.Up != nil {
		l.Up = *a.decided.Up
	}
	if a.decided.Down != nil {
		l.Down = *a.decided.Down
	}
	return l
}

// Pause implements api.Machine: nothing of the package is fetched or given until Resume. Runs of pieces that are being
// read come to their end.
func (a *Agent) Pause(pkg string) error { return a.pause(pkg, true) }

// Resume implements api.Machine. Of all packages it resumes also those that were paused alone.
func (a *Agent) Resume(pkg string) error { return a.pause(pkg, false) }

func (a *Agent) pause(pkg string, stop bool) error {
	e := Event{Kind: Resumed}
	if stop {
		e.Kind = Paused
	}
	err := a.decide(func(s *settings) error {
		if pkg != "" {
			return a.named(pkg, func(name string) {
				e.Package = name
				p := s.Packages[name]
				p.Paused = stop
				s.Packages[name] = p
			})
		}
		s.Paused = stop
		for name, p := range s.Packages {
			p.Paused = p.Paused && stop
			s.Packages[name] = p
		}
		return nil
	})
	if err == nil {
		a.journal.Record(e)
	}
	return err
}

// named calls do with the name of every package that pkg means.
func (a *Agent) named(pkg string, do func(name string)) error {
	found := false
	for _, j := range a.jobs {
		if j.isNamed(pkg) {
			found = true
			do(j.m.Name)
		}
	}
	if !found {
		return fmt.Errorf("%q: %w", pkg, api.ErrNoPackage)
	}
	return nil
}

// Limit implements api.Machine.
func (a *Agent) Limit(c api.LimitsRequest) error {
	err := a.decide(func(s *settings) error {
		s.Up, s.Down = changed(s.Up, c.Up), changed(s.Down, c.Down)
		for _, l := range []*int64{s.Up, s.Down} {
			if l != nil {
				if err := (Limits{Up: *l}).check(); err != nil {
					return fmt.Errorf("%w: %w", api.ErrInvalid, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	l := a.limits()
	a.mu.Unlock()
	a.newLimits.Add(1)
	a.journal.Record(Event{Kind: LimitsChanged, Detail: fmt.Sprintf("up %s, down %s", amount.Limit(l.Up), amount.Limit(l.Down))})
	return nil
}

// changed is an order of the wire laid over a setting: absent leaves it, api.AsConfigured forgets it.
func changed(now, order *int64) *int64 {
	switch {
	case order == nil:
		return now
	case *order == api.AsConfigured:
		return nil
	}
	return order
}

// Prioritise implements api.Machine.
func (a *Agent) Prioritise(pkg string, priority api.Priority) error {
	if !slices.Contains(api.Priorities, priority) {
		return fmt.Errorf("%w: priority %q is not one of %v", api.ErrInvalid, priority, api.Priorities)
	}
	err := a.decide(func(s *settings) error {
		return a.named(pkg, func(name string) {
			p := s.Packages[name]
			p.Priority = priority
			s.Packages[name] = p
		})
	})
	if err == nil {
		a.journal.Record(Event{Kind: PriorityChanged, Package: pkg, Detail: string(priority)})
	}
	return err
}

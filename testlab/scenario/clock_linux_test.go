package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"handout/agent/api"
	"handout/testlab/lab"
)

// A laptop that sleeps, a virtual machine that is suspended, a program that somebody stops: hours go by between two
// instructions. And clocks that are set while a program runs: by the first answer of a time server, by hand, by a year.

// soak is the long form: an hour for what takes seconds.
var soak = os.Getenv("HANDOUT_SOAK") != ""

// back is how long it may take until all is as it was.
const back = 15 * time.Second

// agents are agents on the first n hosts, each of which fetches the room's package.
type agents struct {
	*story
	of []*agentOn
}

type agentOn struct {
	*lab.Process
	host   *lab.Machine
	config string
}

// agents starts them. clocks are the files that hold how far each one's clock is wrong; nil: they are right.
func (s *story) agents(n int, program string, clocks []string) *agents {
	s.Helper()
	all := &agents{story: s}
	for i := range n {
		host, dir := s.Lab.Hosts[i], filepath.Dir(s.Dest(i))
		a := &agentOn{host: host, config: dir + ".toml"}
		text := fmt.Sprintf("trust = [%q]\ncache_dir = %q\nstate_dir = %q\n[[package]]\nmanifest = %q\ndest = %q\n",
			s.Package.Trust, dir, dir+".state", s.Package.Manifest, s.Dest(i))
		if err := os.WriteFile(a.config, []byte(text), 0o644); err != nil {
			s.Fatal(err)
		}
		all.of = append(all.of, a)
		clock := ""
		if clocks != nil {
			clock = clocks[i]
		}
		all.start(i, program, clock)
	}
	return all
}

func (a *agents) start(i int, program, clock string) {
	a.Helper()
	on := a.of[i]
	cmd := exec.CommandContext(a.ctx, program, "agent", "run", "--config", on.config)
	cmd.Env = append(lab.Neutral(os.Environ()), "TEST_CLOCK="+clock)
	log := &lines{opened: make(chan struct{})}
	cmd.Stderr = log
	var err error
	if on.Process, err = on.host.Start(cmd); err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() {
		if a.Failed() {
			a.Logf("%s:\n%s", on.host.Name, log)
		}
	})
	select {
	case <-log.opened:
	case <-on.Done():
		a.Fatalf("%s ended: %s", on.host.Name, log)
	}
}

// status asks agent i.
func (a *agents) status(i int) (s api.Status, err error) {
	cmd := exec.CommandContext(a.ctx, a.bin(), "status", "--json", "--config", a.of[i].config)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := a.of[i].host.Start(cmd)
	if err == nil {
		err = p.Wait()
	}
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &s)
	}
	return s, err
}

// signal goes to all processes of agent i.
func (a *agents) signal(i int, sig syscall.Signal) {
	a.Helper()
	family, err := a.of[i].Family()
	if err != nil {
		a.Fatal(err)
	}
	for _, text := range family {
		pid, err := strconv.Atoi(text)
		if err == nil {
			err = syscall.Kill(pid, sig)
		}
		if err != nil {
			a.Fatal(err)
		}
	}
}

// steward is who is steward, by its address, if all n agents are members and agree; else what they say.
func (a *agents) steward() (at string, agreed bool) {
	var said []string
	agreed = true
	for i := range a.of {
		s, err := a.status(i)
		if err != nil {
			return err.Error(), false
		}
		now := s.Steward
		if now == "this machine" {
			now = a.of[i].host.Addr.String()
		}
		said = append(said, fmt.Sprintf("%s: %s of %d", a.of[i].host.Name, now, s.Members))
		if at = now; s.Members != len(a.of) || said[0][strings.Index(said[0], ":"):] != said[i][strings.Index(said[i], ":"):] {
			agreed = false
		}
	}
	if !agreed {
		return strings.Join(said, "; "), false
	}
	return at, true
}

// settled waits until all agree on one steward, and returns who that is.
func (a *agents) settled(within time.Duration) string {
	a.Helper()
	for end := time.Now().Add(within); ; time.Sleep(200 * time.Millisecond) {
		at, ok := a.steward()
		if ok {
			return at
		}
		if time.Now().After(end) {
			a.Fatalf("after %v they do not agree: %s", within, at)
		}
	}
}

// done waits until all trees stand, and compares them.
func (a *agents) done() {
	a.Helper()
	a.standing(len(a.of))
	for i := range a.of {
		if err := a.Verify(i); err != nil {
			a.Error(err)
		}
	}
}

// The steward is stopped for longer than all of them wait for it, and goes on. It finds another in its place.
func TestLabStopped(t *testing.T) {
	s := openLab(t, lab.Options{Hosts: 4, Rate: 12 * lab.Mbit, OriginRate: 12 * lab.Mbit})
	for i := range s.Lab.Hosts {
		if err := os.MkdirAll(filepath.Dir(s.Dest(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a := s.agents(4, s.bin(), nil)
	first := a.settled(back)
	stopped := 0
	for a.of[stopped].host.Addr.String() != first {
		stopped++
	}
	a.signal(stopped, syscall.SIGSTOP)
	pause := 12 * time.Second
	if soak {
		pause = time.Hour
	}
	select {
	case <-time.After(pause):
	case <-s.ctx.Done():
		t.Fatal(context.Cause(s.ctx))
	}
	went := time.Now()
	a.signal(stopped, syscall.SIGCONT)
	second := a.settled(back)
	t.Logf("all agree %.1f s later: %s was steward, %s is", time.Since(went).Seconds(), first, second)
	time.Sleep(time.Until(went.Add(back)))
	most := s.Lab.Origin.WatchConnections(s.Server.Addr.Port())
	for range 5 {
		time.Sleep(time.Second)
		if at, ok := a.steward(); !ok || at != second {
			t.Errorf("it does not last: %s", at)
		}
	}
	if n := most(); n > 4 {
		t.Errorf("%d connections to the origin", n)
	}
	a.done()
}

// wrongClock is what is added to the program for these tests: the system's clock, which is everybody's, is never set. The
// time that goes by is the right one, as it is where a clock is set.
const wrongClock = `package main

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

func init() {
	file := os.Getenv("TEST_CLOCK")
	if file == "" {
		return
	}
	set := func() {
		if text, err := os.ReadFile(file); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
				time.TestJump = n
			}
		}
	}
	set()
	go func() {
		for {
			time.Sleep(20 * time.Millisecond)
			set()
		}
	}()
}
`

// wrongProgram builds a handout whose clock is wrong by as many seconds as the file says that TEST_CLOCK names.
var wrongProgram = sync.OnceValues(func() (string, error) {
	env, err := exec.Command("go", "list", "-f", "{{.Dir}}", "time", "handout/cmd/handout").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	dirs := strings.Fields(string(env))
	library := filepath.Join(dirs[0], "time.go")
	text, err := os.ReadFile(library)
	if err != nil {
		return "", err
	}
	const begins = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), begins) != 1 {
		return "", fmt.Errorf("%s has no %q: this version of Go needs another replacement", library, begins)
	}
	changed := strings.Replace(string(text), begins, begins+"\tsec += TestJump\n", 1) + "\nvar TestJump int64\n"
	overlay := map[string]map[string]string{"Replace": {
		library:                                  filepath.Join(scratch, "time.go"),
		filepath.Join(dirs[1], "wrong_clock.go"): filepath.Join(scratch, "wrong_clock.go"),
	}}
	list, err := json.Marshal(overlay)
	for file, text := range map[string]string{"time.go": changed, "wrong_clock.go": wrongClock, "overlay.json": string(list)} {
		if err == nil {
			err = os.WriteFile(filepath.Join(scratch, file), []byte(text), 0o644)
		}
	}
	if err != nil {
		return "", err
	}
	program := filepath.Join(scratch, "handout-wrong-clock")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-overlay="+filepath.Join(scratch, "overlay.json"), "-o", program, "handout/cmd/handout")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build handout with a wrong clock: %w: %s", err, said)
	}
	return program, nil
})

const year = 365 * 24 * 3600

// Clocks jump by a year while a room fetches, forth on one machine and back on another, and return. Then one is restarted with
// a clock that is a year behind what lies on its disk.
func TestLabClocksJump(t *testing.T) {
	if !soak {
		t.Skip("builds Go's whole library anew, with a time package of its own: HANDOUT_SOAK=1")
	}
	s := openLab(t, lab.Options{Hosts: 4, Rate: 12 * lab.Mbit, OriginRate: 12 * lab.Mbit})
	program, err := wrongProgram()
	if err != nil {
		t.Fatal(err)
	}
	var clocks []string
	wrong := func(i, seconds int) {
		t.Helper()
		if err := os.WriteFile(clocks[i], []byte(fmt.Sprint(seconds)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range s.Lab.Hosts {
		if err := os.MkdirAll(filepath.Dir(s.Dest(i)), 0o755); err != nil {
			t.Fatal(err)
		}
		clocks = append(clocks, filepath.Dir(s.Dest(i))+".clock")
		wrong(i, 0)
	}
	a := s.agents(4, program, clocks)
	first := a.settled(back)
	wrong(0, year)
	wrong(1, -year)
	time.Sleep(3 * time.Second)
	if at, ok := a.steward(); !ok || at != first {
		t.Errorf("the clocks have jumped: %s", at)
	}
	for i, want := range []int{year, -year, 0, 0} {
		st, err := a.status(i)
		if err != nil {
			t.Fatal(err)
		}
		if off := time.Until(st.Started); off < -time.Minute || off > time.Minute {
			t.Errorf("%s: started %v", a.of[i].host.Name, st.Started)
		}
		t.Logf("%s (%d s): %+v", a.of[i].host.Name, want, st.Packages)
	}
	wrong(0, 0)
	wrong(1, year)
	a.done()
	if at, ok := a.steward(); !ok || at != first {
		t.Errorf("the clocks have jumped back: %s", at)
	}
	for i := range a.of {
		st, _ := a.status(i)
		t.Logf("%s: %+v %+v", a.of[i].host.Name, st.Packages, st.Errors)
	}
}

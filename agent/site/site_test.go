package site

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"handout/agent/plan"
	"handout/discovery/networks"
	"handout/manifest"
)

var pkg = manifest.InfoHash{9}

func newSite(t *testing.T, o Options) *Site {
	t.Helper()
	o.Networks = inside("127.0.0.0/8")
	if o.Connections == 0 {
		o.Connections = 4
	}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func inside(cidr string) *networks.Networks {
	return networks.New(networks.Options{CIDRs: []netip.Prefix{netip.MustParsePrefix(cidr)}})
}

func (s *Site) at() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.Port()))
}

func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func room(t *testing.T, n int, o Options) []*Site {
	t.Helper()
	var all []*Site
	for i := range n {
		s := newSite(t, o)
		all = append(all, s)
		if i > 0 {
			go s.Join([]netip.AddrPort{all[i-1].at()})
		}
	}
	defer func() {
		if t.Failed() {
			for _, s := range all {
				s.mu.Lock()
				t.Logf("%s follows %s of %v; %d members, passed over %v", s.id, s.steward, s.roll, len(s.members), s.passed)
				s.mu.Unlock()
			}
		}
	}()
	eventually(t, 5*time.Second, "one site with one steward", func() bool { return agree(all) })
	return all
}

// agree reports whether all follow one steward who has them all on its roll.
func agree(all []*Site) bool {
	for _, s := range all {
		s.mu.Lock()
		id, n, on := s.steward, len(s.members), len(s.roll.Order)
		s.mu.Unlock()
		all[0].mu.Lock()
		first := all[0].steward
		all[0].mu.Unlock()
		if id != first || n != len(all) || on != len(all) {
			return false
		}
	}
	return true
}

func stewardOf(all []*Site) *Site {
	for _, s := range all {
		s.mu.Lock()
		mine := s.steward == s.id
		s.mu.Unlock()
		if mine {
			return s
		}
	}
	return nil
}

// stewardAndOther are the steward of a room that agrees and one of the rest.
func stewardAndOther(all []*Site) (steward, other *Site) {
	steward = stewardOf(all)
	for _, s := range all {
		if s != steward {
			other = s
		}
	}
	return steward, other
}

// oneHolds is a room of two for which there is one connection: whoever is not steward holds the lease.
func oneHolds(t *testing.T) (steward, holder *Site, l *Lease) {
	t.Helper()
	steward, holder = stewardAndOther(room(t, 2, Options{Connections: 1}))
	l, err := holder.Lease(t.Context(), pkg, 0, nil, askAll(100), nil)
	if err != nil {
		t.Fatal(err)
	}
	return steward, holder, l
}

func askAll(n int) func() (plan.Ask, bool) {
	return func() (plan.Ask, bool) {
		e := plan.NewBitfield(n)
		e.SetAll()
		return plan.Ask{Eligible: e, After: manifest.PieceIndex(n), Limit: 4}, true
	}
}

// A slow machine that holds the only connection hears that its lease is not renewed, and need not be waited for until it has
// run out.
func TestSlowHolderIsToldToStop(t *testing.T) {
	t.Parallel()
	all := room(t, 2, Options{Connections: 1})
	fast, slow := stewardAndOther(all)
	by := func(link float64) func() (plan.Ask, bool) {
		return func() (plan.Ask, bool) {
			a, ok := askAll(100)()
			a.Link = link
			return a, ok
		}
	}
	held, err := slow.Lease(t.Context(), pkg, 0, nil, by(1e5), nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	stopped := make(chan time.Duration, 1)
	go func() {
		<-held.Lost()
		stopped <- time.Since(began)
		slow.Release(held, held.Run.First+1)
	}()
	if _, err := fast.Lease(t.Context(), pkg, 0, nil, by(1e6), nil); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if told := <-stopped; took < told || took > told+plan.LeaseTerm/2 || told > 3*plan.LeaseTerm {
		t.Errorf("stopped after %v, the next read after %v", told, took)
	}
}

// Who asks for more while it still reads, and is cut short, gives what it has not read back: the others have it at once.
func TestWhatWasNotReadIsGivenAgain(t *testing.T) {
	t.Parallel()
	boss, me, l := oneHolds(t)
	last := l.Run.First + manifest.PieceIndex(l.Run.Len-1)
	_, err := me.Lease(t.Context(), pkg, 0, l, func() (plan.Ask, bool) {
		return plan.Ask{Eligible: plan.NewBitfield(100), After: last + 1}, true
	}, func() manifest.PieceIndex { return last })
	if !errors.Is(err, ErrNothing) {
		t.Fatalf("%v, want %v", err, ErrNothing)
	}
	next, err := boss.Lease(t.Context(), pkg, 0, nil, func() (plan.Ask, bool) {
		e := plan.NewBitfield(100)
		e.Set(last)
		return plan.Ask{Eligible: e, After: 100, Limit: 1}, true
	}, nil)
	if err != nil || next.Run.First != last {
		t.Errorf("%+v, %v; want piece %d", next, err, last)
	}
}

// However many machines ask, whoever is steward: never more connections than the site may have.
func TestRoomHoldsTheCap(t *testing.T) {
	const k, n, pieces = 3, 6, 400
	all := room(t, n, Options{Connections: k})
	most, given := readFor(3*time.Second, all, func(*Site) (plan.Ask, bool) { return askAll(pieces)() })
	if most > k {
		t.Errorf("%d connections at once, allowed are %d", most, k)
	}
	if given < pieces/2 {
		t.Errorf("only %d of %d pieces were given out in 3 s", given, pieces)
	}
}

// readFor has two streams of each machine read for some time: how many connections there were at once at most, and how many
// pieces were given out.
func readFor(d time.Duration, all []*Site, ask func(*Site) (plan.Ask, bool)) (most int64, given int) {
	var open int64
	var mu sync.Mutex
	pieces := map[manifest.PieceIndex]bool{}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	count := func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		open += n
		most = max(most, open)
	}
	var g sync.WaitGroup
	for _, s := range all {
		for stream := range 2 {
			g.Go(func() {
				var l *Lease
				for {
					had := l != nil
					var err error
					l, err = s.Lease(ctx, pkg, stream, l, func() (plan.Ask, bool) { return ask(s) }, func() manifest.PieceIndex {
						count(-1)
						had = false
						return l.Run.First + manifest.PieceIndex(l.Run.Len)
					})
					if err != nil {
						return
					}
					if !had {
						count(1)
					}
					mu.Lock()
					for i := range l.Run.Len {
						pieces[l.Run.First+manifest.PieceIndex(i)] = true
					}
					mu.Unlock()
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
	}
	g.Wait()
	return most, len(pieces)
}

// Somebody speaks whom the membership has not told of yet: others are asked whom they know, and not at every word.
func TestUnknownSpeakerIsLookedFor(t *testing.T) {
	s := room(t, 2, Options{})[0]
	s.mu.Lock()
	s.met, s.meetPause = time.Time{}, meetEvery
	s.mu.Unlock()
	var asked [2]time.Time
	for k := range asked {
		s.hear(&message{From: "somebody"})
		s.mu.Lock()
		asked[k] = s.met
		s.mu.Unlock()
	}
	if asked[0].IsZero() || asked[1] != asked[0] {
		t.Errorf("nobody was asked, or twice: %v", asked)
	}
}

func TestLoneMachineLeasesAtOnce(t *testing.T) {
	s := newSite(t, Options{Connections: 2})
	for stream := range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		if _, err := s.Lease(ctx, pkg, stream, nil, askAll(10), nil); err != nil {
			t.Errorf("stream %d: %v", stream, err)
		}
		cancel()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.Lease(ctx, pkg, 2, nil, askAll(10), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third of two: %v", err)
	}
}

// The steward's machine loses power in the middle: the next one takes over, knows what is leased, and goes on.
func TestStewardDies(t *testing.T) {
	all := room(t, 4, Options{Connections: 2})
	boss := stewardOf(all)
	var rest []*Site
	for _, s := range all {
		if s != boss {
			rest = append(rest, s)
		}
	}
	l, err := rest[0].Lease(t.Context(), pkg, 0, nil, askAll(100), nil)
	if err != nil {
		t.Fatal(err)
	}
	boss.losePower()
	died := time.Now()
	eventually(t, 10*time.Second, "another steward is followed", func() bool { return agree(rest) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := rest[1].Lease(ctx, pkg, 0, nil, askAll(100), nil); err != nil {
		t.Fatalf("no lease after the steward died: %v", err)
	}
	t.Logf("a lease %v after the steward died", time.Since(died).Round(time.Millisecond))
	select {
	case <-l.Lost():
		t.Error("a lease that the old steward gave was lost, though its holder lives")
	default:
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := rest[2].Lease(ctx, pkg, 0, nil, askAll(100), nil); err == nil {
		t.Error("a third connection of two: the new steward forgot the lease of the old one")
	}
}

// Machines that come to fetch are gone soon: one that stays is steward, though it came last.
func TestInstalledMachineIsSteward(t *testing.T) {
	all := room(t, 3, Options{})
	agent := newSite(t, Options{Installed: true})
	agent.Join([]netip.AddrPort{all[1].at()})
	all = append(all, agent)
	eventually(t, 5*time.Second, "the installed machine is steward", func() bool { return agree(all) && stewardOf(all) == agent })
}

// The steward lives and does not answer, or answers and grants nothing, or says that there is nothing to read: whoever
// needs the origin gets at it all the same.
func TestStewardThatDoesNotServe(t *testing.T) {
	for name, spoil := range map[string]func(*Site){
		"deaf":   func(s *Site) { s.mu.Lock(); s.closed = true; s.mu.Unlock() },
		"unfair": func(s *Site) { s.mu.Lock(); s.office.Hold(time.Now().Add(time.Hour)); s.mu.Unlock() },
		"denying": func(s *Site) {
			s.mu.Lock()
			s.office.Adopt(time.Now().Add(time.Hour), plan.Lease{ID: 1, Member: "nobody", Package: pkg, Run: plan.Run{Len: 100}}, 100)
			s.mu.Unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := room(t, 3, Options{Connections: 3})
			boss := stewardOf(all)
			spoil(boss)
			defer func() { boss.mu.Lock(); boss.closed = false; boss.mu.Unlock() }()
			stalled := func() (plan.Ask, bool) {
				a, ok := askAll(100)()
				a.Stalled = true
				return a, ok
			}
			var g sync.WaitGroup
			began := time.Now()
			for _, s := range all {
				if s != boss {
					g.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
						defer cancel()
						err := ErrNothing
						for errors.Is(err, ErrNothing) { // a download asks again and again
							time.Sleep(20 * time.Millisecond)
							_, err = s.Lease(ctx, pkg, 0, nil, stalled, nil)
						}
						if err != nil {
							t.Error(err)
						}
					})
				}
			}
			g.Wait()
			t.Logf("all had a lease after %v", time.Since(began).Round(time.Millisecond))
		})
	}
}

// Two halves of a room that could not see each other meet: the surplus of leases ends.
func TestHalvesMeet(t *testing.T) {
	a, b := room(t, 2, Options{Connections: 1}), room(t, 2, Options{Connections: 1})
	la, err := a[0].Lease(t.Context(), pkg, 0, nil, askAll(100), nil)
	if err != nil {
		t.Fatal(err)
	}
	lb, err := b[0].Lease(t.Context(), pkg, 0, nil, askAll(100), nil)
	if err != nil {
		t.Fatal(err)
	}
	a[0].Join([]netip.AddrPort{b[1].at()})
	all := append(a, b...)
	eventually(t, 5*time.Second, "one site", func() bool { return agree(all) })
	boss := stewardOf(all)
	eventually(t, 3*time.Second, "the steward knows of both leases", func() bool { return boss.Status().Connections == 2 })
	yielded := 0
	for _, x := range []struct {
		s *Site
		l *Lease
	}{{a[0], la}, {b[0], lb}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		x.s.Lease(ctx, pkg, 0, x.l, askAll(100), func() manifest.PieceIndex {
			yielded++
			return x.l.Run.First
		})
		cancel()
	}
	if yielded == 0 {
		t.Error("nobody had to yield")
	}
	eventually(t, 3*time.Second, "one connection is left", func() bool { return boss.Status().Connections <= 1 })
}

// Who has no key is no member, and hears nothing.
func TestKeyKeepsStrangersOut(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	a, b := newSite(t, Options{Key: key}), newSite(t, Options{Key: key})
	open, other := newSite(t, Options{}), newSite(t, Options{Key: []byte("another key, another key another")})
	named := newSite(t, Options{Key: key, Name: "elsewhere"})
	b.Join([]netip.AddrPort{a.at()})
	for _, s := range []*Site{open, other, named} {
		s.Join([]netip.AddrPort{a.at()})
	}
	eventually(t, 3*time.Second, "holders of the key meet", func() bool { return len(a.Members()) == 1 && len(b.Members()) == 1 })
	time.Sleep(500 * time.Millisecond)
	if got := len(a.Members()); got != 1 {
		t.Errorf("%d members", got)
	}
}

// TestMachineOutsideItsOwnCIDRs: an admin who names only the other networks must not bring the agent down.
func TestMachineOutsideItsOwnCIDRs(t *testing.T) {
	for _, p := range []string{"192.0.2.0/24", "2001:db8::/32"} {
		s, err := New(Options{Networks: inside(p), Connections: 4})
		if err != nil {
			t.Fatal(err)
		}
		if st := s.Status(); st.Members != 1 {
			t.Errorf("%s: %d members", p, st.Members)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestCloseLosesLeases(t *testing.T) {
	s := newSite(t, Options{})
	l, err := s.Lease(t.Context(), pkg, 0, nil, askAll(10), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	select {
	case <-l.Lost():
	default:
		t.Error("a lease outlives its site")
	}
}

// A machine that reads nothing is not told how many connections the site has; who asks it hears the truth all the same.
func TestConnectionsAreNeverStale(t *testing.T) {
	t.Parallel()
	all := room(t, 3, Options{Connections: 2})
	steward := stewardOf(all)
	var idle, holder *Site
	for _, s := range all {
		switch {
		case s == steward:
		case holder == nil:
			holder = s
		default:
			idle = s
		}
	}
	shows := func(n int) func() bool {
		return func() bool {
			for _, s := range all {
				if s.StatusNow(t.Context()).Connections != n {
					return false
				}
			}
			return true
		}
	}
	l, err := holder.Lease(t.Context(), pkg, 0, nil, askAll(100), nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "all know of one connection", shows(1))
	holder.Release(l, l.Run.First)
	eventually(t, 10*time.Second, "all know that it is closed", shows(0))
	// What the steward said is forgotten when it is a term old, also by those who look without asking.
	if l, err = holder.Lease(t.Context(), pkg, 0, nil, askAll(100), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the idle one knows", func() bool { return idle.StatusNow(t.Context()).Connections == 1 })
	holder.Release(l, l.Run.First)
	eventually(t, plan.LeaseTerm+10*time.Second, "the idle one forgets", func() bool { return idle.Status().Connections == 0 })
}
